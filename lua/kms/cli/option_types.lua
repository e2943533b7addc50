--- Types of the values of options and arguments (kms.cli.args), beside whole numbers. A type is a table:
--   parse(text)  -> value in canonical form | nil
--   allowed      text for messages: what a value may be
--   mask(text)   -> the part of an invalid value that a message may show (absent: all of it)

local cidr = require("kms.base.cidr")
local config_types = require("kms.config.types")

local M = {}

-- A type of the configuration. `key` as in kms.config.schema.
local function of_config(name, key)
	local kind = config_types[name]
	return {
		parse = function(text) return kind.parse(text, key) end, allowed = kind.allowed(key), mask = kind.mask,
	}
end

--- The base URL of a server; the URL of one as it is called.
M.base_url = of_config("url", { base = true })
M.url = of_config("url", {})

--- Id of an application, version or instance.
M.id = of_config("app_id", {})

M.contract = of_config("address", {})

M.bind = of_config("bind", {})

M.wallet = {
	parse = function(text) return (require("kms_native").address(text)) end,
	allowed = "a wallet's address: 0x and 40 hexadecimal digits",
}

local function hex_digits(text)
	local digits = text:gsub("^0[xX]", ""):lower()
	return #digits % 2 == 0 and not digits:find("%X") and digits or nil
end

--- Bytes as hexadecimal digits, in lower case without 0x.
M.hex = {
	parse = function(text)
		local digits = hex_digits(text)
		return digits ~= "" and digits or nil
	end,
	allowed = "an even number of hexadecimal digits",
}

--- Likewise, but there may be none: the nonce of a document may be empty.
M.hex_or_empty = { parse = hex_digits, allowed = M.hex.allowed .. ", or none" }

local DER_BYTES, POINT_BYTES = 120, 97 -- of a P-384 key

--- A teePubkey, likewise. Whether it is a point of P-384 says kms.cli.session.tee_pubkey, once crypto has started.
M.tee_pubkey = {
	parse = function(text)
		local digits = M.hex.parse(text)
		local bytes = digits and #digits // 2
		return (bytes == DER_BYTES or bytes == POINT_BYTES) and digits or nil
	end,
	allowed = "a teePubkey: a P-384 key as 240 hexadecimal digits (DER), or 194 (the point alone)",
}

--- An IP address.
M.ip_address = {
	parse = function(text) return cidr.parse_address(text) and text or nil end,
	allowed = "an IP address",
}

return M
