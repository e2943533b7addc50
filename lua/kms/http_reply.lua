--- Heads of HTTP answers.

local M = {}

local REASONS = {
	[200] = "OK", [204] = "No Content", [400] = "Bad Request", [403] = "Forbidden", [404] = "Not Found",
	[405] = "Method Not Allowed", [408] = "Request Timeout", [413] = "Payload Too Large",
	[429] = "Too Many Requests", [431] = "Request Header Fields Too Large", [500] = "Internal Server Error",
	[503] = "Service Unavailable",
}

-- First lines by status: they never change.
local starts = {}

local function start_of(status)
	local text = ("HTTP/1.1 %d %s\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"):format(
		status, REASONS[status] or "Status")
	starts[status] = text
	return text
end

--- The head of an answer.
-- @param status  200 to 599
-- @param headers  name = value, or nil; Content-Type is application/json unless it says otherwise
-- @param length  bytes of the body
-- @param close  whether the connection ends with this answer
-- @return text; throws for what is no status, name or value
function M.head(status, headers, length, close)
	if math.type(status) ~= "integer" or status < 200 or status > 599 then
		error("not an HTTP status: " .. tostring(status), 2)
	end
	local text = starts[status] or start_of(status)
	for name, value in pairs(headers or {}) do
		if not name:find("^[%w-]+$") or tostring(value):find("%c") then error("bad header: " .. name, 2) end
		text = text .. name .. ": " .. value .. "\r\n"
	end
	if length > 0 and not (headers and headers["Content-Type"]) then
		text = text .. "Content-Type: application/json\r\n"
	end
	if status ~= 204 then text = text .. "Content-Length: " .. length .. "\r\n" end
	return text .. (close and "Connection: close\r\n\r\n" or "\r\n")
end

--- The body of an error (wire-protocol section 2).
-- @param code, message  our own texts, without characters that JSON escapes
function M.error_body(code, message)
	return ('{"code":"%s","message":"%s"}'):format(code, message)
end

return M
