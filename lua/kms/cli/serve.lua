--- `nova-kms serve`: runs a node until SIGTERM or SIGINT.

local uv = require("luv")
local boot = require("kms.node.boot")
local exit = require("kms.cli.exit")
local log = require("kms.base.log")
local loop = require("kms.base.loop")
local poll = require("kms.async.poll")
local session = require("kms.cli.session")
local supervisor = require("kms.base.supervisor")

local IMPATIENT_MS = 1000

local function logger(cfg, native)
	return log.new({
		level = cfg.LOG_LEVEL, format = cfg.LOG_FORMAT, names = cfg.LOG_NAMES, clock = native.wall_ms,
		hash = native.name_hash,
	})
end

-- Says why the node does not start: as lines of the log where those are JSON, else as commands do.
-- @param lines list of texts, or one text
local function complain(logs, world, lines)
	for _, line in ipairs(type(lines) == "table" and lines or { lines }) do
		if logs:format() == "json" then
			logs:error("cannot start", { reason = line })
		else
			world.stderr:write("nova-kms: ", line, "\n")
		end
	end
end

-- Says that the node serves. On a terminal: with a command to paste into another one.
local function announce(cfg, native, world, logs)
	if logs:format() == "json" and not (cfg.LOG_FORMAT == "auto" and world.is_terminal()) then
		return logs:info("serving", { url = session.local_url(cfg), version = native.version })
	end
	-- Standard output may be the audit log's.
	local out = cfg.AUDIT == "stdout" and world.stderr or world.stdout
	out:write(("nova-kms %s is ready on %s\n"):format(native.version, session.local_url(cfg)))
	if cfg.CHAIN == "local" then
		out:write(("Try: %s call derive --url %s --seed %s/demo-app.seed --path wallet/root\n"):format(
			world.program, session.local_url(cfg), cfg.DATA_DIR))
	end
	out:flush()
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
	supervisor.ready()
	local stop_waiting = poll.until_true(function() return running:is_ready() end, function()
		supervisor.status("serving")
		announce(cfg, native, world, logs)
	end)
	local stop = once(function(signal)
		logs:info("stopping", { signal = signal })
		supervisor.stopping()
		stop_waiting()
		running:stop(function()
			logs:info("stopped")
			supervisor.close()
			loop.stop()
		end)
	end)
	local code = exit.OK
	running:on_drain(function() stop("drain") end)
	running:on_failure(function(message)
		code = exit.FAILED
		complain(logs, world, message)
		stop()
	end)
	stop_on_signals(stop)
	loop.run()
	return code
end

-- Starts the node. Returns it | nil, exit code, after the reason was logged.
local function start(cfg, secrets, logs, native, world)
	local node = require("kms.node")
	node.set_threads(cfg.THREADS, (cfg.SNAPSHOT:find("^/") and 1 or 0) + (cfg.AUDIT ~= "off" and 1 or 0))
	native.raise_nofile()
	-- Before reading anything from outside, and before the first thread.
	local landlock, message = native.confine()
	if landlock == nil then
		complain(logs, world, message)
		return nil, exit.FAILED
	end
	logs:debug("confined", { seccomp = true, landlock = landlock })
	local running
	running, message = node.start({
		config = cfg, log = logs, given_secret = secrets.MASTER_SECRET_HEX, shipped = world.root .. "/config/policy",
	})
	if running then return running end
	complain(logs, world, message)
	return nil, type(message) == "table" and exit.CONFIG or exit.FAILED
end

local function run(parsed, world)
	local native = world.native()
	local options = { path = parsed.config, env = world.env, root = world.root, native = native }
	local cfg, secrets = boot.configure(options)
	local logs = cfg and logger(cfg, native)
		or log.new({ clock = native.wall_ms, names = true, format = boot.log_format(options) })
	for _, note in ipairs(boot.notes(options, cfg)) do logs:warn("configuration", { note = note }) end
	if not cfg then
		local mistakes = secrets
		complain(logs, world, mistakes)
		return exit.CONFIG
	end
	loop.on_error(function(text) logs:error("internal error", { trace = text }) end)
	supervisor.connect(world.env, uv.os_getpid(), function(message)
		logs:warn("supervisor not told", { error = message })
	end)
	local ok, running, code = loop.try(start, cfg, secrets, logs, native, world)
	if ok and running then return run_node(running, cfg, logs, native, world) end
	uv.run("nowait") -- luv crashes at exit while handles are still closing
	return code or exit.FAILED
end

return {
	name = "serve",
	summary = "run a node until SIGTERM or SIGINT",
	options = {
		{ name = "config", value = "FILE", help = "configuration file (default: NOVA_KMS_CONFIG, config/node.lua)" },
	},
	run = run,
}
