--- `nova-kms serve`: runs a node until SIGTERM or SIGINT.

local uv = require("luv")
local boot = require("kms.node.boot")
local config = require("kms.config")
local exit = require("kms.cli.exit")
local log = require("kms.base.log")
local loop = require("kms.base.loop")
local session = require("kms.cli.session")

local IMPATIENT_MS = 1000

local function logger(cfg, native)
	return log.new({
		level = cfg.LOG_LEVEL, format = cfg.LOG_FORMAT, names = cfg.LOG_NAMES, clock = native.wall_ms,
		hash = native.name_hash,
	})
end

-- Prints a command to paste into another terminal.
local function announce(cfg, native, world)
	world.stdout:write(("nova-kms %s is ready on %s\n"):format(native.version, session.local_url(cfg)))
	if cfg.CHAIN == "local" then
		world.stdout:write(("Try: %s call derive --url %s --seed %s/demo-app.seed --path wallet/root\n"):format(
			world.program, session.local_url(cfg), cfg.DATA_DIR))
	end
	world.stdout:flush()
end

-- Calls say() once the node serves.
local function announce_when_ready(running, say)
	local timer
	timer = loop.every(20, function()
		if not running:is_ready() then return end
		loop.close(timer)
		say()
	end)
	return timer
end

-- A function that calls fn the first time it is called, and then no more.
local function once(fn)
	local called = false
	return function(reason)
		if called then return end
		called = true
		fn(reason)
	end
end

-- A second signal ends the process at once, unless it comes right after the first: terminals and
-- supervisors signal a whole process group, whose members pass the signal on.
local function stop_on_signals(stop)
	local asked_ms
	for _, name in ipairs({ "sigterm", "sigint" }) do
		loop.on_signal(name, function()
			if asked_ms and uv.now() - asked_ms > IMPATIENT_MS then os.exit(exit.FAILED) end
			if asked_ms then return end
			asked_ms = uv.now()
			stop(name)
		end)
	end
end

-- Runs the loop until the node has stopped. Returns the exit code.
local function run_node(running, cfg, logs, native, world)
	local waiting = announce_when_ready(running, function() announce(cfg, native, world) end)
	local stop = once(function(signal)
		logs:info("stopping", { signal = signal })
		loop.close(waiting)
		running:stop(function()
			logs:info("stopped")
			loop.stop()
		end)
	end)
	running:on_drain(function() stop("drain") end)
	stop_on_signals(stop)
	loop.run()
	return exit.OK
end

local function run(parsed, world)
	local native, node = world.native(), require("kms.node")
	local cfg, secrets = boot.configure({ path = parsed.config, env = world.env, root = world.root, native = native })
	if not cfg then
		for _, line in ipairs(secrets) do world.stderr:write("nova-kms: ", line, "\n") end
		return exit.CONFIG
	end
	local logs = logger(cfg, native)
	loop.on_error(function(text) logs:error("internal error", { trace = text }) end)
	for _, note in ipairs(config.notes(cfg)) do logs:warn("configuration", { note = note }) end
	node.set_threads(cfg.THREADS)
	native.raise_nofile()
	-- Before reading anything from outside, and before the first thread.
	local landlock, message = native.confine()
	if landlock == nil then
		world.stderr:write("nova-kms: ", message, "\n")
		return exit.FAILED
	end
	logs:debug("confined", { seccomp = true, landlock = landlock })
	local running
	running, message = node.start({
		config = cfg, log = logs, given_secret = secrets.MASTER_SECRET_HEX, shipped = world.root .. "/config/policy",
	})
	if type(message) == "table" then
		for _, line in ipairs(message) do world.stderr:write("nova-kms: ", line, "\n") end
		return exit.CONFIG
	end
	if not running then
		world.stderr:write("nova-kms: ", message, "\n")
		uv.run("nowait") -- luv crashes at exit while handles are still closing
		return exit.FAILED
	end
	return run_node(running, cfg, logs, native, world)
end

return {
	name = "serve",
	summary = "run a node until SIGTERM or SIGINT",
	options = {
		{ name = "config", value = "FILE", help = "configuration file (default: NOVA_KMS_CONFIG, config/node.lua)" },
	},
	run = run,
}
