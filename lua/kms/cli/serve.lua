--- `nova-kms serve`: runs a node until SIGTERM or SIGINT.

local uv = require("luv")
local config = require("kms.config")
local exit = require("kms.cli.exit")
local log = require("kms.log")
local loop = require("kms.loop")
local native = require("kms_native")
local node = require("kms.node")

local function complain(io, lines)
	for _, line in ipairs(type(lines) == "table" and lines or { lines }) do io.stderr:write("nova-kms: ", line, "\n") end
end

-- The configuration, with what the environment gives in secret; guarded memory is up after.
local function configure(options, root, io)
	local cfg, errors = config.load({ path = options.config, env = io.env, default_path = root .. "/config/node.lua" })
	if not cfg then return complain(io, errors) end
	node.set_threads(cfg.THREADS)
	local ok, message = native.init(cfg.LOCKED_MEMORY_BYTES)
	if not ok then return complain(io, message) end
	local given
	given, message = native.take_env("MASTER_SECRET_HEX", 32)
	if message then
		return complain(io, "variable MASTER_SECRET_HEX: " .. message .. ": allowed is 64 hexadecimal digits")
	end
	ok, errors = config.check_secrets(cfg, function() return given ~= nil end)
	if not ok then return complain(io, errors) end
	return cfg, given
end

local function logger(cfg)
	return log.new({
		level = cfg.LOG_LEVEL, format = cfg.LOG_FORMAT, names = cfg.LOG_NAMES, clock = native.wall_ms,
		hash = native.name_hash,
	})
end

-- Where clients reach the node: a wildcard address is no place to call.
local function base_url(cfg)
	local host, port = cfg.BIND_ADDR:match("^(.*):(%d+)$")
	if host == "0.0.0.0" or host == "[::]" then host = "127.0.0.1" end
	return ("http://%s:%s"):format(host, port)
end

-- For people who try it: what to paste into another terminal.
local function announce(cfg, program, io)
	io.stdout:write(("nova-kms %s is ready on %s\n"):format(native.version, base_url(cfg)))
	if cfg.CHAIN == "local" then
		io.stdout:write(("Try: %s call derive --url %s --seed %s/demo-app.seed --path wallet/root\n"):format(
			program, base_url(cfg), cfg.DATA_DIR))
	end
	io.stdout:flush()
end

local function announce_when_ready(running, cfg, program, io)
	local timer
	timer = loop.every(20, function()
		if not running.lifecycle.ready then return end
		loop.close(timer)
		announce(cfg, program, io)
	end)
	return timer
end

-- SIGTERM and SIGINT stop in order; a second one ends at once.
local function stop_on_signals(stop)
	local asked = false
	for _, name in ipairs({ "sigterm", "sigint" }) do
		loop.on_signal(name, function()
			if asked then os.exit(exit.FAILED, true) end
			asked = true
			stop(name)
		end)
	end
end

-- Runs the node.
-- @param options config (path or nil)
-- @param io stdout, stderr, root (folder of lua/ and config/), program
-- @return exit status
local function run(options, io)
	local cfg, given = configure(options, io.root, io)
	if not cfg then return exit.CONFIG end
	local logs = logger(cfg)
	loop.on_error(function(text) logs:error("internal error", { trace = text }) end)
	for _, note in ipairs(config.notes(cfg)) do logs:warn("configuration", { note = note }) end
	native.raise_nofile()
	local running, message = node.start({ config = cfg, log = logs, given = given })
	if not running then
		complain(io, message)
		return exit.FAILED
	end
	local ready_timer = announce_when_ready(running, cfg, io.program, io)
	stop_on_signals(function(signal)
		logs:info("stopping", { signal = signal })
		loop.close(ready_timer)
		running:stop(function()
			logs:info("stopped")
			uv.stop()
		end)
	end)
	uv.run()
	return exit.OK
end

return {
	name = "serve",
	summary = "run a node",
	options = {
		{ name = "config", value = "FILE", help = "configuration file (default: NOVA_KMS_CONFIG, config/node.lua)" },
	},
	run = run,
}
