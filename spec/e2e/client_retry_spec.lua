-- kms.client when operations are sent again, or could be: what is reported of a write that an earlier try may have
-- done, and what calls that run side by side do to each other.

local client = require("kms.client")
local crypto = require("spec.support.crypto")
local files = require("spec.support.files")
local identity = require("kms.base.identity")
local loopback = require("spec.support.loopback")
local memory = require("kms.client.memory")
local middleman = require("spec.support.middleman")
local native = require("spec.support.native")
local node_of = require("kms.client.node")
local nodes = require("spec.support.node")
local uv = require("luv")

local run, reply = loopback.run, loopback.reply

local MESSAGE = "/session/message"

local function gone(request)
	if request.path:find("^/session") then return reply("{}", nil, "404 Not Found") end
	return request.pass()
end

describe("a client that sends again", function()
	local node, seed

	setup(function()
		node = nodes.start({ env = { MAX_KV_VALUE_SIZE_BYTES = "100000", MAX_SESSION_ANSWER_BYTES = "700000" } })
		seed = assert(native.seed_load(node.dir .. "/demo-app.seed"))
	end)
	teardown(function() node:stop() end)

	-- Within run(): a client with a session at the first of `count` ways to the node, and these.
	local function through(count, more)
		local men, options = {}, { nodes = {}, seed = seed }
		for i = 1, count do
			men[i] = middleman.start(node.port)
			options.nodes[i] = { url = men[i].url }
		end
		for name, value in pairs(more or {}) do options[name] = value end
		local caller = assert(client.open(options))
		assert(caller:call("derive", { path = "warm" }))
		for _, man in ipairs(men) do man.seen = {} end
		return caller, table.unpack(men)
	end

	local function direct()
		return assert(client.open({ url = "http://127.0.0.1:" .. node.port, seed = seed }))
	end

	local function cut(request)
		request.pass()
		return nil
	end

	it("says that the outcome of a write is not known where it was lost, and no other try was sent", function()
		run(function()
			for _, trouble in ipairs({ function() return nil end, gone }) do
				local caller, first, second = through(2, { retry_writes = true })
				first.rule = function(request)
					if request.path == MESSAGE then return cut(request) end
					return trouble(request)
				end
				second.rule = trouble
				local value, message, code = caller:call("put", { key = "lost", value = "v" })
				assert.same({ nil, "ERR_OUTCOME" }, { value, code }, message)
				assert.same({ 1, 0 }, { first:count(MESSAGE), second:count(MESSAGE) })
				assert(direct():call("get", { key = "lost" })) -- it was done
			end
		end)
	end)

	it("takes no refusal of a later try for what came of a write that was lost", function()
		run(function()
			local caller, man = through(1, { retry_writes = true })
			assert(caller:call("put", { key = "deleted", value = "v" }))
			man.seen = {}
			man.rule = function(request)
				if request.path == MESSAGE and man:count(MESSAGE) == 1 then return cut(request) end
				return request.pass()
			end
			local value, message, code = caller:call("delete", { key = "deleted" })
			assert.same({ nil, "ERR_OUTCOME" }, { value, code })
			assert.equal("the outcome is not known: HTTP 404 not_found: not found", message)
			assert.equal(2, man:count(MESSAGE))
			-- A read says what its last try says.
			man.seen = {}
			value, message, code = caller:call("get", { key = "deleted" })
			assert.same({ nil, "ERR_REFUSED" }, { value, code }, message)
			assert.equal(2, man:count(MESSAGE))
		end)
	end)

	it("sends nothing behind a write of which nobody knows, however long it would wait", function()
		run(function()
			local caller, man = through(1)
			man.rule = function(request)
				if request.path ~= MESSAGE then return request.pass() end
				return reply('{"code":"busy"}', "Retry-After: 1\r\n", "503 Busy")
			end
			local operations = { { kind = "put", fields = { key = "k", value = "v" } } }
			for i = 2, 300 do operations[i] = { kind = "derive", fields = { path = "p" } } end
			local outcomes, waits = {}, 0
			caller:batch(operations, function(i, outcome) outcomes[i] = outcome end, function()
				waits = waits + 1
				man.rule = nil
				return true
			end)
			assert.same({ "ERR_OUTCOME", "ERR_SESSION", "ERR_SESSION" },
				{ outcomes[1].code, outcomes[2].code, outcomes[300].code })
			assert.truthy(outcomes[300].message:find("not sent: ", 1, true))
			assert.same({ 0, 1 }, { waits, man:count(MESSAGE) })
		end)
	end)

	it("waits with a write for a node that limits calls, and sends none again that may have been made", function()
		run(function()
			for _, case in ipairs({
				{ "429 Too Many Requests", {}, 2 }, { "503 Busy", {}, 1 }, { "503 Busy", { retry_writes = true }, 2 },
			}) do
				local caller, man = through(1, case[2])
				caller.delivery.nodes[1].sessions:close()
				caller.delivery.allow_v1 = true
				caller.delivery.nodes[1].sessions.allow_v1 = true
				man.rule = function(request)
					if request.path ~= "/kms/data" or man:count("/kms/data") > 1 then return gone(request) end
					return reply('{"code":"busy","message":"later"}', "Retry-After: 1\r\n", case[1])
				end
				local waits = {}
				local value, message, code, status = caller:call("put", { key = "waits", value = "v" }, function(_, wait_s)
					waits[#waits + 1] = wait_s
					return true
				end)
				assert.equal(case[3], man:count("/kms/data"))
				assert.same(case[3] == 2 and { 1 } or {}, waits)
				if case[3] == 2 then
					assert(value, message)
				else
					assert.same({ nil, "ERR_REFUSED", 503 }, { value, code, status })
					assert.truthy(message:find("not sent again, since it may have been made", 1, true), message)
				end
			end
		end)
	end)

	it("does so in a session, and sends the reads of a message again all the same", function()
		run(function()
			local caller = through(1)
			local sessions, asked = caller.delivery.nodes[1].sessions, {}
			local busy = { status = 503, code = "service_unavailable", message = "too few copies", retry_after_s = 1 }
			local pass = sessions.exchange
			function sessions.exchange(self, ...)
				asked[#asked + 1] = true
				if #asked == 1 then return { busy, busy } end
				return pass(self, ...)
			end
			local outcomes = caller:batch({
				{ kind = "put", fields = { key = "few", value = "v" } }, { kind = "derive", fields = { path = "p" } },
			}, nil, function() return true end)
			assert.same({ 503, 2 }, { outcomes[1].status, #asked })
			assert.truthy(outcomes[1].message:find("not sent again", 1, true), outcomes[1].message)
			assert.truthy(outcomes[2].result)
		end)
	end)

	it("sends nothing again that would come behind a later write of its key", function()
		run(function()
			local caller = through(1)
			local sessions, sent = caller.delivery.nodes[1].sessions, 0
			local busy = { status = 429, code = "rate_limited", message = "later", retry_after_s = 1 }
			local pass = sessions.exchange
			function sessions.exchange(self, ...)
				sent = sent + 1
				local results, why = pass(self, ...)
				-- The first put and the get of a, both of b.
				if sent == 1 then
					for _, i in ipairs({ 1, 2, 4, 5 }) do results[i] = busy end
				end
				return results, why
			end
			local function op(kind, key, value) return { kind = kind, fields = { key = key, value = value } } end
			local operations = {
				op("put", "a", "1"), op("get", "a"), op("put", "a", "2"), op("put", "b", "1"), op("delete", "b"),
			}
			local outcomes, results = caller:batch(operations, nil, function() return true end), {}
			for i, outcome in ipairs(outcomes) do results[i] = outcome.status or outcome.result ~= nil end
			assert.same({ 429, 429, true, true, true }, results)
			for i = 1, 2 do
				assert.truthy(outcomes[i].message:find("not sent again, since a later operation", 1, true), outcomes[i].message)
			end
			assert.equal(2, sent)
		end)
	end)

	it("asks again for what had no room in an answer, also behind an operation that was refused", function()
		run(function()
			local caller, man = through(1)
			local operations = { { kind = "get", fields = { key = "none" } } }
			for i = 2, 11 do
				assert(caller:call("put", { key = "room" .. i, value = ("v"):rep(90000) }))
				operations[i] = { kind = "get", fields = { key = "room" .. i } }
			end
			man.seen = {}
			local outcomes = caller:batch(operations)
			assert.equal(404, outcomes[1].status)
			for i = 2, 11 do assert.equal(90000, (outcomes[i].result or outcomes[i]).length, outcomes[i].message) end
			assert.equal(2, man:count(MESSAGE))
		end)
	end)

	it("goes on to the next node with a write in version 1 that was not sent, and with none that was", function()
		run(function()
			local caller, first, second = through(2, { allow_v1 = true })
			caller.delivery.nodes[1].sessions:close()
			first.rule, second.rule = gone, gone
			assert(caller:call("put", { key = "v1", value = "v" }))
			assert.same({ 1, 0 }, { first:count("/kms/data"), second:count("/kms/data") })
			first.rule = function(request) if request.path == "/kms/data" then return cut(request) end return gone(request) end
			local outcomes = caller:batch({
				{ kind = "put", fields = { key = "v1", value = "w" } }, { kind = "put", fields = { key = "v2", value = "w" } },
			})
			assert.same({ "ERR_OUTCOME", "ERR_CONNECT" }, { outcomes[1].code, outcomes[2].code })
			assert.truthy(outcomes[2].message:find("^not sent: "), outcomes[2].message)
			assert.same({ 2, 0 }, { first:count("/kms/data"), second:count("/kms/data") })
			first.rule = function() return nil end
			assert(caller:call("put", { key = "v1", value = "x" }))
			assert.same({ 2, 1 }, { first:count("/kms/data"), second:count("/kms/data") })
		end)
	end)

	it("sends nothing in a session that ended while a call waited for it", function()
		run(function()
			local caller, man = through(1)
			local sessions = caller.delivery.nodes[1].sessions
			local session = assert(sessions:ready())
			sessions:close()
			local results, why = sessions:exchange(session, native.client_message())
			assert.same({ nil, "ERR_SESSION", nil }, { results, why.code, why.sent })
			assert.equal(0, man:count(MESSAGE))
		end)
	end)

	it("takes no plain page for a refusal when it asks who a node is", function()
		run(function()
			local man = middleman.start(node.port, function() return reply('{"code":"not_found"}', nil, "404 Not Found") end)
			local value, message, code, status = client.open({ url = man.url, seed = seed })
			assert.same({ nil, "ERR_SESSION", nil }, { value, code, status })
			assert.equal("HTTP 404 not_found: no reason given", message)
		end)
	end)

	it("keeps the identity of a node that it learned first, whatever a page says that comes later", function()
		run(function()
			local other = crypto.made_up("somebody else")
			local held
			local man = middleman.start(node.port, function(request)
				if held then return request.pass() end
				held = coroutine.running()
				coroutine.yield()
				return reply(('{"node":{"tee_wallet":"%s","tee_pubkey":"%s"}}'):format(other.wallet, crypto.hex(other.der)))
			end)
			local keys, entry, late = assert(identity.of(seed)), node_of.at({ url = man.url }), nil
			local co = coroutine.running()
			coroutine.wrap(function()
				late = entry:connect(keys, {})
				assert(coroutine.resume(co))
			end)()
			assert(entry:connect(keys, {}))
			assert(coroutine.resume(held))
			coroutine.yield()
			assert.same({ true, node.wallet }, { late, entry.wallet })
		end)
	end)
end)

describe("the file of nodes with sessions", function()
	local dir, path
	local function report(message) error(message) end

	before_each(function()
		dir = files.temp_dir()
		path = dir .. "/known-nodes"
	end)
	after_each(function() files.remove_dir(dir) end)

	it("is refused in a folder where others could take it away", function()
		assert(memory.open(path, report))
		assert(uv.fs_chmod(dir, 511)) -- 0777
		local refused, message, code = memory.open(path, report)
		assert.same({ nil, "ERR_FILE_MODE" }, { refused, code })
		assert.truthy(message:find("is in a folder that other users can write", 1, true), message)
		assert(uv.fs_chmod(dir, 1023)) -- as /tmp: only its owner can remove a file
		assert(memory.open(path, report))
	end)

	it("keeps its lines apart where an editor left the last one without its end", function()
		local wallets = { "0x" .. ("ab"):rep(20), "0x" .. ("cd"):rep(20), "0x" .. ("ef"):rep(20) }
		files.write(path, wallets[1])
		assert(uv.fs_chmod(path, 384))
		local known = assert(memory.open(path, report))
		known:add(wallets[2])
		known:add(wallets[3])
		known = assert(memory.open(path, report))
		for _, wallet in ipairs(wallets) do assert.is_true(known:has(wallet)) end
		assert.equal(table.concat(wallets, "\n") .. "\n", files.read(path))
	end)
end)
