--- The types of configuration values. A type is a table of functions:
--   parse(text, key)    -> value | nil, for environment variables and strings of the file
--   accept(value, key)  -> value | nil, for other values of the file (absent: strings only)
--   allowed(key)        -> text for messages and config/node.lua
--   show(value)         -> printable form of a valid value (absent: tostring)
--   mask(text)          -> printable form of an invalid one (absent: the text itself)
-- `key` is the key's entry in kms.config.schema.

local cidr = require("kms.base.cidr")
local log = require("kms.base.log")
local quantity = require("kms.config.quantity")
local url = require("kms.config.url")

local M = {}

local MAX_TEXT = 4096 -- bytes
local MAX_PATH = 3900 -- bytes of a file to whose name numbers are added
local MAX_LIST = 64 -- elements

local BOOLEANS = { ["true"] = true, ["1"] = true, yes = true, ["false"] = false, ["0"] = false, no = false }

M.bool = {
	parse = function(text) return BOOLEANS[text:lower()] end,
	accept = function(value) if type(value) == "boolean" then return value end end,
	allowed = function() return "true or false" end,
}

local function in_bounds(value, key)
	if not value then return nil end
	if key.zero and value == 0 then return value end
	if value < key.min or value > key.max then return nil end
	return value
end

M.int = {
	parse = function(text, key)
		if not text:find("^%-?%d+$") then return in_bounds(quantity.parse(text, key.name), key) end
		return #text <= 20 and in_bounds(math.tointeger(tonumber(text)), key) or nil
	end,
	accept = function(value, key)
		return type(value) == "number" and in_bounds(math.tointeger(value), key) or nil
	end,
	allowed = function(key)
		local units = quantity.units(key.name)
		return ("%sa whole number from %d to %d%s"):format(key.zero and "0 or " or "", key.min, key.max,
			units and (", or a text with a unit (%s)"):format(units) or "")
	end,
}

-- Unsigned 64-bit numbers as decimal text, since Lua integers end at 2^63 - 1.
M.app_id = {
	parse = function(text)
		if not text:find("^[1-9]%d*$") or #text > 20 then return nil end
		if #text == 20 and text > "18446744073709551615" then return nil end
		return text
	end,
	accept = function(value)
		local whole = type(value) == "number" and math.tointeger(value)
		return whole and whole > 0 and tostring(whole) or nil
	end,
	allowed = function() return "a whole number from 1 to 18446744073709551615" end,
}

M.string = {
	parse = function(text)
		if text == "" or #text > MAX_TEXT or text:find("%c") then return nil end
		return text
	end,
	allowed = function() return ("1 to %d characters without control characters"):format(MAX_TEXT) end,
}

M.enum = {
	parse = function(text, key)
		for _, name in ipairs(key.values) do
			if name == text:lower() then return name end
		end
		return nil
	end,
	allowed = function(key) return "one of " .. table.concat(key.values, ", ") end,
}

M.level = {
	parse = function(text) return (log.level_of(text)) end,
	allowed = function() return "one of " .. log.LEVELS end,
}

M.address = {
	parse = function(text)
		local digits = text:lower():gsub("^0x", "")
		if #digits ~= 40 or digits:find("%X") or not digits:find("[^0]") then return nil end
		return "0x" .. digits
	end,
	allowed = function() return "a contract address: 0x and 40 hexadecimal digits, not all zero" end,
}

M.bind = {
	parse = function(text)
		local host, port = text:match("^%[([%x:.]+)%]:(%d+)$")
		if host then
			if not host:find(":", 1, true) then return nil end
		else
			host, port = text:match("^([%d.]+):(%d+)$")
		end
		port = port and url.port(port, 0)
		if not port or not cidr.parse_address(host) then return nil end
		return text
	end,
	allowed = function() return "address:port or [IPv6 address]:port, no host name (port 0: any free one)" end,
}

M.bind_or_off = {
	parse = function(text)
		local word = text:lower()
		if word == "" or word == "0" or word == "off" then return "off" end
		return M.bind.parse(text)
	end,
	accept = function(value) if value == 0 or value == false then return "off" end end,
	allowed = function() return "0 (off), or " .. M.bind.allowed() end,
}

local MAX_SOCKET = 100 -- bytes of a path; the kernel allows a few more

M.socket = {
	parse = function(text)
		local word = text:lower()
		if word == "0" or word == "off" then return "off" end
		if word == "auto" then return word end
		if #text > MAX_SOCKET or text:find("%c") or not text:find("/", 1, true) or text:find("/$") then return nil end
		return text
	end,
	accept = function(value) if value == 0 or value == false then return "off" end end,
	allowed = function() return ("auto, off, or a path with a / in it, at most %d bytes"):format(MAX_SOCKET) end,
}

-- A bucket and what its names begin with, of characters that need no escapes in a URL.
local function is_bucket(text)
	local bucket, prefix = text:match("^s3://(%l[%l%d.-]+)(.*)$")
	if not bucket or #bucket < 3 or #bucket > 63 or #prefix > 512 then return false end
	return prefix == "" or prefix:find("^/[%w/._-]*[%w._-]$") ~= nil and not prefix:find("//", 1, true)
end

-- Where sealed snapshots are kept.
M.place = {
	parse = function(text)
		if text:lower() == "off" or text == "0" then return "off" end
		if text:lower() == "odyn" then return "odyn" end
		if is_bucket(text) then return text end
		if #text > MAX_TEXT or text:find("%c") or not text:find("^/.") or text:find("/$") then return nil end
		return text
	end,
	accept = function(value) if value == 0 or value == false then return "off" end end,
	allowed = function() return "off, the path of a folder from / on, s3://bucket/prefix, or odyn" end,
}

-- Where the audit log is written. Numbers are added to its name.
M.audit = {
	parse = function(text)
		local word = text:lower()
		if word == "off" or word == "0" then return "off" end
		if word == "stdout" then return word end
		if #text > MAX_PATH or text:find("%c") or not text:find("^/.") or text:find("/$") then return nil end
		return text
	end,
	accept = function(value) if value == 0 or value == false then return "off" end end,
	allowed = function() return ("off, stdout, or the path of a file from / on, at most %d bytes"):format(MAX_PATH) end,
}

M.url = {
	parse = function(text, key) return url.parse(text, key.base) end,
	allowed = function(key)
		return "http:// or https:// with a host, no user name" .. (key.base and ", query" or "") .. " or fragment"
	end,
	show = url.mask,
	mask = url.mask,
}

-- A list type: comma-separated text, or a Lua list of strings.
local function list_of(item, noun)
	local function collect(texts, key)
		local values = {}
		if #texts == 0 and key.filled then return nil end
		for _, text in ipairs(texts) do
			local value = type(text) == "string" and item.parse(text, key)
			if not value or #values == MAX_LIST then return nil end
			values[#values + 1] = value
		end
		return values
	end
	return {
		list = true,
		parse = function(text, key)
			local texts = {}
			for part in (text .. ","):gmatch("%s*([^,]-)%s*,") do texts[#texts + 1] = part end
			return collect(text:find("%S") and texts or {}, key)
		end,
		accept = function(value, key)
			if type(value) ~= "table" then return nil end
			local count = 0
			for _ in pairs(value) do count = count + 1 end
			if count ~= #value then return nil end
			return collect(value, key)
		end,
		allowed = function(key)
			return ("%d to %d %s separated by commas, each %s"):format(key.filled and 1 or 0, MAX_LIST, noun,
				item.allowed(key))
		end,
		show = function(values)
			local texts = {}
			for i, value in ipairs(values) do texts[i] = (item.show or tostring)(value) end
			return table.concat(texts, ", ")
		end,
		mask = item.mask and function(text) return (text:gsub("[^,%s]+", item.mask)) end,
	}
end

M.urls = list_of(M.url, "URLs")

M.cidrs = list_of({
	parse = cidr.parse,
	allowed = function() return "an address or address/bits with no bit set beyond the prefix" end,
	show = function(range) return range.text end,
}, "ranges")

-- An origin as browsers send it (RFC 6454): lower case, no path, no port where it is the scheme's own.
local MAX_ORIGIN_HOST = 255 -- bytes
local DEFAULT_PORTS = { http = "80", https = "443" }

M.origins = list_of({
	parse = function(text)
		local scheme, host, port = text:match("^(https?)://([a-z0-9.-]+):?(%d*)$")
		if not scheme then scheme, host, port = text:match("^(https?)://(%[[0-9a-f:.]+%]):?(%d*)$") end
		if not scheme or #host > MAX_ORIGIN_HOST or text:sub(-1) == ":" then return nil end
		if port == "" then return text end
		if port:find("^0") or #port > 5 or tonumber(port) > 65535 or port == DEFAULT_PORTS[scheme] then return nil end
		return text
	end,
	allowed = function() return "http(s)://host[:port] as browsers send it, in lower case" end,
}, "origins")

-- Never parsed here: C moves it from the environment to guarded memory.
M.secret = { allowed = function() return "64 hexadecimal digits, from the environment only" end }

--- Whether a parsed bind address is a loopback address.
function M.is_loopback_bind(address)
	return cidr.is_loopback((address:match("^%[?(.-)%]?:%d+$")))
end

return M
