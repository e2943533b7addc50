-- `nova-kms devnet --custodians`: the rehearsal and the disaster that it prints, to paste, and what it refuses.

local clusters = require("spec.support.cluster")
local files = require("spec.support.files")
local nodes = require("spec.support.node")
local ports = require("spec.support.ports")
local process = require("devnet.process")
local uv = require("luv")
local wait = require("spec.support.wait")

local ENV = { PATH = os.getenv("PATH"), HOME = os.getenv("HOME") or "/", ASAN_OPTIONS = os.getenv("ASAN_OPTIONS") }
local TIMEOUT_S = 120
local PASTE_S = 300 -- for a line of those that wait

describe("nova-kms devnet --custodians", function()
	local dir, running

	before_each(function() dir = files.temp_dir() end)
	after_each(function()
		if running and running:alive() then
			running.handle:kill("sigint")
			clusters.await(function() return running:wait(TIMEOUT_S * 1000) end)
		end
		running = nil
		files.remove_dir(dir)
	end)

	local test = clusters.test(it, pending)

	local function refused(...)
		local code, out, err = nodes.run({ "devnet", "--dir", dir .. "/net", ... }, { env = ENV })
		return code, out .. err
	end

	-- Starts one that stays. Returns what it printed.
	local function start(...)
		local log = dir .. "/output"
		running = assert(process.start({
			program = nodes.program, env = ENV, log = log,
			args = { "devnet", "--port", tostring(ports.take(ports.DEVNET)), "--dir", dir .. "/net", ... },
		}))
		wait.until_true("the devnet", function()
			assert(running:alive(), files.read(log))
			return files.read(log):find("Ctrl-C ends it", 1, true)
		end, TIMEOUT_S)
		return files.read(log)
	end

	-- A line in a shell, without what a sanitizer had loaded into this process.
	local function paste(line)
		local code, out, err = nodes.run({ "-c", line }, { program = "/bin/bash", env = ENV, timeout_s = PASTE_S })
		assert.equal(0, code, line .. "\n" .. out .. err)
		return out
	end

	-- The lines to paste below a heading: list of { comment, command }.
	local function lines_below(output, heading)
		local list, comment = {}, nil
		local from = select(2, output:find("\n" .. heading .. "[^\n]*\n"))
		for line in output:sub(assert(from, heading) + 1):gmatch("[^\n]+") do
			if not line:find("^  ") then break end
			if comment then list[#list + 1] = { comment, line:sub(3) } end
			comment = line:match("^  # (.+)$")
		end
		return list
	end

	test("prints a rehearsal and a disaster that do what they say when they are pasted", function()
		local output = start("--custodians=5", "--threshold=3")
		local rehearsal = lines_below(output, "As custodians, of whom any 3 of 5")
		assert.equal(7, #rehearsal)
		local said
		for _, line in ipairs(rehearsal) do said = paste(line[2]) end
		for _, name in ipairs({ "alice", "bob", "carol", "dave", "erin" }) do
			assert.truthy(said:find(name .. ", rehearsed 0 days ago", 1, true), said)
		end
		local disaster, results = lines_below(output, "The disaster, after the rehearsal"), {}
		assert.equal(8, #disaster)
		-- What the demo wrote is in snapshots within seconds.
		wait.until_true("a snapshot", function()
			local _, out = nodes.run({ "snapshot", "list", "--folder", dir .. "/net/snapshots" }, { env = {} })
			return select(2, out:gsub("0x%x+", "")) == 3
		end)
		for _, line in ipairs(disaster) do results[line[1]] = paste(line[2]) end
		assert.equal(results["a key of before"], results["the key is the one of before"])
		assert.equal("demo/greeting\n", results["the records are those of the last snapshot"])
		assert.truthy(results["alice gives its share"]:find("has 1 of the 3 shares", 1, true))
		assert.truthy(results["carol gives its share"]:find("has the master secret again", 1, true))
		-- The wallets are others now, and the devnet says what it did.
		output = files.read(dir .. "/output")
		assert.truthy(output:find("All nodes are killed, and all their files deleted.", 1, true), output)
		assert.is_nil(output:find("ended by signal", 1, true), output)
		local members = paste(nodes.program .. " nodes --url " .. output:match("node 1 +(http://%S+)"))
		for wallet in output:gmatch("\nnode %d+ +%S+ +wallet (0x%x+)") do
			assert.is_nil(members:find(wallet, 1, true), members)
		end
	end)

	test("keeps custodians and snapshots with --keep", function()
		local words = { "--once", "--no-demo", "--nodes=1", "--custodians=2", "--port=" .. ports.take(ports.DEVNET) }
		assert.equal(0, (refused(table.unpack(words))))
		local made = files.read(dir .. "/net/custodians/custodians.lua")
		assert.truthy(made:find('["threshold"] = 2', 1, true), made)
		assert.equal(0, (refused("--once", "--no-demo", "--keep")))
		assert.equal(made, files.read(dir .. "/net/custodians/custodians.lua"))
		assert.equal(0, (refused(table.unpack(words))))
		assert.not_equal(made, files.read(dir .. "/net/custodians/custodians.lua"))
	end)

	test("takes up to 16 custodians, all of whom may be needed", function()
		local code, text = refused("--once", "--no-demo", "--nodes=1", "--custodians=16", "--threshold=16",
			"--port=" .. ports.take(ports.DEVNET))
		assert.equal(0, code, text)
		assert.truthy(files.read(dir .. "/net/custodians/custodians.lua"):find('"peggy"', 1, true))
	end)

	it("refuses numbers that can be no set of custodians, and says which can", function()
		for _, case in ipairs({
			{ "--custodians: '1' is not a whole number from 2 to 16", "--custodians=1" },
			{ "--custodians: '17' is not a whole number from 2 to 16", "--custodians=17" },
			{ "--threshold: '1' is not a whole number from 2 to 16", "--custodians=5", "--threshold=1" },
			{ "--threshold: '6' is more than the number of custodians (5)", "--custodians=5", "--threshold=6" },
			{ "--threshold needs --custodians", "--threshold=2" },
			{ "--custodians cannot change it", "--custodians=2", "--keep" },
		}) do
			local code, text = refused(table.unpack(case, 2))
			assert.equal(2, code, text)
			assert.truthy(text:find(case[1], 1, true), text)
		end
	end)

	test("says what to install where age-keygen is missing", function()
		assert(uv.fs_mkdir(dir .. "/bin", 448))
		assert(uv.fs_symlink("/usr/bin/setpriv", dir .. "/bin/setpriv"))
		local code, out, err = nodes.run({ "PATH=" .. dir .. "/bin", nodes.program, "devnet", "--once", "--custodians=2",
			"--dir", dir .. "/net", "--port=" .. ports.take(ports.DEVNET) }, { program = "/usr/bin/env" })
		assert.equal(1, code)
		assert.truthy(err:find("the custodians' keys are made by age-keygen: install age (Debian: apt install age)", 1, true),
			out .. err)
	end)
end)
