--- Heads of HTTP answers.

local M = {}

local NONE = {}

local REASONS = {
	[200] = "OK", [204] = "No Content", [400] = "Bad Request", [403] = "Forbidden", [404] = "Not Found",
	[405] = "Method Not Allowed", [408] = "Request Timeout", [413] = "Payload Too Large",
	[429] = "Too Many Requests", [500] = "Internal Server Error",
	[503] = "Service Unavailable",
}

-- Texts that do not change: what begins an answer (by status) or a line (by name), and the
-- lines with common lengths. They cost more to make than all the rest of a head.
local starts, names, lengths = {}, {}, {}
local MAX_KEPT_LENGTH = 4096

local function start_of(status)
	if math.type(status) ~= "integer" or status < 200 or status > 599 then
		error("not an HTTP status: " .. tostring(status), 3)
	end
	starts[status] = ("HTTP/1.1 %d %s\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"):format(
		status, REASONS[status] or "Status")
	return starts[status]
end

local function name_of(name)
	if not name:find("^[%w-]+$") then error("not a header name: " .. name, 3) end
	names[name] = name .. ": "
	return names[name]
end

local function length_line(length)
	local line = "Content-Length: " .. length .. "\r\n"
	if length <= MAX_KEPT_LENGTH then lengths[length] = line end
	return line
end

-- Plain searches: a class is tried at every character of a signature, and costs as much as all
-- the rest of a head.
local function ends_line(value)
	return value:find("\r", 1, true) or value:find("\n", 1, true) or value:find("\0", 1, true)
end

--- The head of an answer.
-- @param status  200 to 599
-- @param headers  name = text, or nil; names come from a fixed set; Content-Type is
--   application/json unless it says otherwise
-- @param length  bytes of the body
-- @param close  whether the connection ends with this answer
-- @return text; throws for what is no status, name or value
function M.head(status, headers, length, close)
	local text = starts[status] or start_of(status)
	for name, value in next, headers or NONE do
		if ends_line(value) then error("a line end or NUL in header " .. name, 2) end
		text = text .. (names[name] or name_of(name)) .. value .. "\r\n"
	end
	local typed = length == 0 or (headers and headers["Content-Type"])
	return text .. (typed and "" or "Content-Type: application/json\r\n")
		.. (status == 204 and "" or lengths[length] or length_line(length))
		.. (close and "Connection: close\r\n\r\n" or "\r\n")
end

--- The body of an error (wire-protocol section 2).
-- @param code, message  our own texts, without characters that JSON escapes
function M.error_body(code, message)
	return ('{"code":"%s","message":"%s"}'):format(code, message)
end

return M
