--- What went wrong with a call, while this client still decides what to do about it:
--   message, code
--   status, wait_s   HTTP status and seconds of Retry-After of a node that is busy or, with v1, refuses
--   http             HTTP status of a plain answer in a session, which proves nothing
--   sent             whether the operations may have reached the node

local fetch = require("kms.http.fetch")
local retry_after = require("kms.http.retry_after")
local text = require("kms.base.text")

local M = {}

local MAX_TEXT = 300 -- bytes of a message that comes from the node

--- The HTTP statuses of a node that asks to be called later.
M.BUSY = { [429] = true, [503] = true }

local function text_member(value, name)
	local member = type(value) == "table" and value[name]
	return type(member) == "string" and member or nil
end

--- Words a refusal: one bounded line, fit for a terminal.
-- @param wait_s  seconds to wait, or nil
function M.words(status, code, message, wait_s)
	local line = text.printable(text.cut(("HTTP %d %s: %s"):format(status, code, message), MAX_TEXT))
	return wait_s and ("%s (Retry-After: %d s)"):format(line, wait_s) or line
end

-- The text of an error response, and its Retry-After.
local function read(response, value)
	local code = text_member(value, "code") or "error"
	local reason = text_member(value, "reason")
	if reason and reason ~= code then code = code .. " (" .. reason .. ")" end
	local wait_s = retry_after.seconds(response.headers)
	return M.words(response.status, code, text_member(value, "message") or "no reason given", wait_s), wait_s
end

--- A v1 error response.
-- @param value  its body, decoded
-- @return nil, message, "ERR_REFUSED", HTTP status, seconds of Retry-After
function M.refusal(response, value)
	local message, wait_s = read(response, value)
	return nil, message, "ERR_REFUSED", response.status, wait_s
end

--- A plain answer where a session's was due: anyone on the way could have sent it. Only of a busy node the status is
-- kept, since waiting is safe.
function M.plain(response)
	local body = response.body
	local message, wait_s = read(response, type(body) == "string" and fetch.decode(body) or nil)
	local busy = M.BUSY[response.status]
	return {
		message = message, code = "ERR_SESSION", http = response.status, status = busy and response.status or nil,
		wait_s = busy and wait_s or nil,
	}
end

--- What a page without a signature gave instead of what it should, for a session.
function M.unsigned(message, code, status, wait_s)
	return {
		message = message, code = code == "ERR_REFUSED" and "ERR_SESSION" or code,
		status = M.BUSY[status] and status or nil, wait_s = M.BUSY[status] and wait_s or nil,
	}
end

--- A failure of these parts.
function M.new(message, code, status, wait_s)
	return { message = message, code = code, status = status, wait_s = wait_s }
end

--- A failure as functions return it: nil, message, code, status, wait_s.
function M.unpack(failure)
	return nil, failure.message, failure.code, failure.status, failure.wait_s
end

return M
