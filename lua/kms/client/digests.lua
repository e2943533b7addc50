--- Compares from outside what nodes hold, by GET /digest (docs/protocol.md section 9.1): no secret is needed, and none
-- is shown. Calls yield the running coroutine.

local client = require("kms.client")
local loop = require("kms.base.loop")
local parallel = require("kms.async.parallel")
local uv = require("luv")

local M = {}

local NONCE_BYTES = 16
local AT_ONCE = 16
local PAUSE_MS = 1000 -- between two looks

local function hex(bytes)
	return (bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

-- Asks one node. Returns { digest, hour } | nil, message, code.
local function ask(options, url, nonce, hour)
	local path = "/digest?nonce=" .. nonce .. (hour and "&hour=" .. hour or "")
	local response, message, code = client.page({ url = url, timeout_ms = options.timeout_ms }, path)
	if not response then return nil, message, code end
	local value = response.value
	local answered = type(value.hour) == "number" and math.tointeger(value.hour)
	if type(value.digest) ~= "string" or not answered then return nil, "the reply is not a digest", "ERR_ANSWER" end
	return { digest = value.digest, hour = answered }
end

-- Asks every node about the hours from `hour` on. Returns { digest, hour } by URL | nil, message, code.
local function ask_all(options, nonce, hour)
	local answers, failure = {}, nil
	parallel.map(options.urls, AT_ONCE, function(url)
		local answer, message, code = ask(options, url, nonce, hour)
		answers[url] = answer
		if not answer then failure = failure or { url .. ": " .. message, code } end
	end)
	if failure then return nil, table.unpack(failure) end
	return answers
end

-- One look, with a nonce of its own. Returns groups of URLs that hold the same | nil, message, code.
local function look(options)
	local nonce = hex(uv.random(NONCE_BYTES))
	local answers, message, code = ask_all(options, nonce)
	if not answers then return nil, message, code end
	local latest = 0
	for _, answer in pairs(answers) do latest = math.max(latest, answer.hour) end
	-- Nodes that have begun to forget an hour earlier than others are compared from the next one on.
	for _, answer in pairs(answers) do
		if answer.hour ~= latest then
			answers, message, code = ask_all(options, nonce, latest)
			if not answers then return nil, message, code end
			break
		end
	end
	local groups, by_digest = {}, {}
	for _, url in ipairs(options.urls) do
		local digest = answers[url].digest
		if not by_digest[digest] then
			by_digest[digest] = {}
			groups[#groups + 1] = by_digest[digest]
		end
		table.insert(by_digest[digest], url)
	end
	return groups
end

--- Looks until all nodes hold the same, or the time is over: changes may be under way.
-- @param options  urls: base URLs of nodes; timeout_ms of each request; wait_s: how long to look
-- @return groups: lists of the URLs that hold the same, one list where all do | nil, message, code
function M.compare(options)
	local deadline = uv.hrtime() + options.wait_s * 1000000000
	while true do
		local groups, message, code = look(options)
		if not groups or #groups == 1 or uv.hrtime() >= deadline then return groups, message, code end
		loop.sleep(PAUSE_MS)
	end
end

--- Says in one line what compare() found.
-- @param groups  its result
-- @return text
function M.line(groups)
	if #groups == 1 then return ("all %d nodes hold the same"):format(#groups[1]) end
	local texts = {}
	for i, group in ipairs(groups) do texts[i] = table.concat(group, ", ") end
	return "nodes hold different records: " .. table.concat(texts, " | ")
end

return M
