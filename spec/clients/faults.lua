--- What stands between a client and a node, and lies as the table of cases says (spec/clients/README.md).

local loopback = require("spec.support.loopback")
local middleman = require("spec.support.middleman")
local wait = require("spec.support.wait")

local M = {}

local CONTENT_LENGTH = "([Cc]ontent%-[Ll]ength: *)(%d+)"
local FOR_EVER_S = 3600
local LIE = '{"code":"not_found","message":"so says a liar"}'

local function split(bytes)
	local head, body = bytes:match("^(.-\r\n\r\n)(.*)$")
	return head, body
end

-- The answer with another body, whose length says so.
local function with_body(answer, body)
	local head = split(answer)
	return head:gsub(CONTENT_LENGTH, function(name) return name .. #body end) .. body
end

-- A line of a head, with its CRLF | nil.
local function line_of(answer, name)
	for line in split(answer):gmatch("[^\r\n]+\r\n") do
		if line:lower():sub(1, #name + 1) == name:lower() .. ":" then return line end
	end
end

local function replace(text, from, to)
	local first, last = text:find(from, 1, true)
	assert(first, "the answer does not have what a fault replaces: " .. from)
	return text:sub(1, first - 1) .. to .. text:sub(last + 1)
end

-- The honest answer to a request, or an error of the case.
local function honest(request)
	return assert(request.pass(), "the node has not answered")
end

local ANSWERS = {}

function ANSWERS.status(_, answer)
	local lines = {}
	for _, line in ipairs(answer.headers or {}) do lines[#lines + 1] = line .. "\r\n" end
	return loopback.reply(answer.body or LIE, table.concat(lines), answer.status)
end

function ANSWERS.cut()
	return nil
end

function ANSWERS.cut_after(request)
	honest(request)
	return nil
end

function ANSWERS.flip(request, answer)
	local whole = honest(request)
	local _, body = split(whole)
	local at = answer.flip > 0 and answer.flip or #body + answer.flip + 1
	return with_body(whole, body:sub(1, at - 1) .. string.char(body:byte(at) ~ 1) .. body:sub(at + 1))
end

function ANSWERS.truncate(request, answer)
	local whole = honest(request)
	local _, body = split(whole)
	return with_body(whole, body:sub(1, -answer.truncate - 1))
end

function ANSWERS.break_off(request, answer)
	return honest(request):sub(1, -answer.break_off - 1), true
end

function ANSWERS.replay(request, _, last)
	honest(request)
	return assert(last, "there is no answer to replay")
end

function ANSWERS.swap_header(request, answer, last)
	local whole, name = honest(request), answer.swap_header
	return replace(whole, line_of(whole, name), line_of(last, name))
end

function ANSWERS.drop_header(request, answer)
	local whole = honest(request)
	return replace(whole, line_of(whole, answer.drop_header), "")
end

function ANSWERS.reflect(request, answer)
	local _, body = split(request.bytes)
	return loopback.reply(body:sub(answer.reflect + 1))
end

function ANSWERS.replace(request, answer)
	local whole = honest(request)
	local _, body = split(whole)
	return with_body(whole, replace(body, answer.replace[1], answer.replace[2]))
end

function ANSWERS.declares(_, answer)
	return ("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"):format(answer.declares)
end

function ANSWERS.zeros(_, answer)
	return loopback.reply(("\0"):rep(answer.zeros))
end

function ANSWERS.silence()
	wait.sleep(FOR_EVER_S * 1000)
end

-- The fault that is to be done to a request | nil.
local function take(faults, path)
	for _, fault in ipairs(faults) do
		if fault.path == path and fault.left > 0 then
			if fault.skip == 0 then
				fault.left = fault.left - 1
				return fault
			end
			fault.skip = fault.skip - 1
			return nil
		end
	end
end

local Between = {}
Between.__index = Between

--- Has these faults from now on.
-- @param faults  list as in cases.json
function Between:set(faults)
	self.faults = {}
	for i, fault in ipairs(faults) do
		self.faults[i] = {
			path = fault.path, skip = fault.skip or 0, left = fault.times or math.huge, answer = fault.answer,
		}
	end
end

--- How many requests there were to a path since the last forget().
function Between:count(path)
	return self.man:count(path)
end

--- Forgets which requests there were.
function Between:forget()
	self.man.seen = {}
end

local function answer_to(self, request)
	local fault = take(self.faults, request.path)
	local last = self.last[request.path]
	local pass = request.pass
	request.pass = function()
		local answer = pass()
		self.last[request.path] = answer
		return answer
	end
	if not fault then return request.pass() end
	local kind = next(fault.answer)
	for name in pairs(fault.answer) do
		if ANSWERS[name] then kind = name end
	end
	return assert(ANSWERS[kind], "no such answer: " .. kind)(request, fault.answer, last)
end

--- Stands before a node. To be used within loopback.run.
-- @param port  of the node
-- @return self { url }
function M.start(port)
	local self = setmetatable({ faults = {}, last = {} }, Between)
	self.man = middleman.start(port, function(request) return answer_to(self, request) end)
	self.url = self.man.url
	return self
end

return M
