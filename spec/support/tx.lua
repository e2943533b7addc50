--- Reads EIP-1559 transactions as a chain does: RLP, hash, sender.

require("spec.support.crypto") -- where the test kit is, and what has to come before it
local kit = require("kms_testkit")

local M = {}

-- Where an item begins and ends, and where its content begins.
local function item(bytes, at)
	local first = bytes:byte(at) or error("rlp: ends too early")
	local base = first >= 0xc0 and 0xc0 or 0x80
	if first < 0x80 then return at, at, at end
	if first - base <= 55 then return at, at + first - base, at + 1 end
	local size = first - base - 55
	local len = tonumber(kit.hex(bytes:sub(at + 1, at + size)), 16)
	return at, at + size + len, at + 1 + size
end

local function header(len)
	if len <= 55 then return string.char(0xc0 + len) end
	local digits = ("%x"):format(len)
	local size = kit.unhex(("0"):rep(#digits % 2) .. digits)
	return string.char(0xf7 + #size) .. size
end

local function number(bytes)
	return bytes == "" and 0 or tonumber(kit.hex(bytes), 16)
end

local function pad(bytes)
	return ("\0"):rep(32 - #bytes) .. bytes
end

local function decode(raw)
	local bytes = kit.unhex(raw:sub(3))
	if bytes:byte(1) ~= 2 then error("rlp: not an EIP-1559 transaction") end
	local _, last, at = item(bytes, 2)
	if last ~= #bytes then error("rlp: length") end
	local parts, unsigned_end = {}, nil
	while at <= last do
		local _, stop, content = item(bytes, at)
		parts[#parts + 1] = bytes:sub(content, stop)
		if #parts == 9 then unsigned_end = stop end
		at = stop + 1
	end
	if #parts ~= 12 then error("rlp: number of fields") end
	local _, _, first = item(bytes, 2)
	local unsigned = bytes:sub(first, unsigned_end)
	local digest = kit.keccak256("\2" .. header(#unsigned) .. unsigned)
	local from = kit.recover(digest, pad(parts[11]) .. pad(parts[12]) .. string.char(number(parts[10])))
	return {
		hash = "0x" .. kit.hex(kit.keccak256(bytes)), from = "0x" .. kit.hex(from), chain_id = number(parts[1]),
		nonce = number(parts[2]), priority = number(parts[3]), max = number(parts[4]), gas = number(parts[5]),
		to = "0x" .. kit.hex(parts[6]), value = number(parts[7]), data = "0x" .. kit.hex(parts[8]),
	}
end

--- A raw transaction (hex) as { hash, from, to, data (hex), chain_id, nonce, priority, max, gas,
-- value }, or nil where it is none.
function M.decode(raw)
	local ok, transaction = pcall(decode, raw)
	return ok and transaction or nil
end

return M
