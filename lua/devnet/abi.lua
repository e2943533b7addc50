--- Encodes contract calls of a network's owner by their signature. (The calls of a node are encoded in C,
-- include/kms/abi.h.)

local native = require("kms_native")

local M = {}

local WORD_DIGITS = 64

--- An integer as a word.
-- @param number  Lua integer, or decimal text for numbers of 2^63 and more
-- @return 64 hexadecimal digits
function M.word(number)
	if type(number) == "string" then return native.abi_call("getApp", number):sub(11) end
	return ("%064x"):format(number)
end

--- An address ("0x" and 40 digits) as a word of 64 digits.
function M.address(text)
	return ("0"):rep(24) .. text:sub(3):lower()
end

local function bytes(value)
	local digits = native.hex_encode(value)
	return M.word(#value) .. digits .. ("0"):rep(-#digits % WORD_DIGITS)
end

--- Encodes the fields of a struct or the arguments of a function.
-- @param list  words, and { text } for a string or bytes
-- @return hexadecimal digits
function M.fields(list)
	local head, tail, offset = {}, {}, 32 * #list
	for i, field in ipairs(list) do
		head[i] = field
		if type(field) == "table" then
			head[i] = M.word(offset)
			tail[#tail + 1] = bytes(field[1])
			offset = offset + #tail[#tail] // 2
		end
	end
	return table.concat(head) .. table.concat(tail)
end

local ENCODERS = {
	uint256 = M.word,
	address = M.address,
	bool = function(truth) return M.word(truth and 1 or 0) end,
	bytes32 = function(text) return text:sub(3) end,
	string = function(text) return { text } end,
	bytes = function(text) return { text } end,
}

--- Encodes arguments by their types.
-- @param signature  "name(type,...)" with types of ENCODERS
-- @return hexadecimal digits without "0x"; throws for too few or too many arguments
function M.arguments(signature, ...)
	local list, values = {}, table.pack(...)
	for kind in signature:match("%((.*)%)$"):gmatch("[^,]+") do
		local at = #list + 1
		if values[at] == nil then error(signature .. ": too few arguments", 2) end
		list[at] = ENCODERS[kind](values[at])
	end
	if #list ~= values.n then error(signature .. ": too many arguments", 2) end
	return M.fields(list)
end

--- Encodes the data of a call, as arguments() does.
-- @return "0x", selector and arguments in hexadecimal digits
function M.call(signature, ...)
	return native.abi_selector(signature) .. M.arguments(signature, ...)
end

return M
