-- kms.client and sessions, against a node and what may happen on the way to it.

local client = require("kms.client")
local crypto = require("spec.support.crypto")
local files = require("spec.support.files")
local loopback = require("spec.support.loopback")
local memory = require("kms.client.memory")
local middleman = require("spec.support.middleman")
local native = require("spec.support.native")
local nodes = require("spec.support.node")
local uv = require("luv")

local run, reply = loopback.run, loopback.reply

local UNLIMITED = { SESSION_OPEN_PER_MINUTE = "0" }

describe("a client of a node with sessions", function()
	local node, seed

	setup(function()
		node = nodes.start({ env = UNLIMITED })
		seed = assert(native.seed_load(node.dir .. "/demo-app.seed"))
	end)
	teardown(function() node:stop() end)

	local function open(url, more)
		local options = { url = url, seed = seed }
		for name, value in pairs(more or {}) do options[name] = value end
		return assert(client.open(options))
	end

	-- Within run(): a client whose way to the node follows a rule.
	local function through(rule, more)
		local man = middleman.start(node.port, rule)
		return open(man.url, more), man
	end

	-- A value as a node answers it.
	local function value_of(result)
		local path = os.tmpname()
		local fd = assert(uv.fs_open(path, "w", 384))
		assert(result.exchange:write(fd, "raw"))
		uv.fs_close(fd)
		local value = files.read(path)
		os.remove(path)
		return value
	end

	local function stored(key)
		return value_of(assert(open("http://127.0.0.1:" .. node.port):call("get", { key = key })))
	end

	local function no_v1(man)
		for _, request in ipairs(man.seen) do assert.is_nil(request.path:find("^/kms/"), request.target) end
	end

	it("opens one, and sends everything through it", function()
		run(function()
			local caller, man = through()
			local put = assert(caller:call("put", { key = "one", value = "first" }))
			assert.is_true(put.updated_at_ms > 0)
			assert.equal("first", value_of(assert(caller:call("get", { key = "one" }))))
			assert.equal(16, assert(caller:call("derive", { path = "p", context = "c", length = 16 })).length)
			local value, message, code, status = caller:call("get", { key = "none" })
			assert.same({ nil, "ERR_REFUSED", 404 }, { value, code, status })
			assert.equal("HTTP 404 not_found: not found", message)
			local listed = {}
			assert(caller:list("on", function(keys) for _, key in ipairs(keys) do listed[#listed + 1] = key end end))
			assert.same({ "one" }, listed)
			assert(caller:call("delete", { key = "one" }))
			assert.same({ 1, 6 }, { man:count("/session"), man:count("/session/message") })
			no_v1(man)
			for _, request in ipairs(man.seen) do assert.is_nil(request.bytes:find("first", 1, true)) end
		end)
	end)

	it("gets the same keys and values as in version 1", function()
		run(function()
			local without = through(function(request)
				if request.path:find("^/session") then return reply("{}", nil, "404 Not Found") end
				return request.pass()
			end, { allow_v1 = true })
			local with = open("http://127.0.0.1:" .. node.port)
			local fields = { path = "same", context = "key", length = 32 }
			assert.equal(value_of(assert(without:call("derive", fields))), value_of(assert(with:call("derive", fields))))
			assert(without:call("put", { key = "v1", value = "of version 1", ttl_ms = 60000 }))
			assert.equal("of version 1", value_of(assert(with:call("get", { key = "v1" }))))
			assert(with:call("delete", { key = "v1" }))
		end)
	end)

	it("runs any number of operations in few messages, each on its own and in order", function()
		run(function()
			local caller, man = through()
			local operations = { { kind = "put", fields = { key = "b", value = "1" } } }
			for i = 2, 599 do operations[i] = { kind = "derive", fields = { path = "p" .. i, length = i } } end
			operations[300] = { kind = "get", fields = { key = "none" } }
			operations[301] = { kind = "derive", fields = {} } -- no node takes it
			operations[600] = { kind = "get", fields = { key = "b" } }
			local outcomes = caller:batch(operations)
			assert.equal(600, #outcomes)
			assert.equal(3, man:count("/session/message"))
			for i = 2, 599 do
				if i ~= 300 and i ~= 301 then
					assert.is_table(outcomes[i].result, outcomes[i].message)
					assert.equal(i, outcomes[i].result.length)
				end
			end
			assert.same({ "ERR_REFUSED", 404 }, { outcomes[300].code, outcomes[300].status })
			assert.equal("ERR_FIELD_MISSING", outcomes[301].code)
			assert.equal("1", value_of(outcomes[600].result))
		end)
	end)

	it("splits what is too large for a message", function()
		run(function()
			local caller, man = through()
			local operations, value = {}, ("v"):rep(200000)
			for i = 1, 5 do operations[i] = { kind = "put", fields = { key = "large" .. i, value = value .. i } } end
			for _, outcome in ipairs(caller:batch(operations)) do assert.is_table(outcome.result, outcome.message) end
			assert.equal(5, man:count("/session/message"))
			for i = 1, 5 do assert.equal(value .. i, stored("large" .. i)) end
		end)
	end)

	it("gets values of any number, in order, though an answer has no room for all of them", function()
		local small = nodes.start({ env = { MAX_KV_VALUE_SIZE_BYTES = "131072", MAX_SESSION_ANSWER_BYTES = "700000" } })
		local own = assert(native.seed_load(small.dir .. "/demo-app.seed"))
		finally(function() small:stop() end)
		run(function()
			local man = middleman.start(small.port)
			local caller = open(man.url, { seed = own })
			assert(caller:call("put", { key = "large", value = ("w"):rep(100000) }))
			local operations, order = {}, {}
			for i = 1, 12 do operations[i] = { kind = "get", fields = { key = i == 7 and "none" or "large" } } end
			man.seen = {}
			caller:batch(operations, function(position, outcome)
				order[#order + 1] = position
				assert.equal(position == 7 and 404 or nil, outcome.status)
				if position ~= 7 then
					assert.equal(100000, outcome.result.length)
					outcome.result.exchange:close()
				end
			end)
			assert.same({ 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 }, order)
			assert.is_true(man:count("/session/message") <= 4, man:count("/session/message"))
		end)
	end)

	it("shares the session between calls that run side by side, also when the node forgets it", function()
		run(function()
			local caller, man = through()
			local done, co = 0, coroutine.running()
			local function derive(i)
				assert(caller:call("derive", { path = "side " .. i }))
				done = done + 1
				if done % 20 == 0 then assert(coroutine.resume(co)) end
			end
			for i = 1, 20 do coroutine.wrap(derive)(i) end
			coroutine.yield()
			assert.equal(1, man:count("/session"))
			man.rule = function(request)
				if request.path ~= "/session/message" or man:count("/session") > 1 then return request.pass() end
				return reply('{"code":"session_unknown"}', nil, "410 Gone")
			end
			for i = 1, 20 do coroutine.wrap(derive)(i) end
			coroutine.yield()
			assert.equal(2, man:count("/session"))
		end)
	end)

	it("refuses an answer to its opening that is not the node's, and asks nothing in version 1", function()
		run(function()
			-- Puts another digit in the place of the one behind a pattern.
			local function spoil(answer, before)
				return (answer:gsub("(" .. before .. ")(%x)", function(kept, digit)
					return kept .. (digit == "0" and "1" or "0")
				end))
			end
			local changes = {
				function(answer) return spoil(answer, "X%-KMS%-Session%-Signature: 0x") end,
				function(answer) return answer:gsub("X%-KMS%-Session%-Signature", "X-Other") end,
				function(answer) return spoil(answer, '"encrypted_data":"') end,
				function(answer) return (answer:gsub("\r\n\r\n.*$", function(body)
					return "\r\n\r\n" .. ("x"):rep(#body - 4)
				end)) end,
			}
			for i, change in ipairs(changes) do
				local caller, man = through(function(request)
					local answer = request.pass()
					if request.path ~= "/session" then return answer end
					return (change(answer))
				end)
				local value, message, code = caller:call("derive", { path = "p" })
				assert.same({ i, nil, "ERR_UNVERIFIED" }, { i, value, code })
				assert.truthy(message:find("the answer to an opening is not trusted", 1, true), message)
				assert.equal(1, man:count("/session"))
				no_v1(man)
			end
		end)
	end)

	it("notices answers that were swapped, and asks again", function()
		run(function()
			local caller, man = through()
			assert(caller:call("derive", { path = "p" }))
			local held
			man.rule = function(request)
				local answer = request.pass()
				if request.path ~= "/session/message" or man.swapped then return answer end
				if not held then
					held = { co = coroutine.running(), answer = answer }
					return coroutine.yield()
				end
				man.swapped = true
				local first = held
				assert(coroutine.resume(first.co, answer))
				return first.answer
			end
			local done, co = {}, coroutine.running()
			for i = 1, 2 do
				coroutine.wrap(function()
					done[i] = assert(caller:call("derive", { path = "swapped", length = 20 + i })).length
					if done[1] and done[2] then assert(coroutine.resume(co)) end
				end)()
			end
			coroutine.yield()
			assert.same({ 21, 22 }, done)
			assert.is_true(man.swapped)
		end)
	end)

	it("opens another session before one is used up, so that a put does not fail", function()
		local short = nodes.start({ env = { SESSION_TTL_SECONDS = "20" } })
		local own = assert(native.seed_load(short.dir .. "/demo-app.seed"))
		local ok, failure = pcall(run, function()
			local man = middleman.start(short.port)
			local caller = open(man.url, { seed = own })
			assert(caller:call("put", { key = "k", value = "1" }))
			os.execute("sleep 5.5") -- a session ends after five seconds without use
			assert(caller:call("put", { key = "k", value = "2" }))
			assert.equal(2, man:count("/session"))
		end)
		short:stop()
		if not ok then error(failure, 0) end
	end)

	it("remembers nodes with sessions in a private file, for the processes after it", function()
		local dir = files.temp_dir()
		local path = dir .. "/state/nova-kms/known-nodes"
		local function report(message) error(message) end
		run(function()
			local known = assert(memory.open(path, report))
			assert(open("http://127.0.0.1:" .. node.port, { memory = known }):call("derive", { path = "p" }))
		end)
		assert.equal(node.wallet .. "\n", files.read(path))
		assert.equal(384, uv.fs_stat(path).mode & 511)
		assert.equal(448, uv.fs_stat(dir .. "/state/nova-kms").mode & 511)
		local known = assert(memory.open(path, report))
		assert.is_true(known:has(node.wallet))
		assert.is_false(known:has("0x" .. crypto.hex(crypto.random(20))))
		-- What others could have written, or what is something else, is refused rather than taken for empty.
		assert(uv.fs_chmod(path, 438))
		local refused, _, code = memory.open(path, report)
		assert.same({ nil, "ERR_FILE_MODE" }, { refused, code })
		assert(uv.fs_chmod(path, 384))
		files.write(path, "0x12\n")
		refused, _, code = memory.open(path, report)
		assert.same({ nil, "ERR_FILE_FORMAT" }, { refused, code })
		files.remove_dir(dir)
	end)
end)
