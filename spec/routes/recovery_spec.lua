-- POST /recovery/check notes the time in a record: it is refused where other writes are.

require("spec.support.native")

local cjson = require("cjson")
local operations = require("kms.routes.operations")
local recovery = require("kms.routes.recovery")

local function nothing() end

describe("POST /recovery/check", function()
	local readiness, clock_check, checked, while_body_arrives

	before_each(function()
		readiness, clock_check, checked, while_body_arrives = { ready = true, writes_wait = nothing }, {}, 0, nothing
	end)

	local function check()
		local config = { NONCE_RATE_LIMIT_PER_MINUTE = 30, MAX_NAMESPACES = 10, WRITE_COPIES = 1 }
		local routes = recovery.new({
			sets = {}, age_files = {}, waiting = {}, secrets = {}, mono_ms = function() return 0 end, config = config,
			readiness = readiness, audit = { event = nothing, counted = nothing },
			rehearsals = { check = function()
				checked = checked + 1
				return "alice", 1700000000000
			end },
			tee = { address = "0x" .. ("a"):rep(40), sign = function() return "0xsigned" end },
			operations = operations.new({
				service = {}, tee = {}, gateway = {}, log = {}, copies = {}, audit = {}, on_change = nothing,
				refuse_value = nothing, config = config, readiness = readiness, clock_check = clock_check,
			}),
		})
		for _, route in ipairs(routes:routes()) do
			if route.name == "recovery_check" then
				return route.handler({
					max_body = 4096, within = function() return true end,
					request = {
						head = { body = function() return cjson.encode({ nonce = "n", proof = "p", set = "s", x = 1 }) end },
						read_body = function()
							while_body_arrives()
							return true
						end,
					},
				})
			end
		end
	end

	local function assert_refused(code)
		local reply = check()
		assert.same({ 503, code, 0 }, { reply.status, reply.code, checked })
		return reply
	end

	it("notes a rehearsal", function()
		assert.equal(200, check().status)
		assert.equal(1, checked)
	end)

	it("notes none while the node's clock is wrong", function()
		clock_check.reason = "clock: 60 s behind the chain"
		assert.equal(clock_check.reason, assert_refused("ERR_CLOCK").message)
	end)

	it("notes none before the node may write", function()
		function readiness.writes_wait() return "not yet", 7 end
		assert.equal("7", assert_refused("ERR_NOT_READY").headers["Retry-After"])
	end)

	it("notes none where the node has stopped serving while the body arrived", function()
		function while_body_arrives() readiness.ready, readiness.reason = false, "no member any more" end
		assert_refused("ERR_NOT_READY")
	end)
end)
