-- An error in the node's own code in the middle of a message (docs/protocol.md sections 15.2 and 15.3): what its caller
-- is told, what was done, and that nothing is done twice.

local apps = require("spec.support.app")
local cjson = require("cjson")
local client = require("kms.client")
local crypto = require("spec.support.crypto")
local files = require("spec.support.files")
local loopback = require("spec.support.loopback")
local middleman = require("spec.support.middleman")
local native = require("spec.support.native")
local nodes = require("spec.support.node")
local sessions = require("spec.support.session_client")

local HERE = "spec/support/planted_fault.lua"

-- A copy of the program and its Lua code with the faults in it. Returns its path.
local function faulty_program(dir)
	assert(os.execute(("mkdir -p '%s/build' && cp '%s' '%s/build/' && cp -R lua config '%s' && cp %s '%s/lua/'"):format(
		dir, nodes.program, dir, dir, HERE, dir)))
	local main = dir .. "/lua/main.lua"
	files.write(main, 'require("planted_fault")\n' .. files.read(main))
	return dir .. "/build/nova-kms"
end

describe("a fault of the node in the middle of a message", function()
	local dir, node, app

	setup(function()
		dir = files.temp_dir()
		node = nodes.start({ program = faulty_program(dir), env = { SESSION_OPEN_PER_MINUTE = "0" } })
		app = apps.new(node, "400", "faults")
		node:register({ app })
	end)
	teardown(function()
		node:stop()
		files.remove_dir(dir)
	end)

	local function puts(...)
		local operations = {}
		for i, key in ipairs({ ... }) do
			operations[i] = { op = "put", key = key, value = crypto.base64("value of " .. key) }
		end
		return operations
	end

	-- What a message's operations were answered with, or the plain answer that came instead.
	local function send(session, operations)
		local body, seq = session:seal(cjson.encode(operations))
		local response = sessions.post(app, body)
		if response.status == 200 then return cjson.decode(session:open_answer(response.body, seq)) end
		return { plain = response.status, code = cjson.decode(response.body).code }
	end

	-- The values of keys, or their HTTP statuses, in a session of their own.
	local function stored(...)
		local operations, found = {}, {}
		for i, key in ipairs({ ... }) do operations[i] = { op = "get", key = key } end
		for i, answer in ipairs(sessions.open(app):call(operations)) do
			found[i] = answer.value and crypto.unbase64(answer.value) or answer.status
		end
		return found
	end

	local function fails_and_ends(session, operations)
		assert.same({ plain = 500, code = "internal_error" }, send(session, operations))
		assert.same({ plain = 410, code = "session_unknown" }, send(session, { op = "derive", path = "p" }))
	end

	it("before an operation has run: nothing of the message is done, and its session ends", function()
		local session = sessions.open(app)
		fails_and_ends(session, puts("a/1", "a/2", "fault/decided/a", "a/4", "a/5"))
		assert.same({ 404, 404, 404, 404, 404 }, stored("a/1", "a/2", "fault/decided/a", "a/4", "a/5"))
		node:wait_log("a planted fault before")
		assert.is_true(node:alive())
	end)

	it("behind the writes: they stand, once, though nobody is told", function()
		local before = node:status().sync.sequence
		fails_and_ends(sessions.open(app), puts("b/1", "fault/written/b", "b/3"))
		assert.same({ "value of b/1", "value of fault/written/b", "value of b/3" }, stored("b/1", "fault/written/b", "b/3"))
		assert.equal(before + 3, node:status().sync.sequence)
	end)

	it("costs no other session anything", function()
		local other, session = sessions.open(app), sessions.open(app)
		assert.equal(200, other:call({ op = "derive", path = "p" }).status)
		fails_and_ends(session, puts("c/1", "fault/decided/c"))
		assert.equal(200, other:call({ op = "derive", path = "p" }).status)
	end)

	describe("with kms.client", function()
		-- Runs operations of the demo application. Returns what came of each, and how many messages were sent.
		local function run(operations, more)
			local outcomes, messages, openings
			loopback.run(function()
				local man = middleman.start(node.port)
				local options = { url = man.url, seed = assert(native.seed_load(node.dir .. "/demo-app.seed")) }
				for name, value in pairs(more or {}) do options[name] = value end
				local caller = assert(client.open(options))
				outcomes = caller:batch(operations)
				messages, openings = man:count("/session/message"), man:count("/session")
				caller:close()
			end)
			for i, outcome in ipairs(outcomes) do outcomes[i] = outcome.result and "done" or outcome.status or outcome.code end
			return outcomes, messages, openings
		end

		local function of(kind, ...)
			local operations = {}
			for i, key in ipairs({ ... }) do operations[i] = { kind = kind, fields = { key = key, value = "v" } } end
			if kind == "get" then
				for _, operation in ipairs(operations) do operation.fields.value = nil end
			end
			return operations
		end

		it("reads are sent again, in a new session", function()
			assert.same({ { 404, 404, 404 }, 2, 2 }, { run(of("get", "d/1", "fault/decided/d", "d/3")) })
		end)

		it("of writes nobody knows the outcome, and they are not sent again", function()
			for _, key in ipairs({ "fault/decided/e", "fault/written/e" }) do
				local outcomes, messages = run(of("put", "e/1", key, "e/3"))
				assert.same({ "ERR_OUTCOME", "ERR_OUTCOME", "ERR_OUTCOME" }, outcomes)
				assert.equal(1, messages)
			end
		end)

		it("writes are sent again where the caller says so", function()
			local before = node:status().sync.sequence
			local outcomes, messages = run(of("put", "f/1", "fault/decided/f", "f/3"), { retry_writes = true })
			assert.same({ "done", "done", "done" }, outcomes)
			assert.equal(2, messages)
			assert.equal(before + 3, node:status().sync.sequence)
		end)
	end)
end)
