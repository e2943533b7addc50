-- How kms.client finds out whether a node has sessions (docs/protocol.md section 15.5): what makes it speak version 1,
-- and what does not.

local cjson = require("cjson")
local client = require("kms.client")
local crypto = require("spec.support.crypto")
local files = require("spec.support.files")
local loopback = require("spec.support.loopback")
local memory = require("kms.client.memory")
local middleman = require("spec.support.middleman")
local native = require("spec.support.native")
local nodes = require("spec.support.node")
local policies = require("spec.support.policies")
local v1_node = require("spec.support.v1_node")

local run, reply = loopback.run, loopback.reply

local NO_SESSIONS = [[return {
	{ method = "GET", path = "/ready", handler = "ready" }, { method = "GET", path = "/status", handler = "status" },
	{ method = "GET", path = "/nonce", handler = "nonce" },
	{ method = "POST", path = "/kms/derive", handler = "derive" }, { method = "PUT", path = "/kms/data", handler = "put" },
}]]
local PROBE = 1 -- calls of /kms/derive that asking takes

describe("a client that does not know a node", function()
	local node, seed, identity

	setup(function()
		node = nodes.start({ env = { SESSION_OPEN_PER_MINUTE = "0" } })
		local path = node.dir .. "/demo-app.seed"
		seed = assert(native.seed_load(path))
		identity = crypto.seed_identity(crypto.unhex(files.read(path):match(("%x"):rep(64))))
	end)
	teardown(function() node:stop() end)

	local function open(url, more)
		local options = { url = url, seed = seed }
		for name, value in pairs(more or {}) do options[name] = value end
		return assert(client.open(options))
	end

	-- What hides the sessions of a node: openings are answered by somebody else.
	local function hiding(line)
		return function(request)
			if request.path:find("^/session") then return reply('{"code":"not_found"}', nil, line or "404 Not Found") end
			return request.pass()
		end
	end

	-- A call fails for want of a session.
	local function refused(caller, kind, fields)
		local value, message, code, status = caller:call(kind, fields)
		assert.same({ nil, "ERR_SESSION", nil }, { value, code, status })
		return message
	end

	local function v1_calls(man)
		return man:count("/kms/derive") + man:count("/kms/data")
	end

	it("opens a session at once, without a word in version 1", function()
		run(function()
			local man = middleman.start(node.port)
			assert(open(man.url):call("derive", { path = "p" }))
			assert.equal(0, v1_calls(man))
		end)
	end)

	it("speaks version 1 once a node has proved that it has no sessions, and asks that once", function()
		local folder = policies.new()
		folder:write("routes", NO_SESSIONS)
		local without = nodes.start({ env = { POLICY_DIR = folder.dir } })
		finally(function()
			without:stop()
			folder:remove()
		end)
		local own = assert(native.seed_load(without.dir .. "/demo-app.seed"))
		run(function()
			local man = middleman.start(without.port)
			local known = memory.new()
			local caller = open(man.url, { seed = own, memory = known })
			assert.equal(20, assert(caller:call("derive", { path = "p", length = 20 })).length)
			assert(caller:call("put", { key = "k", value = "v" }))
			local outcomes = caller:batch({
				{ kind = "derive", fields = { path = "p" } }, { kind = "put", fields = { key = "k", value = "w" } },
			})
			assert.is_table(outcomes[1].result, outcomes[1].message)
			assert.is_table(outcomes[2].result, outcomes[2].message)
			assert.same({ 1, 2 + PROBE, 2 }, { man:count("/session"), man:count("/kms/derive"), man:count("/kms/data") })
			assert.is_false(known:has(without.wallet))
		end)
	end)

	it("speaks version 1 with an existing node, which repeats no pop", function()
		run(function()
			local existing = v1_node.start(identity.point)
			local caller = open(existing.url)
			assert.equal(20, assert(caller:call("derive", { path = "p", length = 20 })).length)
			local question = existing.asked[1]
			assert.same({ { "session" }, 1 }, { question.features, question.length })
			assert.matches("^nova%-kms/features/" .. ("%x"):rep(32) .. "$", question.path)
			-- Nodes of earlier versions would refuse a member that they do not know.
			assert.is_nil(question.strict)
			assert.equal("p", existing.asked[2].path)
			assert(caller:call("derive", { path = "q" }))
			assert.equal(3, #existing.asked)
		end)
	end)

	it("is told by a node that its sessions are hidden, and says nothing more in version 1", function()
		run(function()
			local man = middleman.start(node.port, hiding())
			local known = memory.new()
			local caller = open(man.url, { memory = known })
			local message = refused(caller, "put", { key = "private name", value = "v" })
			assert.matches("^HTTP 404 not_found", message)
			assert.same({ PROBE, true }, { v1_calls(man), known:has(node.wallet) })
			-- It is known now: not even asked again.
			refused(caller, "derive", { path = "p" })
			refused(open(man.url, { memory = known }), "get", { key = "k" })
			assert.equal(PROBE, v1_calls(man))
			-- Once nobody hides them, there are sessions.
			man.rule = nil
			assert(caller:call("derive", { path = "p" }))
		end)
	end)

	it("takes no refusal for a proof", function()
		run(function()
			local denials = {
				function() return reply('{"code":"not_found"}', nil, "404 Not Found") end,
				function() return reply('{"code":"forbidden"}', nil, "403 Forbidden") end,
				function() return reply("{}") end, function() return nil end,
			}
			for i, denial in ipairs(denials) do
				for _, line in ipairs({ "404 Not Found", "400 Bad Request", "403 Forbidden", "405 No", "501 No" }) do
					local hide = hiding(line)
					local man = middleman.start(node.port, function(request)
						if request.path == "/kms/derive" then return denial(request) end
						return hide(request)
					end)
					local message = refused(open(man.url), "put", { key = "private name", value = "v" })
					assert.truthy(message:find("the node does not say", 1, true), message)
					assert.same({ i, line, 0, PROBE }, { i, line, man:count("/kms/data"), man:count("/kms/derive") })
				end
			end
		end)
	end)

	it("takes no answer to something else for a proof", function()
		local path = files.temp_dir() .. "/fresh.seed"
		local fresh = assert(native.seed_create(path))
		local own = crypto.seed_identity(crypto.unhex(files.read(path):match(("%x"):rep(64))))
		files.remove_dir(path:match("^(.+)/"))
		node:register({ { identity = own, app_id = "300" } })
		run(function()
			local hide = hiding()
			-- A body of the same application that somebody has recorded, from a client that sends no `pop`.
			local recorded = cjson.encode(crypto.seal(crypto.channel_key(own.scalar, node.point), own.der,
				cjson.encode({ path = "recorded", length = 1 })))
			local man = middleman.start(node.port, function(request)
				if request.path ~= "/kms/derive" then return hide(request) end
				local head = request.bytes:match("^.-\r\n\r\n"):gsub("(Content%-Length: )%d+", "%1" .. #recorded)
				local answer = request.pass(head .. recorded)
				assert.matches("^HTTP/1.1 200 ", answer)
				return answer
			end)
			local message = refused(open(man.url, { seed = fresh }), "put", { key = "private name", value = "v" })
			assert.truthy(message:find("the response is not trusted", 1, true), message)
			assert.same({ 0, PROBE }, { man:count("/kms/data"), man:count("/kms/derive") })
		end)
	end)

	it("asks nothing of a node that fails or is busy", function()
		run(function()
			for _, line in ipairs({ "500 Error", "502 Bad", "503 Busy", "429 Many" }) do
				local man = middleman.start(node.port, hiding(line))
				local value, _, code, status = open(man.url):call("derive", { path = "p" })
				local busy = tonumber(line:match("^503") or line:match("^429"))
				assert.same({ line, nil, "ERR_SESSION", busy }, { line, value, code, status })
				assert.equal(0, v1_calls(man))
			end
			local man = middleman.start(node.port, function(request)
				if request.path == "/session" then return nil end
				return request.pass()
			end)
			local value, _, code = open(man.url):call("derive", { path = "p" })
			assert.same({ nil, "ERR_CONNECT" }, { value, code })
			assert.equal(0, v1_calls(man))
		end)
	end)

	it("never goes back to version 1 with a node that had sessions, unless it is told to", function()
		run(function()
			local known = memory.new()
			local man = middleman.start(node.port)
			local caller = open(man.url, { memory = known })
			assert(caller:call("derive", { path = "p" }))
			man.rule = hiding()
			refused(caller, "derive", { path = "p" })
			refused(open(man.url, { memory = known }), "derive", { path = "p" })
			assert.equal(0, v1_calls(man))
			assert(open(man.url, { memory = known, allow_v1 = true }):call("derive", { path = "p" }))
			assert.equal(1, v1_calls(man))
		end)
	end)
end)
