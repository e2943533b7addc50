--- `nova-kms cluster check`: says whether nodes hold the same records, from outside (docs/protocol.md section 9.1).

local uv = require("luv")
local args = require("kms.cli.args")
local cjson = require("cjson")
local client = require("kms.client")
local exit = require("kms.cli.exit")
local loop = require("kms.base.loop")
local parallel = require("kms.async.parallel")
local session = require("kms.cli.session")

local NONCE_BYTES = 16
local AT_ONCE = 16
local PAUSE_MS = 1000 -- between two looks

local function hex(bytes)
	return (bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

-- Asks one node. Returns { digest, hour } | nil, message, code.
local function ask(parsed, url, nonce, hour)
	local path = "/digest?nonce=" .. nonce .. (hour and "&hour=" .. hour or "")
	local response, message, code = client.page({ url = url, timeout_ms = parsed.timeout * 1000 }, path)
	if not response then return nil, message, code end
	local value = session.table_of(response.value)
	local answered = type(value.hour) == "number" and math.tointeger(value.hour)
	if type(value.digest) ~= "string" or not answered then return nil, "the reply is not a digest", "ERR_ANSWER" end
	return { digest = value.digest, hour = answered }
end

-- Asks every node about the hours from `hour` on. Returns list of { digest, hour } | nil, message, code.
local function ask_all(parsed, nonce, hour)
	local answers, failure = {}, nil
	parallel.map(parsed.url, AT_ONCE, function(url)
		local answer, message, code = ask(parsed, url, nonce, hour)
		answers[url] = answer
		if not answer then failure = failure or { url .. ": " .. message, code } end
	end)
	if failure then return nil, table.unpack(failure) end
	return answers
end

-- One look, with a nonce of its own. Returns groups of URLs that hold the same | nil, message, code.
local function look(parsed)
	local nonce = hex(uv.random(NONCE_BYTES))
	local answers, message, code = ask_all(parsed, nonce)
	if not answers then return nil, message, code end
	local latest = 0
	for _, answer in pairs(answers) do latest = math.max(latest, answer.hour) end
	-- Nodes that have begun to forget an hour earlier than others are compared from the next one on.
	for _, answer in pairs(answers) do
		if answer.hour ~= latest then
			answers, message, code = ask_all(parsed, nonce, latest)
			if not answers then return nil, message, code end
			break
		end
	end
	local groups, by_digest = {}, {}
	for _, url in ipairs(parsed.url) do
		local digest = answers[url].digest
		if not by_digest[digest] then
			by_digest[digest] = {}
			groups[#groups + 1] = by_digest[digest]
		end
		table.insert(by_digest[digest], url)
	end
	return groups
end

-- Looks until all hold the same, or the time is over: changes may be under way.
local function look_until(parsed)
	local deadline = uv.hrtime() + parsed.wait * 1000000000
	while true do
		local groups, message, code = look(parsed)
		if not groups or #groups == 1 or uv.hrtime() >= deadline then return groups, message, code end
		loop.sleep(PAUSE_MS)
	end
end

local function show(parsed, world, groups)
	local same = #groups == 1
	if parsed.json then
		session.print(world, cjson.encode({ same = same, groups = groups }))
	elseif same then
		session.print(world, ("all %d nodes hold the same"):format(#parsed.url))
	else
		local texts = {}
		for i, group in ipairs(groups) do texts[i] = table.concat(group, ", ") end
		session.print(world, "nodes hold different records: " .. table.concat(texts, " | "))
	end
	return same and exit.OK or exit.FAILED
end

local function check(parsed, world)
	if #(parsed.url or {}) < 2 then return session.fail(world, "give --url at least twice", "ERR_USAGE") end
	return session.wait(function()
		local groups, message, code = look_until(parsed)
		if not groups then return session.fail(world, message, code) end
		return show(parsed, world, groups)
	end)
end

return {
	name = "cluster",
	summary = "compare what the nodes of a cluster hold",
	commands = {
		{
			name = "check", summary = "say whether nodes hold the same records (exit code 0) or not (1)",
			options = {
				{ name = "url", value = "URL", help = "base URL of a node; to be given for each", many = true },
				{
					name = "wait", value = "SECONDS", help = "how long to wait for changes that are under way", type = "int",
					min = 0, max = 3600, default = 10,
				},
				session.TIMEOUT, args.JSON,
			},
			run = check,
		},
	},
}
