-- kms.client where little memory may be locked for secrets: this process's guarded memory has 8 MiB.

local client = require("kms.client")
local crypto = require("spec.support.crypto")
local loopback = require("spec.support.loopback")
local middleman = require("spec.support.middleman")
local native = require("spec.support.native")
local nodes = require("spec.support.node")

local MANY, BYTES = 24, 300000 -- more than what may be locked, in one answer
local TIMEOUT_MS = 60000
local LARGE = 5 << 20 -- one value that has no room twice

describe("a client with little guarded memory", function()
	local node, seed

	setup(function()
		node = nodes.start({ env = {
			SESSION_OPEN_PER_MINUTE = "0", MAX_APP_STORAGE_BYTES = tostring(64 << 20), MAX_VALUE_BYTES = tostring(8 << 20),
			MAX_REQUEST_BODY_BYTES = tostring(32 << 20), MAX_SESSION_ANSWER_BYTES = tostring(32 << 20),
		} })
		seed = assert(native.seed_load(node.dir .. "/demo-app.seed"))
	end)
	teardown(function() node:stop() end)

	-- Runs fn(client, what stands between it and the node).
	local function with_client(fn)
		loopback.run(function()
			local man = middleman.start(node.port)
			local caller = assert(client.open({ url = man.url, seed = seed, timeout_ms = TIMEOUT_MS }))
			fn(caller, man)
			caller:close()
		end)
		collectgarbage()
	end

	local function writes(prefix)
		local operations = {}
		for i = 1, MANY do
			operations[i] = { kind = "put", fields = { key = prefix .. i, value = crypto.random(BYTES) } }
		end
		return operations
	end

	local function reads(prefix, count)
		local operations, lengths = {}, {}
		for i = 1, count do
			operations[i], lengths[i] = { kind = "get", fields = { key = prefix .. i } }, BYTES
		end
		return operations, lengths
	end

	-- Runs a batch whose results are closed as they come. Returns what came of each.
	local function run(caller, operations)
		local outcomes = {}
		caller:batch(operations, function(position, outcome)
			assert.equal(#outcomes + 1, position)
			outcomes[position] = outcome.result and (outcome.result.length or true) or outcome.message
			if outcome.result then outcome.result.exchange:close() end
		end)
		return outcomes
	end

	it("writes and reads in smaller messages what has no room in one, each write once", function()
		with_client(function(caller, man)
			local written, operations, lengths = run(caller, writes("large/")), reads("large/", MANY)
			for i = 1, MANY do assert.is_true(written[i]) end
			local before = man:count("/session/message")
			assert.is_true(before > 2 and before <= MANY, before .. " messages")
			assert.same(lengths, run(caller, operations))
			local messages = man:count("/session/message") - before
			assert.is_true(messages > 2 and messages < MANY, messages .. " messages")
			assert.equal(1, man:count("/session"))
		end)
	end)

	it("says of one operation that has no room even alone what is locked and how to lock more, and goes on", function()
		with_client(function(caller)
			run(caller, writes("beside/"))
			local operations = reads("beside/", 3)
			table.insert(operations, 2, { kind = "put", fields = { key = "larger", value = crypto.random(LARGE) } })
			local outcomes = run(caller, operations)
			assert.same({ BYTES, BYTES, BYTES }, { outcomes[1], outcomes[3], outcomes[4] })
			assert.truthy(outcomes[2]:find("^out of locked memory: of the 8388608 bytes that this process has locked for "
				.. "secrets %d+ are in use, and this operation needs more: let it lock more %(ulimit %-l, LimitMEMLOCK= of "
				.. "systemd%)$"), outcomes[2])
		end)
	end)
end)
