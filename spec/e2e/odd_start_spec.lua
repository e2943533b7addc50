-- What starts a node may leave odd surroundings: closed descriptors, signals blocked, ignored or early, an alarm,
-- a log that cannot be written, few descriptors, a data folder that is in use.

local uv = require("luv")
local backend = require("spec.support.backend")
local files = require("spec.support.files")
local http = require("spec.support.http")
local nodes = require("spec.support.node")
local wait = require("spec.support.wait")

describe("a node started in odd surroundings", function()
	-- A program that sets up its surroundings and becomes the node ("$@").
	local function script(dir, text)
		local path = dir .. "/start"
		files.write(path, "#!/bin/sh\n" .. text:gsub("NODE", nodes.program) .. "\n")
		assert(uv.fs_chmod(path, 448))
		return path
	end

	local function start(text, options)
		options = options or {}
		options.dir = files.temp_dir()
		options.program = script(options.dir, text)
		local node = nodes.start(options)
		finally(function()
			node:stop()
			files.remove_dir(options.dir)
		end)
		return node
	end

	it("serves without standard descriptors, and writes no log line into a connection", function()
		local node = start('exec NODE "$@" <&- >&- 2>&-')
		for _ = 1, 20 do assert.equal(200, http.get(node.port, "/health").status) end
		for fd = 0, 2 do assert.equal("/dev/null", uv.fs_readlink(("/proc/%d/fd/%d"):format(node.pid, fd))) end
	end)

	it("serves where the log cannot be written: a full disk, a pipe that nobody reads", function()
		local node = start('exec NODE "$@" >/dev/full 2>/dev/full')
		assert.equal(200, http.get(node.port, "/health").status)
		node = start('mkfifo "$0.pipe"; (: <"$0.pipe") & exec NODE "$@" 2>"$0.pipe"')
		assert.equal(200, http.get(node.port, "/health").status)
	end)

	it("stops on SIGTERM where its parent blocked all signals and ignores those of children", function()
		local node = start('exec env --block-signal --ignore-signal=CHLD --ignore-signal=TERM NODE "$@"')
		uv.kill(node.pid, "sigterm")
		assert.is_true(nodes.reap(node.process, 20))
		assert.equal(0, node.process.code)
	end)

	it("outlives an alarm of the process that it was", function()
		-- Long enough for the program to begin on a machine that is busy.
		local node = start([[exec perl -e 'alarm 5; exec @ARGV' NODE "$@"]])
		local before = uv.hrtime()
		wait.until_true("the alarm's time to pass", function() return uv.hrtime() - before > 5.5e9 end)
		assert.equal(200, http.get(node.port, "/health").status)
	end)

	it("outlives SIGHUP from its first instruction on", function()
		local node = start('exec NODE "$@"', { nowait = true })
		-- The helpers before the program would die: wait until it has taken over and ignores the signal.
		wait.until_true("the program to run", function()
			local status = files.read(("/proc/%d/status"):format(node.pid)) or ""
			return status:find("^Name:%s*nova%-kms") and status:find("SigIgn:%s*%x*[13579bdf]\n")
		end)
		for _ = 1, 50 do uv.kill(node.pid, "sighup") end
		node:wait_ready()
		uv.kill(node.pid, "sighup")
		assert.equal(200, http.get(node.port, "/health").status)
	end)

	it("serves with 64 descriptors, through more connections than that", function()
		local node = start('exec NODE "$@"', { nofile = 64 })
		local clients = {}
		for i = 1, 100 do
			clients[i] = uv.new_tcp()
			clients[i]:connect("127.0.0.1", node.port, function() end)
			uv.run("nowait")
		end
		wait.until_true("a reply beside idle connections", function()
			local response = http.get(node.port, "/health")
			return response and response.status == 200
		end)
		for _, client in ipairs(clients) do http.close(client) end
	end)

	backend.only("files", it)("refuses a data folder of another node, and takes it when that node was killed", function()
		local node = nodes.start({ dir = files.temp_dir() })
		local dir = node.dir
		finally(function() files.remove_dir(dir) end)
		local code, _, err = nodes.serve(dir, {})
		assert.equal(1, code)
		assert.truthy(err:find("data folder " .. dir .. ": another node uses it", 1, true), err)
		node:kill()
		-- New files that it had not finished go.
		local unfinished = { dir .. "/chain.lua.0011223344556677.new", dir .. "/node.seed.new.123" }
		for _, path in ipairs(unfinished) do files.write(path, "half") end
		node = nodes.start({ dir = dir })
		for _, path in ipairs(unfinished) do assert.is_nil(uv.fs_stat(path), path) end
		node:stop()
	end)
end)
