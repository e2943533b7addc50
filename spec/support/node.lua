--- Real node processes: start, ask, stop. Every node has a folder and a loopback port of its
-- own, and ends with the process that started it, however that one ends (PR_SET_PDEATHSIG).

local cjson = require("cjson")
local uv = require("luv")
local backend = require("spec.support.backend")
local crypto = require("spec.support.crypto")
local files = require("spec.support.files")
local http = require("spec.support.http")
local ports = require("spec.support.ports")
local public_copy = require("spec.support.public_copy")
local wait = require("spec.support.wait")

local M = {}

local Node = {}
Node.__index = Node

local START_S = 120
local STOP_S = 60

M.build = os.getenv("KMS_BUILD") or "build"
M.build_dir = uv.cwd() .. "/" .. M.build
M.program = M.build_dir .. "/nova-kms"

-- What every node of the specs is given; a spec overrides what it is about.
local DEFAULTS = {
	IN_ENCLAVE = "false", CHAIN = "local", LOG_LEVEL = "info", LOG_FORMAT = "json",
	RATE_LIMIT_PER_MINUTE = "0", NONCE_RATE_LIMIT_PER_MINUTE = "0", APP_RATE_LIMIT_PER_MINUTE = "0",
	SESSION_OPEN_PER_MINUTE = "0",
	REGISTRY_CACHE_TTL_SECONDS = "1", KMS_NODE_TICK_SECONDS = "1", MAX_CONNECTIONS_PER_ADDRESS = "4096",
	METRICS_ADDR = "off",
}
-- Taken over from this process: what sanitizers read.
local INHERITED = { "PATH", "ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS" }

-- Another user may not be able to enter the checkout, so it gets the paths of a copy.
local function path_for(uid, text)
	return uid and public_copy.moved(text, M.build_dir) or text
end

local function environment(env, uid)
	local list = {}
	for _, name in ipairs(INHERITED) do list[#list + 1] = os.getenv(name) and name .. "=" .. os.getenv(name) end
	for name, value in pairs(env) do list[#list + 1] = name .. "=" .. path_for(uid, tostring(value)) end
	return list
end

-- Starts the program; its process id stays the same through the helpers before it.
local function spawn(args, options, out, err)
	local argv = { "--pdeathsig", "KILL" }
	for _, limit in ipairs({ "nofile", "memlock" }) do
		local value = options[limit]
		if value then table.move({ "prlimit", ("--%s=%d:%d"):format(limit, value, value) }, 1, 2, #argv + 1, argv) end
	end
	argv[#argv + 1] = path_for(options.uid, options.program or M.program)
	table.move(args, 1, #args, #argv + 1, argv)
	local process = {}
	process.handle, process.pid = uv.spawn("setpriv", {
		args = argv, env = environment(options.env, options.uid), stdio = { options.stdin, out, err },
		cwd = options.cwd or options.uid and public_copy.dir(M.build_dir) or nil,
		uid = options.uid, gid = options.uid,
	}, function(code, signal)
		process.code, process.signal = code, signal
		process.handle:close()
	end)
	if not process.handle then error("cannot start setpriv (util-linux): " .. process.pid, 3) end
	return process
end

-- Runs until the process has ended; kills it when it does not.
local function reap(process, timeout_s)
	if wait.holds(function() return process.code end, timeout_s) then return true end
	uv.kill(process.pid, "sigkill")
	wait.holds(function() return process.code end, STOP_S)
	return false
end

--- Starts the program with these words; ends with the process that started it.
-- @param options env, program, cwd, stdin (file descriptor), nofile, memlock, uid
-- @param out, err  file descriptors
-- @return process {pid, code (once it has ended), signal}
M.spawn = spawn

--- Waits for a process's end, and kills it where that does not come in time.
-- @return whether it came
M.reap = reap

--- A port of 127.0.0.1 that nobody listens on.
M.free_port = ports.take

--- Runs the program to its end.
-- @param args list
-- @param options table, optional: env (the whole environment), cwd, program, stdin, timeout_s, and limits
-- on the process: nofile, memlock, uid (another user)
-- @return exit code, standard output, standard error, signal; a process that does not end in
-- time is killed and gives code nil
function M.run(args, options)
	options = options or {}
	options.env = options.env or {}
	local dir = files.temp_dir()
	local out = assert(uv.fs_open(dir .. "/out", "w", 384))
	local err = assert(uv.fs_open(dir .. "/err", "w", 384))
	local process = spawn(args, options, out, err)
	uv.fs_close(out)
	uv.fs_close(err)
	local ended = reap(process, options.timeout_s or START_S)
	local stdout, stderr = files.read(dir .. "/out"), files.read(dir .. "/err")
	files.remove_dir(dir)
	return ended and process.code or nil, stdout, stderr, process.signal
end

--- The environment of a node of the specs.
function M.env(dir, port, overrides)
	local env = { DATA_DIR = dir, BIND_ADDR = "127.0.0.1:" .. port }
	for name, value in pairs(DEFAULTS) do env[name] = value end
	for name, value in pairs(overrides or {}) do env[name] = value or nil end
	backend.complete(env)
	return env
end

--- Runs a node that is to end by itself, with what its backend needs beside it.
-- @param dir  its folder
-- @param options  as M.run has them, and args (words after "serve"), port; env: overrides of M.env
-- @return what M.run does
function M.serve(dir, options)
	local all = {}
	for name, value in pairs(options) do all[name] = value end
	all.env = M.env(dir, options.port or M.free_port(), options.env)
	local beside = backend.start_beside(all.env, dir, options.uid)
	local result = table.pack(M.run({ "serve", table.unpack(options.args or {}) }, all))
	if beside then beside:stop() end
	return table.unpack(result, 1, result.n)
end

--- Starts a node and waits until it is ready.
-- @param options table, optional: env (overrides; false takes a default away), dir (a folder
-- that stays when the node stops), port, nowait (do not wait), program, nofile, memlock, uid
-- @return node {pid, port, dir, wallet, der, point}; throws when it does not get ready
function M.start(options)
	options = options or {}
	local self = setmetatable({
		dir = options.dir or files.temp_dir(), keep = options.dir ~= nil, port = options.port or M.free_port(),
	}, Node)
	self.log_path = self.dir .. "/node.log"
	local log = assert(uv.fs_open(self.log_path, "a", 384))
	local out = assert(uv.fs_open(self.dir .. "/node.out", "a", 384))
	self.env = M.env(self.dir, self.port, options.env)
	self.beside = backend.start_beside(self.env, self.dir, options.uid)
	self.process = spawn({ "serve" }, {
		env = self.env, program = options.program, nofile = options.nofile, memlock = options.memlock, uid = options.uid,
	}, out, log)
	uv.fs_close(log)
	uv.fs_close(out)
	self.pid = self.process.pid
	if options.nowait then return self end
	local ok, message = pcall(self.wait_ready, self)
	if ok then return self end
	self:kill()
	error(message, 2)
end

--- Waits until GET /ready says 200, and learns who the node is.
function Node:wait_ready()
	local function is_ready()
		local response = http.get(self.port, "/ready")
		return response and response.status == 200
	end
	wait.holds(function() return self.process.code or is_ready() end, START_S)
	if not is_ready() then error("the node is not ready; its log:\n" .. self:log(), 2) end
	local status = self:status()
	self.wallet, self.der = status.node.tee_wallet, crypto.unhex(status.node.tee_pubkey)
	self.point = self.der:sub(-97)
end

--- What GET /status says.
function Node:status()
	return cjson.decode(assert(http.get(self.port, "/status")).body)
end

--- Asks on the node's control socket (kms.admin.commands).
-- @return the reply as a table
function Node:control(method, target)
	local response = assert(http.request(self.dir .. "/control.sock", { method = method, target = target }))
	return cjson.decode(response.body)
end

--- Everything it has logged.
function Node:log()
	return files.read(self.log_path) or ""
end

--- What it has said to the person who started it.
function Node:output()
	return files.read(self.dir .. "/node.out") or ""
end

--- Waits for a text (plain) in the log; throws when it does not come.
function Node:wait_log(text)
	wait.until_true("the log to say " .. text, function() return self:log():find(text, 1, true) end)
end

--- Whether the process runs.
function Node:alive()
	uv.run("nowait")
	return self.process.code == nil
end

--- Waits for the end of a node that was told to stop.
-- @return exit code (nil: it had to be killed), signal
function Node:wait_end()
	local ended = self.process.code ~= nil or reap(self.process, STOP_S)
	if self.beside then self.beside:stop() end
	if not self.keep then files.remove_dir(self.dir) end
	return ended and self.process.code or nil, self.process.signal
end

--- Sends a signal, "sigterm" by default, and waits for the end. Again is fine.
-- @return what Node:wait_end does
function Node:stop(signal)
	if not self.process.code then uv.kill(self.pid, signal or "sigterm") end
	return self:wait_end()
end

--- Ends it at once.
function Node:kill()
	return self:stop("sigkill")
end

-- The file of the local chain as a table.
local function read_chain(self)
	return assert(load(files.read(self.dir .. "/chain.lua"), "chain", "t", {}))()
end

--- Changes the file of the local chain: change(chain table). The node reads it again.
function Node:edit_chain(change)
	local chain = read_chain(self)
	change(chain)
	files.write(self.dir .. "/chain.lua", "return " .. files.serialize(chain))
end

--- Registers applications.
-- @param apps list of {identity, app_id} with optional app_status, version_id, version_status,
-- status, zk_verified, tee_pubkey (hex)
function Node:register(apps)
	self:edit_chain(function(chain)
		for _, app in ipairs(apps) do
			local version_id = app.version_id or "1"
			chain.apps[app.app_id] = { status = app.app_status or 0 }
			chain.versions[app.app_id .. "/" .. version_id] = { status = app.version_status or 0 }
			chain.instances[app.identity.wallet] = {
				id = app.id or "77", app_id = app.app_id, version_id = version_id, wallet = app.identity.wallet,
				operator = app.identity.wallet, url = "", registered_at = 0, status = app.status or 0,
				tee_pubkey = app.tee_pubkey or crypto.hex(app.identity.der), zk_verified = app.zk_verified ~= false,
			}
		end
	end)
end

--- Starts a node that must refuse to start.
-- @param env its environment
-- @param options dir (kept), args, port; or nil
-- @return what it printed
function M.refused(env, options)
	options = options or {}
	local dir = options.dir or files.temp_dir()
	local code, out, err = M.serve(dir, { args = options.args, port = options.port, env = env })
	if not options.dir then files.remove_dir(dir) end
	if code == nil or code == 0 then error(("it did not refuse: code %s\n%s%s"):format(code, out, err), 2) end
	local text = out .. err
	if text:find("stack traceback", 1, true) then error(text, 2) end
	return text
end

return M
