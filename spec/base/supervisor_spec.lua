-- What the node tells its supervisor (kms.base.supervisor), to a real socket.

local uv = require("luv")
local native = require("spec.support.native")
local supervisor = require("kms.base.supervisor")
local supervisors = require("spec.support.supervisor")
local wait = require("spec.support.wait")

describe("the supervisor", function()
	local listener, failures

	local function connect(env, pid)
		env.NOTIFY_SOCKET = env.NOTIFY_SOCKET or listener.name
		failures = {}
		supervisor.connect(function(name) return env[name] end, pid or 1234, function(message)
			failures[#failures + 1] = message
		end)
	end

	before_each(function() listener = supervisors.start() end)
	after_each(function()
		supervisor.close()
		listener:stop()
	end)

	it("hears in order what the node does", function()
		connect({})
		supervisor.ready()
		supervisor.reloading()
		supervisor.reloaded(true)
		supervisor.reloading()
		supervisor.reloaded(false)
		supervisor.status("serving")
		supervisor.stopping()
		listener:wait_for("STOPPING=1")
		local heard = table.concat(listener:messages(), "\n")
		assert.truthy(heard:find("^READY=1 STATUS=listening; not ready to serve yet\n"
			.. "RELOADING=1 MONOTONIC_USEC=%d+\nREADY=1 STATUS=policies were read again\n"
			.. "RELOADING=1 MONOTONIC_USEC=%d+\nREADY=1 STATUS=the policies have mistakes[^\n]+\n"
			.. "STATUS=serving\nSTOPPING=1 STATUS=finishing requests$"), heard)
		assert.same({}, failures)
	end)

	it("is found at an abstract name", function()
		local abstract = supervisors.start("@nova-kms-spec-" .. uv.os_getpid())
		finally(function() abstract:stop() end)
		connect({ NOTIFY_SOCKET = abstract.name })
		supervisor.ready()
		abstract:wait_for("READY=1")
	end)

	it("gets three pings in its time once the node listens, and none before or when it asks for none", function()
		connect({ WATCHDOG_USEC = "300000", WATCHDOG_PID = "1234" })
		assert.equal(100, supervisor.ping_ms)
		wait.sleep(300)
		assert.same({}, listener:messages())
		supervisor.ready()
		listener:wait_for("WATCHDOG=1", 3)
		for _, env in ipairs({
			{}, { WATCHDOG_USEC = "0" }, { WATCHDOG_USEC = "-5" }, { WATCHDOG_USEC = "soon" },
			{ WATCHDOG_USEC = ("9"):rep(19) }, { WATCHDOG_USEC = "300000", WATCHDOG_PID = "1" },
		}) do
			connect(env)
			assert.is_nil(supervisor.ping_ms)
		end
		connect({ WATCHDOG_USEC = "1" })
		assert.equal(1, supervisor.ping_ms)
	end)

	it("gets no ping from a loop that hangs", function()
		local notify, sent = native.notify, 0
		native.notify = function(...) -- luacheck: ignore 122
			sent = sent + 1
			return notify(...)
		end
		finally(function() native.notify = notify end) -- luacheck: ignore 122
		connect({ WATCHDOG_USEC = "60000" })
		supervisor.ready()
		-- The listener may be some pings behind: the hang begins when it has heard all.
		wait.until_true("all pings to be heard", function() return sent >= 3 and #listener:messages() == sent end)
		local before, started = sent, uv.hrtime()
		repeat local passed = uv.hrtime() - started until passed > 5e8 -- 25 intervals
		assert.equal(before, #listener:messages())
		listener:wait_for("WATCHDOG=1", before + 2)
	end)

	it("gets what it had no room for when it reads again", function()
		listener.handle:kill("sigstop")
		connect({})
		local sent = 0
		while native.notify(listener.name, "FILL=1") do sent = sent + 1 end
		supervisor.ready()
		supervisor.status("serving")
		listener.handle:kill("sigcont")
		listener:wait_for("STATUS=serving")
		local all = listener:messages()
		assert.equal(sent + 2, #all)
		assert.truthy(all[sent + 1]:find("READY=1", 1, true))
		assert.same({}, failures)
	end)

	it("is not there: nothing is sent, and a socket that nobody listens at is an error that is told", function()
		connect({ NOTIFY_SOCKET = "" })
		supervisor.ready()
		connect({ NOTIFY_SOCKET = listener.dir .. "/nobody" })
		supervisor.ready()
		assert.same({ "No such file or directory" }, failures)
		connect({ NOTIFY_SOCKET = "notify" })
		supervisor.ready()
		assert.same({ "argument out of range" }, failures)
		assert.same({}, listener:messages())
	end)
end)
