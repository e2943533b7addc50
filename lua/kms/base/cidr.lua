--- IP addresses and ranges: strict parsing, and whether a range contains an address. An IPv4 address
-- mapped into IPv6 (::ffff:a.b.c.d), as dual-stack sockets report it, is treated as the IPv4 address.

local M = {}

local MAPPED = ("\0"):rep(10) .. "\255\255"

-- The 4 bytes of a dotted address whose numbers have no leading zeros, or nil.
local function parse_v4(text)
	local bytes = {}
	for part in (text .. "."):gmatch("([^.]*)%.") do
		if not part:find("^%d%d?%d?$") or part:find("^0%d") or tonumber(part) > 255 then return nil end
		bytes[#bytes + 1] = string.char(tonumber(part))
	end
	if #bytes ~= 4 then return nil end
	return table.concat(bytes)
end

-- The bytes of colon-separated groups, or nil; with `v4_last` the last group may be a dotted IPv4 address.
local function parse_groups(text, v4_last)
	if text == "" then return "" end
	local bytes, groups = {}, {}
	for group in (text .. ":"):gmatch("([^:]*):") do groups[#groups + 1] = group end
	for i, group in ipairs(groups) do
		if group:find("^%x%x?%x?%x?$") then
			bytes[i] = string.pack(">I2", tonumber(group, 16))
		else
			bytes[i] = v4_last and i == #groups and parse_v4(group)
			if not bytes[i] then return nil end
		end
	end
	return table.concat(bytes)
end

local function parse_v6(text)
	local at = text:find("::", 1, true)
	if not at then
		local bytes = parse_groups(text, true)
		return bytes and #bytes == 16 and bytes or nil
	end
	local head, tail = parse_groups(text:sub(1, at - 1), false), parse_groups(text:sub(at + 2), true)
	if not head or not tail or #head + #tail > 14 then return nil end
	return head .. ("\0"):rep(16 - #head - #tail) .. tail
end

--- Parses an address.
-- @param text  dotted IPv4, or IPv6 without brackets and zone
-- @return 4 or 16 bytes in network order | nil where it is not an address
function M.parse_address(text)
	if #text > 45 then return nil end
	local bytes = parse_v4(text)
	if bytes then return bytes end
	if not text:find("^[%x:.]+$") then return nil end
	bytes = parse_v6(text)
	if bytes and bytes:sub(1, 12) == MAPPED then return bytes:sub(13) end
	return bytes
end

-- The first `bits` bits of an address, the others zero.
local function mask(bytes, bits)
	local whole, rest = bits // 8, bits % 8
	if whole == #bytes then return bytes end
	local edge = bytes:byte(whole + 1) & (0xff << (8 - rest)) & 0xff
	return bytes:sub(1, whole) .. string.char(edge) .. ("\0"):rep(#bytes - whole - 1)
end

--- Parses a range: an address, or address/bits with no bit set beyond the prefix.
-- @return { text, prefix (bytes), bits } | nil where it is not a range
function M.parse(text)
	local address, bits_text = text:match("^([^/]+)/(%d%d?%d?)$")
	local bytes = M.parse_address(address or text)
	if not bytes then return nil end
	local bits = #bytes * 8
	if bits_text then
		bits = tonumber(bits_text)
		-- The bits of a mapped range count from the start of the IPv6 address.
		if #bytes == 4 and address:find(":", 1, true) then bits = bits - 96 end
		if bits < 0 or bits > #bytes * 8 or bits_text:find("^0%d") then return nil end
	end
	if mask(bytes, bits) ~= bytes then return nil end
	return { text = text, prefix = bytes, bits = bits }
end

--- Whether one of `ranges` (of M.parse) contains the address. A text that is not an address is in none.
function M.contains(ranges, address)
	local bytes = M.parse_address(address)
	if not bytes then return false end
	for _, range in ipairs(ranges) do
		if #range.prefix == #bytes and mask(bytes, range.bits) == range.prefix then return true end
	end
	return false
end

--- Whether a text is a loopback address (127/8, ::1).
function M.is_loopback(address)
	local bytes = M.parse_address(address)
	if not bytes then return false end
	if #bytes == 4 then return bytes:byte(1) == 127 end
	return bytes == ("\0"):rep(15) .. "\1"
end

return M
