-- What a running node is protected against, each tried: by another process of its own
-- unprivileged user (spec/support/intruder.c), and by code that got into it (spec/native/insider.c).

local crypto = require("spec.support.crypto")
local files = require("spec.support.files")
local http = require("spec.support.http")
local nobody = require("spec.support.nobody")
local nodes = require("spec.support.node")
local preload = require("spec.support.preload")
local uv = require("luv")
local wait = require("spec.support.wait")

local SIGSYS = 31
local MASTER = crypto.hex(crypto.keccak256("the master secret of the hardening spec"))

-- Refusals that mean: not yours to look at.
local CLOSED = { EPERM = true, EACCES = true }

-- What a process without protection runs into under the same eyes.
local function bystander(env)
	local process = nobody.spawn("intruder", { "wait" }, env)
	wait.until_true("the bystander runs", function() -- setpriv has become it
		local command = files.read(("/proc/%d/cmdline"):format(process.pid))
		return command and command:find("^[^%z]*/intruder%z")
	end)
	return process
end

local function kill(process)
	if not process.code then uv.kill(process.pid, "sigkill") end
	wait.until_true("the process to end", function() return process.code end)
end

local function intrude(pid)
	local code, out, err = nobody.run("intruder", { tostring(pid) })
	assert.equal(0, code, err)
	local results, count = {}, 0
	for name, result in out:gmatch("(%S+) (%S+)\n") do results[name], count = result, count + 1 end
	return results, count
end

describe("the program", function()
	it("ends though a library's destructor waits for ever, and has written all of its output", function()
		local code, output = nodes.run({ "version" }, { env = { LD_PRELOAD = preload("never_ends") }, timeout_s = 60 })
		assert.equal(0, code)
		assert.truthy(output:find("^nova%-kms %d"), output)
	end)
end)

describe("another process of the node's user", function()
	local node, results, count

	setup(function()
		node = nobody.start({ env = { MASTER_SECRET_HEX = MASTER } })
		results, count = intrude(node.pid)
	end)
	teardown(function()
		node:stop()
		files.remove_dir(node.dir)
	end)

	it("gets at a process without protection in every way that is tried here", function()
		local process = bystander()
		local open, tried = intrude(process.pid)
		kill(process)
		assert.equal(19, tried)
		for name, result in pairs(open) do assert.equal("ok", result, name) end
	end)

	it("cannot attach to the node, nor read or write its memory", function()
		assert.equal(19, count)
		for _, name in ipairs({
			"ptrace-attach", "ptrace-seize", "process_vm_readv", "process_vm_writev", "mem", "mem-write",
		}) do
			assert.is_true(CLOSED[results[name]], name .. ": " .. results[name])
		end
	end)

	it("cannot take its descriptors, nor see its environment, its files and where it maps them", function()
		for name, result in pairs(results) do assert.is_true(CLOSED[result], name .. ": " .. result) end
	end)

	it("leaves it as it was", function()
		assert.equal(200, http.get(node.port, "/ready").status)
	end)

	it("finds no secret in its command line, which is open to all", function()
		local command = assert(files.read(("/proc/%d/cmdline"):format(node.pid)))
		assert.truthy(command:find("serve", 1, true))
		assert.is_nil(command:lower():find(MASTER:sub(1, 16), 1, true))
	end)

	it("would find none in its environment either", function()
		if uv.getuid() ~= 0 then return pending("only root can read it") end
		local environ = assert(files.read(("/proc/%d/environ"):format(node.pid)))
		assert.truthy(environ:find("BIND_ADDR", 1, true))
		for _, part in ipairs({ MASTER:sub(1, 16), MASTER:sub(-16) }) do
			assert.is_nil(environ:lower():find(part, 1, true))
		end
	end)

	it("is told by the kernel what the node gave up", function()
		local status = files.read(("/proc/%d/status"):format(node.pid))
		assert.truthy(status:find("NoNewPrivs:%s*1"))
		assert.truthy(status:find("Seccomp:%s*2"), status) -- a filter
		local limits = files.read(("/proc/%d/limits"):format(node.pid))
		assert.truthy(limits:find("Max core file size%s+0%s+0%s"))
	end)
end)

-- Lets the insider of a process act.
-- @return "returned", the errno's name, or nil: the process ended
local function act(path, name, ended)
	files.write(path .. ".new", name, 420) -- 0644: it is another user
	assert(uv.fs_rename(path .. ".new", path))
	local done
	wait.until_true("the insider to act", function()
		done = files.read(path .. ".done")
		return ended() or done and done ~= ""
	end)
	return done
end

describe("code inside a node", function()
	-- Starts a node with an insider, lets it act.
	-- @return what came of it, the node
	local function inside(name, env)
		local dir = nobody.temp_dir()
		env = env or {}
		env.LD_PRELOAD, env.INSIDER, env.LOG_LEVEL = preload("insider"), dir .. "/act", "debug"
		local node = nobody.start({ dir = dir, env = env })
		finally(function() node:kill() files.remove_dir(dir) end)
		return act(dir .. "/act", name, function() return not node:alive() end), node
	end

	-- The same in a process that is not confined.
	local function outside(name, env)
		local dir = nobody.temp_dir()
		env = env or {}
		env.LD_PRELOAD, env.INSIDER = preload("insider"), dir .. "/act"
		local process = bystander(env)
		local result = act(dir .. "/act", name, function() return process.code end)
		kill(process)
		files.remove_dir(dir)
		return result, process
	end

	for _, name in ipairs({
		"execve", "execveat", "fork", "vfork", "system", "execve-32", "execve-x32", "ptrace", "traceme",
		"process_vm_readv", "process_vm_writev", "kcmp", "pidfd_getfd", "perf", "bpf", "unshare", "keyctl",
		"dumpable", "ptracer", "core", "tiocsti", "tioclinux",
	}) do
		it("ends it with " .. name, function()
			if name:find("-", 1, true) and uv.os_uname().machine ~= "x86_64" then return pending("a call of x86_64 only") end
			local result, node = inside(name)
			local _, signal = node:wait_end()
			assert.is_nil(result)
			assert.equal(SIGSYS, signal)
		end)
	end

	for name, result in pairs({
		clone3 = "ENOSYS", io_uring = "ENOSYS", ["writable-code"] = "EACCES", ["make-code"] = "EACCES",
		["shared-code"] = "EACCES", ["attached-code"] = "EACCES", memfd = "ENOSYS",
		thread = "returned", resolve = "returned", getrlimit = "returned",
	}) do
		it(("is answered %s to %s"):format(result, name), function()
			local got, node = inside(name)
			assert.equal(result, got)
			assert.equal(200, http.get(node.port, "/ready").status)
		end)
	end

	it("cannot open the memory of another process of its user, where the kernel has Landlock", function()
		local process = bystander()
		finally(function() kill(process) end)
		local result, node = inside("proc-mem", { INSIDER_VICTIM = process.pid })
		if not node:log():find('"landlock":true', 1, true) then return pending("this kernel has no Landlock") end
		assert.equal("EACCES", result)
		assert.equal("returned", (outside("proc-mem", { INSIDER_VICTIM = process.pid })))
	end)

	it("could do all this in a process that is not confined: the attempts are real", function()
		for _, name in ipairs({
			"fork", "vfork", "system", "clone3", "dumpable", "writable-code", "make-code", "shared-code", "attached-code",
			"memfd",
		}) do
			assert.equal("returned", (outside(name)), name)
		end
		for _, name in ipairs({ "execve", "execveat" }) do
			local result, process = outside(name)
			assert.is_nil(result)
			assert.equal(0, process.signal) -- became /bin/true
		end
	end)
end)

describe("the programs beside serve", function()
	it("are not confined: they may start others", function()
		local code, out = nobody.run("../nova-kms", { "version" })
		assert.equal(0, code)
		assert.truthy(out:find("nova-kms", 1, true))
	end)
end)
