--- What the end-to-end specs expect of answers.

local cjson = require("cjson")
local uv = require("luv")
local wait = require("spec.support.wait")

local M = {}

local function describe(response)
	return ("got %d %s"):format(response.status, response.plain or response.body)
end

--- A refusal: exactly this status, and a body of exactly {code, reason, message}.
-- @param code of the table in docs/protocol.md section 2; @param reason of its second table, or nil: any
function M.refused(response, status, code, reason)
	if response.status ~= status then error(("want %d %s, %s"):format(status, code, describe(response)), 2) end
	local ok, body = pcall(cjson.decode, response.body)
	if not ok or type(body) ~= "table" then error("the error is not JSON: " .. response.body, 2) end
	if body.code ~= code then error(("want code %s, %s"):format(code, describe(response)), 2) end
	if type(body.message) ~= "string" or body.message == "" then error("no message: " .. response.body, 2) end
	if body.message:find("/", 1, true) and body.message:find("%.lua") then
		error("the message has a path: " .. body.message, 2)
	end
	if type(body.reason) ~= "string" or (reason and body.reason ~= reason) then
		error(("want reason %s, %s"):format(reason or "text", describe(response)), 2)
	end
	if not response.headers["date"] then error("no Date", 2) end
	for name in pairs(body) do
		if name ~= "code" and name ~= "message" and name ~= "reason" then error("unexpected member " .. name, 2) end
	end
	if response.headers["content-type"] ~= "application/json" then error("not application/json", 2) end
	if response.headers["x-kms-response-signature"] then error("a refusal is not signed", 2) end
	return response
end

--- 200, checked by the client already.
function M.ok(response)
	if response.status ~= 200 then error("want 200, " .. describe(response), 2) end
	return response
end

--- Exactly one line of a text names something, and says `what` too where that is given.
function M.named_once(text, name, what)
	local count = 0
	for line in text:gmatch("[^\n]+") do
		if line:find(name, 1, true) then
			count = count + 1
			if what and not line:find(what, 1, true) then error(("no %q in: %s"):format(what, line), 2) end
		end
	end
	if count ~= 1 then error(("%d lines name %s, not one:\n%s"):format(count, name, text), 2) end
end

-- Seconds as a node has them. Those of os.time() begin some milliseconds later: the kernel counts them at its ticks.
local function now_s()
	return (uv.gettimeofday())
end

--- Runs body(now), now in seconds, until it began and ended within one second of the wall clock. What it does in a
-- longer time, and how that fails, says nothing.
function M.within_a_second(body)
	local deadline = now_s() + wait.TIMEOUT_S
	repeat
		local before = now_s()
		local ok, failure = pcall(body, before)
		if now_s() == before then
			if not ok then error(failure, 0) end
			return
		end
	until now_s() > deadline
	error(("no attempt in %d s ended in the second in which it began"):format(wait.TIMEOUT_S), 2)
end

return M
