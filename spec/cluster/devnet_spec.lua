-- `nova-kms devnet` as its user sees it: what it shows, the lines it gives to paste, and that
-- nothing of it is left when it ends, however it ends.

local clusters = require("spec.support.cluster")
local files = require("spec.support.files")
local http = require("spec.support.http")
local nodes = require("spec.support.node")
local ports = require("spec.support.ports")
local process = require("devnet.process")
local uv = require("luv")
local wait = require("spec.support.wait")

local ENV = { PATH = os.getenv("PATH"), HOME = os.getenv("HOME") or "/", ASAN_OPTIONS = os.getenv("ASAN_OPTIONS") }
local TIMEOUT_MS = 120000
-- REGISTRY_CACHE_TTL_SECONDS and ticks of a devnet are 2 s; much for a busy machine.
local SEEN_S = 60

describe("nova-kms devnet", function()
	local dir

	setup(function() dir = files.temp_dir() end)
	teardown(function() files.remove_dir(dir) end)

	local test = clusters.test(it, pending)

	local function devnet(...)
		return nodes.run({ "devnet", "--dir", dir .. "/net", ... }, { env = ENV, timeout_s = TIMEOUT_MS / 1000 })
	end

	local function finish(running, signal)
		running.handle:kill(signal)
		clusters.await(function() return running:wait(TIMEOUT_MS) end)
		return running.code
	end

	-- One that stays, from when it says that it is there.
	local function start(...)
		local log = dir .. "/output"
		os.remove(log)
		local running = assert(process.start({
			program = nodes.program, env = ENV, log = log,
			args = { "devnet", "--port", tostring(ports.take(ports.DEVNET)), "--dir", dir .. "/net", ... },
		}))
		finally(function() -- where the test fails: the next one needs its folder
			if running:alive() then finish(running, "sigkill") end
		end)
		wait.until_true("the devnet", function()
			assert(running:alive(), files.read(log))
			return files.read(log):find("Ctrl-C ends it", 1, true)
		end, TIMEOUT_MS / 1000)
		return running, files.read(log)
	end

	-- Whether something still listens where the devnet did.
	local function is_left(output)
		for port in output:gmatch("http://127%.0%.0%.1:(%d+)") do
			local connection = http.connect(tonumber(port))
			if connection then
				connection:close()
				return true
			end
		end
		return false
	end

	local function fingerprints(output)
		local rows = {}
		for one, other in output:gmatch("\nnode %d+ +(%x+) +(%x+)  ") do rows[#rows + 1] = one .. " " .. other end
		return rows
	end

	test("shows that keys are the same and values are read on every node, and ends", function()
		for _, more in ipairs({ "--nodes=3", "--odyn" }) do
			local code, output, errors = devnet("--once", "--port=" .. ports.take(ports.DEVNET), more)
			assert.equal(0, code, errors)
			local rows = fingerprints(output)
			assert.equal(3, #rows, output)
			assert.equal(rows[1], rows[2])
			assert.equal(rows[1], rows[3])
			local first, second = rows[1]:match("(%x+) (%x+)")
			assert.are_not.equal(first, second)
			assert.equal(2, select(2, output:gsub("hello %(read here after", "")), output)
			assert.is_false(is_left(output))
		end
	end)

	test("has a new secret each time, and the old one with --keep", function()
		local seen = {}
		local new = { "--nodes=1", "--port=" .. ports.take(ports.DEVNET) }
		for i, more in ipairs({ new, { "--keep" }, new }) do
			local code, output, errors = devnet("--once", table.unpack(more))
			assert.equal(0, code, errors)
			seen[i] = assert(fingerprints(output)[1], output)
		end
		assert.equal(seen[1], seen[2])
		assert.are_not.equal(seen[1], seen[3])
	end)

	-- A line in a shell, without what a sanitizer had loaded into this process.
	local function shell(line)
		local pipe = io.popen("unset LD_PRELOAD; " .. line .. " 2>&1")
		local output = pipe:read("a")
		return pipe:close() == true, output
	end

	test("gives lines to paste that do what they say", function()
		local running, output = start("--nodes", "2")
		local lines, what = {}, nil
		for line in output:gmatch("[^\n]+") do
			if what then lines[what] = line end
			what = line:match("^  # (.+)$")
		end
		local function paste(name)
			local ok, out = shell(assert(lines[name], name))
			assert.is_true(ok and out:find("status +1 %(success%)") ~= nil, out)
		end
		local function called(app)
			local line = output:match("\n  (%S+ call derive [^\n]+)"):gsub("demo%-1", app)
			return (shell(line))
		end
		local function becomes(app, served)
			wait.until_true(app .. " is served: " .. tostring(served), function() return called(app) == served end, SEEN_S)
		end
		-- How often nodes sent a hash to the chain: they do so within a tick, so a call may not see them without it.
		local function sent_hashes()
			local count = 0
			for i = 1, 2 do
				local log = files.read(("%s/net/nodes/%d/node.log"):format(dir, i))
				count = count + select(2, log:gsub('"setMasterSecretHash sent"', ""))
			end
			return count
		end
		assert.is_true(called("demo-1") and called("demo-2"))
		-- Each node's status page, and its audit log, which has the derivations.
		local pages = 0
		for port in output:gmatch("status page http://127%.0%.0%.1:(%d+)/ui") do
			assert.equal(200, http.get(tonumber(port), "/ui").status)
			pages = pages + 1
		end
		assert.equal(2, pages)
		local show, verify = output:match("\n  (%S+ audit show %S+)\n  (%S+ audit verify [^\n]+)\n")
		wait.until_true("the derivations", function()
			local _, log = shell(show)
			return select(2, log:gsub("derive", "")) >= 2, log
		end, SEEN_S)
		wait.until_true("a signature", function() return shell(verify) end, SEEN_S)
		local before = sent_hashes()
		paste("the hash of the master secret is reset; the nodes set it again")
		wait.until_true("a node to set the hash again", function() return sent_hashes() > before end, SEEN_S)
		becomes("demo-1", true)
		paste("demo-1 is no longer verified")
		paste("the instance of demo-2 is stopped")
		becomes("demo-1", false)
		becomes("demo-2", false)
		paste("demo-1 is verified again")
		becomes("demo-1", true)
		paste("the version of demo-1 is revoked")
		becomes("demo-1", false)
		assert.is_true((shell(output:match("\n  (kill %-9 %d+)\n"))))
		wait.until_true("the restart", function()
			return files.read(dir .. "/output"):find("ended by signal 9: it starts again", 1, true)
		end, SEEN_S)
		local code, _, errors = devnet("--once")
		assert.equal(1, code)
		assert.truthy(errors:find("a devnet runs in", 1, true), errors)
		assert.equal(0, finish(running, "sigint"))
		assert.is_false(is_left(output))
	end)

	test("gives a node back that was drained, on request, and says how", function()
		local running, output = start("--nodes", "2", "--no-demo")
		local drain, give_back = output:match("\n  (%S+ drain %-%-socket %S+)\n  (kill %-USR1 %d+)\n")
		local call = output:match("\n  (%S+ call derive [^\n]+)") -- asks the last node, the one to drain
		local port = tonumber(call:match("http://127%.0%.0%.1:(%d+)"))
		local first = output:match("\nnode 1 +http://127%.0%.0%.1:(%d+)")
		local ok, before = shell(call)
		assert.is_true(ok, before)
		ok, output = shell(drain)
		assert.is_true(ok, output)
		local how = wait.until_true("the devnet to say how", function()
			local said = files.read(dir .. "/output")
			return said:match("node 2 %(process %d+%) ended with status 0: it was drained, to give it back: ([^\n]+)\n"), said
		end, SEEN_S)
		assert.equal(give_back, how)
		-- It stays away, unlike a node that was killed, until it is asked for.
		assert.is_nil(http.connect(port))
		assert.is_nil(files.read(dir .. "/output"):find("it starts again", 1, true))
		assert.is_true((shell(give_back)))
		local after
		wait.until_true("node 2 to serve again", function()
			ok, after = shell(call)
			return ok, after
		end, TIMEOUT_MS / 1000)
		assert.equal(before, after)
		-- With nothing to give back, the request changes nothing.
		assert.is_true((shell(give_back)))
		assert.is_true((shell((call:gsub(":" .. port, ":" .. first)))))
		assert.is_true(running:alive())
		assert.equal(0, finish(running, "sigint"))
		assert.is_false(is_left("http://127.0.0.1:" .. port))
	end)

	test("leaves nothing behind when it is killed", function()
		local running, output = start("--nodes", "1", "--odyn", "--no-demo")
		assert.is_true(is_left(output))
		finish(running, "sigkill")
		wait.until_true("the end of its processes", function() return not is_left(output) end)
	end)

	test("takes no folder that has other things in it, and keeps nothing that is not there", function()
		local other = dir .. "/other"
		assert(uv.fs_mkdir(other, 448))
		files.write(other .. "/precious", "text")
		local code, _, errors = nodes.run({ "devnet", "--once", "--dir", other }, { env = ENV })
		assert.equal(1, code)
		assert.truthy(errors:find("contains other files", 1, true), errors)
		assert.equal("text", files.read(other .. "/precious"))
		code, _, errors = nodes.run({ "devnet", "--once", "--keep", "--dir", dir .. "/none" }, { env = ENV })
		assert.equal(1, code)
		assert.truthy(errors:find("no devnet in", 1, true), errors)
		assert.equal(2, (nodes.run({ "devnet", "--keep", "--nodes", "2" }, { env = ENV })))
	end)
end)
