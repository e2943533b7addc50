-- kms.client when a node fails, restarts or lies, and when somebody on the way does: what is sent again, what is
-- reported as unknown, and that nothing plain is believed.

local backend = require("spec.support.backend")
local client = require("kms.client")
local files = require("spec.support.files")
local loopback = require("spec.support.loopback")
local middleman = require("spec.support.middleman")
local native = require("spec.support.native")
local nodes = require("spec.support.node")
local uv = require("luv")

local run, reply = loopback.run, loopback.reply

local MESSAGE = "/session/message"
local UNLIMITED = { SESSION_OPEN_PER_MINUTE = "0" }
local STATUSES = {
	["400"] = "400 Bad Request", ["404"] = "404 Not Found", ["409"] = "409 Conflict", ["410"] = "410 Gone",
	["403"] = "403 Forbidden",
}

describe("a client in a session", function()
	local node, seed

	setup(function()
		node = nodes.start({ env = UNLIMITED })
		seed = assert(native.seed_load(node.dir .. "/demo-app.seed"))
	end)
	teardown(function() node:stop() end)

	local function open(options)
		options.seed = options.seed or seed
		return assert(client.open(options))
	end

	local function direct()
		return open({ url = "http://127.0.0.1:" .. node.port })
	end

	-- Within run(): a client with a session, and what stands between it and the node.
	local function through(more)
		local man = middleman.start(node.port)
		local options = { url = man.url }
		for name, value in pairs(more or {}) do options[name] = value end
		local caller = open(options)
		assert(caller:call("derive", { path = "warm" }))
		man.seen = {}
		return caller, man
	end

	local function stamp(key)
		local result, _, code = direct():call("get", { key = key })
		return result and result.updated_at_ms or code
	end

	-- Rules about messages; everything else passes.
	local function on_messages(rule)
		return function(request)
			if request.path ~= MESSAGE then return request.pass() end
			return rule(request)
		end
	end

	it("asks a liar four times at most, and believes nothing that he says in plain", function()
		run(function()
			for status, line in pairs(STATUSES) do
				local caller, man = through()
				man.rule = on_messages(function() return reply('{"code":"not_found","message":"gone"}', nil, line) end)
				for _, kind in ipairs({ "get", "derive", "list" }) do
					man.seen = {}
					local value, message, code, got = caller:call(kind, { key = kind == "get" and "k" or nil,
						path = kind == "derive" and "p" or nil })
					assert.same({ status, nil, "ERR_SESSION", nil }, { status, value, code, got })
					assert.truthy(message:find("HTTP " .. status, 1, true), message)
					assert.equal(4, man:count(MESSAGE))
					assert.is_true(man:count("/session") <= 4)
				end
				for _, kind in ipairs({ "put", "delete" }) do
					man.seen = {}
					local value, message, code, got = caller:call(kind, { key = "k", value = kind == "put" and "v" or nil })
					assert.same({ status, nil, "ERR_OUTCOME", nil }, { status, value, code, got })
					assert.truthy(message:find("^the outcome is not known: HTTP " .. status), message)
					assert.equal(1, man:count(MESSAGE))
				end
				for _, request in ipairs(man.seen) do assert.is_nil(request.path:find("^/kms")) end
			end
		end)
	end)

	it("asks a liar who always answers something four times at most", function()
		run(function()
			local answers = {
				function() return reply(("x"):rep(300)) end, function() return reply("") end,
				function(request) return reply(request.bytes:match("\r\n\r\n(.*)$"):sub(17)) end, -- reflected
				function(request) return (request.pass():gsub(".$", function(c) return string.char(c:byte() ~ 1) end)) end,
				function(request) return reply(request.pass():match("\r\n\r\n(.*)$"):sub(1, -257)) end,
				function() return nil end,
			}
			for i, answer in ipairs(answers) do
				local caller, man = through()
				man.rule = on_messages(answer)
				local value, _, code = caller:call("derive", { path = "p" })
				assert.same({ i, nil, i == #answers and "ERR_CONNECT" or "ERR_UNVERIFIED" }, { i, value, code })
				assert.equal(4, man:count(MESSAGE))
				man.seen = {}
				value, _, code = caller:call("put", { key = "k", value = "v" })
				assert.same({ i, nil, "ERR_OUTCOME" }, { i, value, code })
				assert.equal(1, man:count(MESSAGE))
			end
		end)
	end)

	it("says that the outcome of a write is not known where the connection breaks before the answer", function()
		run(function()
			local caller, man = through()
			man.rule = on_messages(function(request)
				request.pass()
				return nil
			end)
			assert.equal("ERR_REFUSED", stamp("cut"))
			local value, _, code = caller:call("put", { key = "cut", value = "v" })
			assert.same({ nil, "ERR_OUTCOME" }, { value, code })
			assert.is_number(stamp("cut")) -- it was done
			value, _, code = caller:call("delete", { key = "cut" })
			assert.same({ nil, "ERR_OUTCOME" }, { value, code })
			assert.equal("ERR_REFUSED", stamp("cut"))
			assert.equal(2, man:count(MESSAGE))
			-- With reads in the same message: they were not answered, and nothing of it is sent again.
			local outcomes = caller:batch({
				{ kind = "derive", fields = { path = "p" } }, { kind = "put", fields = { key = "cut", value = "w" } },
			})
			assert.same({ "ERR_CONNECT", "ERR_OUTCOME" }, { outcomes[1].code, outcomes[2].code })
			assert.equal(3, man:count(MESSAGE))
		end)
	end)

	it("sends a write again where it may, in another session and under another number", function()
		run(function()
			local caller, man = through({ retry_writes = true })
			local cuts = 2
			man.rule = on_messages(function(request)
				local answer = request.pass()
				cuts = cuts - 1
				return cuts < 0 and answer or nil
			end)
			local put = assert(caller:call("put", { key = "again", value = "v" }))
			assert.equal(put.updated_at_ms, stamp("again"))
			assert.same({ 3, 2 }, { man:count(MESSAGE), man:count("/session") })
			local sids = {}
			for _, request in ipairs(man.seen) do
				if request.path == MESSAGE then sids[request.bytes:match("\r\n\r\n(.*)$"):sub(1, 16)] = true end
			end
			local different = 0
			for _ in pairs(sids) do different = different + 1 end
			assert.equal(3, different)
			cuts = 100
			local value, _, code = caller:call("put", { key = "again", value = "v" })
			assert.same({ nil, "ERR_OUTCOME" }, { value, code })
			assert.equal(7, man:count(MESSAGE))
		end)
	end)

	it("has the node end a session that it gave up, so that a write held back on the way is never done", function()
		run(function()
			local caller, man = through()
			local held
			man.rule = on_messages(function(request)
				if held then return request.pass() end
				held = request
				return reply('{"code":"session_unknown"}', nil, "410 Gone")
			end)
			local value, _, code = caller:call("put", { key = "held", value = "old" })
			assert.same({ nil, "ERR_OUTCOME" }, { value, code })
			assert(caller:call("put", { key = "held", value = "new" }))
			local late = held.pass()
			assert.truthy(late:find("^HTTP/1.1 410 "), late)
			assert.equal(3, assert(caller:call("get", { key = "held" })).length)
		end)
	end)

	backend.only("files", it)("opens another one where the node has restarted", function()
		local dir = files.temp_dir()
		local port = nodes.free_port()
		local own = nodes.start({ env = UNLIMITED, dir = dir, port = port })
		local own_seed = assert(native.seed_load(dir .. "/demo-app.seed"))
		local ok, failure = pcall(run, function()
			local caller = open({ url = "http://127.0.0.1:" .. port, seed = own_seed })
			local length = assert(caller:call("derive", { path = "p", length = 20 })).length
			own:stop()
			-- Nobody is there: nothing was sent, and nothing is unknown.
			local value, _, code = caller:call("put", { key = "k", value = "v" })
			assert.same({ nil, "ERR_CONNECT" }, { value, code })
			own = nodes.start({ env = UNLIMITED, dir = dir, port = port })
			assert.equal(length, assert(caller:call("derive", { path = "p", length = 20 })).length)
		end)
		own:stop()
		files.remove_dir(dir)
		if not ok then error(failure, 0) end
	end)

	it("takes a write for sent where the connection that was kept broke, and none can be made", function()
		run(function()
			local server, served
			local man = middleman.start(node.port)
			server = loopback.serve(function(connection, bytes)
				if not loopback.length_of(bytes) then return false end
				if served then
					server.listener:close()
					connection:close()
					return true
				end
				served = bytes:find("^POST " .. MESSAGE) ~= nil
				coroutine.wrap(function() connection:write(middleman.forward(man.port, bytes)) end)()
				return true
			end)
			local caller = open({ url = server.url })
			assert(caller:call("derive", { path = "p" }))
			local value, _, code = caller:call("put", { key = "kept", value = "v" })
			assert.same({ nil, "ERR_OUTCOME" }, { value, code })
		end)
	end)

	describe("of one node among several", function()
		local other

		setup(function()
			other = nodes.start({ env = UNLIMITED })
			local app_wallet = native.identity(seed)
			-- The same application on both.
			local mine = assert(loadfile(node.dir .. "/chain.lua", "t", {}))()
			other:edit_chain(function(chain)
				local wallet = app_wallet:address()
				local instance = mine.instances[wallet]
				chain.instances[wallet] = instance
				chain.apps[instance.app_id] = mine.apps[instance.app_id]
				local version = instance.app_id .. "/" .. instance.version_id
				chain.versions[version] = mine.versions[version]
			end)
		end)
		teardown(function() other:stop() end)

		-- A client of both, at the first one.
		local function both(more)
			local first, second = middleman.start(node.port), middleman.start(other.port)
			local options = { nodes = { { url = first.url }, { url = second.url } } }
			for name, value in pairs(more or {}) do options[name] = value end
			local caller = open(options)
			assert(caller:call("derive", { path = "warm" }))
			assert.equal(0, #second.seen)
			first.seen = {}
			return caller, first, second
		end

		it("goes on to the next on trouble, and stays there", function()
			run(function()
				local troubles = {
					function() return nil end, function() return reply("x") end,
					function() return reply("{}", nil, "404 Not Found") end,
					function() return reply("{}", "Retry-After: 7\r\n", "503 Busy") end,
					function() return reply("{}", nil, "429 Many") end,
				}
				for i, trouble in ipairs(troubles) do
					local caller, first, second = both()
					first.rule = on_messages(trouble)
					assert(caller:call("derive", { path = "p" }), i)
					assert.same({ i, 1, 1 }, { i, first:count(MESSAGE), second:count(MESSAGE) })
					assert(caller:call("put", { key = "k", value = "v" }))
					assert.same({ i, 1, 2 }, { i, first:count(MESSAGE), second:count(MESSAGE) })
				end
			end)
		end)

		it("opens another session before it goes on where only the session is gone", function()
			run(function()
				local caller, first, second = both()
				first.rule = on_messages(function() return reply("{}", nil, "410 Gone") end)
				assert(caller:call("derive", { path = "p" }))
				assert.same({ 2, 1, 1 }, { first:count(MESSAGE), first:count("/session"), second:count(MESSAGE) })
			end)
		end)

		it("goes on with a write only where it was not sent, or may be sent again", function()
			run(function()
				local caller, first, second = both()
				first.rule = on_messages(function() return nil end)
				local value, _, code = caller:call("put", { key = "k", value = "v" })
				assert.same({ nil, "ERR_OUTCOME" }, { value, code })
				assert.equal(0, second:count(MESSAGE))
				caller, first, second = both()
				first.rule = function() return nil end -- no session either
				caller.delivery.nodes[1].sessions:close()
				assert(caller:call("put", { key = "k", value = "v" }))
				assert.equal(1, second:count(MESSAGE))
				caller, first, second = both({ retry_writes = true })
				first.rule = on_messages(function() return nil end)
				assert(caller:call("put", { key = "k", value = "v" }))
				assert.same({ 1, 1 }, { first:count(MESSAGE), second:count(MESSAGE) })
			end)
		end)

		it("fails where all are in trouble, after a bounded number of tries", function()
			run(function()
				local caller, first, second = both()
				local function busy() return reply("{}", "Retry-After: 7\r\n", "503 Busy") end
				first.rule, second.rule = on_messages(busy), on_messages(busy)
				local value, _, code, status, wait_s = caller:call("derive", { path = "p" })
				assert.same({ nil, "ERR_SESSION", 503, 7 }, { value, code, status, wait_s })
				assert.equal(4, first:count(MESSAGE) + second:count(MESSAGE))
			end)
		end)

		it("does not need all of them to be there", function()
			run(function()
				local gone = loopback.own(uv.new_tcp())
				gone:bind("127.0.0.1", 0)
				local url = "http://127.0.0.1:" .. gone:getsockname().port
				local caller = open({ nodes = { { url = url }, { url = "http://127.0.0.1:" .. other.port } } })
				assert(caller:call("derive", { path = "p" }))
				local value, _, code = client.open({ nodes = { { url = url }, { url = url } }, seed = seed })
				assert.same({ nil, "ERR_CONNECT" }, { value, code })
			end)
		end)
	end)

	it("sends a batch again that nodes are too busy for, where the caller waits", function()
		run(function()
			local busy_times = 0
			local man = middleman.start(node.port, function(request)
				local is_opening = request.path == "/session"
				if busy_times == 2 or not is_opening and request.path ~= MESSAGE then return request.pass() end
				if is_opening and busy_times == 1 then return request.pass() end
				busy_times = busy_times + 1
				return reply("{}", ("Retry-After: %d\r\n"):format(4 + busy_times), "503 Busy")
			end)
			local caller, waits, got = open({ url = man.url }), {}, {}
			local operations = {}
			for i = 1, 3 do operations[i] = { kind = "derive", fields = { path = "p", length = i } } end
			caller:batch(operations, function(position, outcome) got[position] = outcome.result.length end,
				function(message, wait_s)
					assert.matches("^HTTP 503", message)
					waits[#waits + 1] = wait_s
					return true
				end)
			assert.same({ { 5, 6 }, { 1, 2, 3 } }, { waits, got })
			-- Where nobody waits, each is told.
			busy_times = 1
			local outcomes = caller:batch(operations)
			for _, outcome in ipairs(outcomes) do
				assert.same({ "ERR_SESSION", 503, 6 }, { outcome.code, outcome.status, outcome.wait_s })
			end
		end)
	end)

	it("that is asked to come back says when, and sends nothing again by itself", function()
		run(function()
			local caller, man = through()
			man.rule = on_messages(function() return reply('{"code":"rate_limited"}', "Retry-After: 3\r\n", "429 Many") end)
			local value, _, code, status, wait_s = caller:call("derive", { path = "p" })
			assert.same({ nil, "ERR_SESSION", 429, 3 }, { value, code, status, wait_s })
			assert.equal(1, man:count(MESSAGE))
			-- The session is still good.
			man.rule = nil
			assert(caller:call("derive", { path = "p" }))
			assert.equal(0, man:count("/session"))
		end)
	end)
end)
