--- Every command of README.md works, in the order in which a newcomer meets them. Targets that
-- contain this spec, take minutes or stay are looked at by make without being run: .ci/run, or a
-- spec in spec/cluster, runs them. What can be brief is.

local uv = require("luv")
local files = require("spec.support.files")
local ports = require("spec.support.ports")
local wait = require("spec.support.wait")

local PORT = ports.take()
local URL = "http://127.0.0.1:" .. PORT
local BUILD = os.getenv("KMS_BUILD") or "build"
local MAKE_RUN_S = 900 -- it builds everything
local LONG = {
	test = true, check = true, asan = true, valgrind = true, ctcheck = true, bench = true, devnet = true, chaos = true,
}
local BRIEF = { fairness = "lua5.4 spec/bench/fairness.lua " .. BUILD .. " 1 look_ups" } -- one of its loads

local function commands()
	local list, inside = {}, false
	for line in io.lines("README.md") do
		if line:find("^```") then
			inside = line == "```sh"
		elseif inside then
			list[#list + 1] = line
		end
	end
	return list
end

local function shell(command)
	local pipe = assert(io.popen(command .. " 2>&1"))
	local output = pipe:read("a")
	local ok, _, status = pipe:close()
	return ok and 0 or status, output
end

-- What the command's words become for a node of this spec's own.
local function adapt(command, folder)
	command = command:gsub("^build/nova%-kms (%a+)", function(name)
		local url = (name == "call" or name == "status" or name == "nodes") and " --url " .. URL or ""
		return BUILD .. "/nova-kms " .. name .. (name == "call" and " " or url)
	end)
	command = command:gsub("| build/nova%-kms", "| " .. BUILD .. "/nova-kms")
	command = command:gsub("call%s+(%a+)", "call %1 --url " .. URL)
	return (command:gsub("build/node", folder):gsub("build/my%-app", folder .. "/my-app"))
end

describe("README.md", function()
	local folder, group

	setup(function()
		folder = files.temp_dir()
		uv.os_setenv("XDG_STATE_HOME", folder .. "/state") -- what calls remember of nodes
	end)

	teardown(function()
		if group then
			uv.kill(-group, "sigterm")
			wait.holds(function() return not uv.kill(-group, 0) end, 20)
			uv.kill(-group, "sigkill")
		end
		files.remove_dir(folder)
	end)

	local function start()
		local env = { "BIND_ADDR=127.0.0.1:" .. PORT, "DATA_DIR=" .. folder, "BUILD=" .. BUILD }
		for name, value in pairs(uv.os_environ()) do env[#env + 1] = name .. "=" .. value end
		local log = assert(uv.fs_open(folder .. "/log", "w", 420))
		-- It ends with this process, too, however that one ends.
		local handle, pid = uv.spawn("setpriv", { args = { "--pdeathsig", "TERM", "make", "run", "BUILD=" .. BUILD },
			env = env, detached = true, stdio = { nil, log, log } }, function() end)
		assert(handle, pid)
		group = pid
		return wait.until_true("make run to print an example", function()
			local text = files.read(folder .. "/log") or ""
			if ("\n" .. text):find("\nTry: ") then return text end
			return false, text
		end, MAKE_RUN_S)
	end

	for _, command in ipairs(commands()) do
		it("has a command that works: " .. command, function()
			local target = command:match("^make (%a+)$")
			if target == "run" then
				local text = start()
				-- The example that it prints works when pasted.
				local status, output = shell(text:match("Try: ([^\n]+)"))
				assert.equal(0, status, output)
				assert.is_truthy(output:find("^[%w+/]+=*\n$"), output)
				return
			end
			local status, output = shell(LONG[target] and "make -n " .. target or BRIEF[target] or adapt(command, folder))
			assert.equal(0, status, output)
			if command:find("call get", 1, true) then assert.equal("postgres://db", output) end
			if command:find("call list", 1, true) then assert.equal("config/db\n", output) end
		end)
	end

	it("is short, and names files that exist", function()
		local lines = 0
		for line in io.lines("README.md") do
			lines = lines + 1
			for path in line:gmatch("%]%(([%w/._-]+)%)") do assert.is_truthy(uv.fs_stat(path), path) end
		end
		assert.is_true(lines < 150)
	end)
end)
