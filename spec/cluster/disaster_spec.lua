-- `make drill`: a table of what nodes hold before all of them are lost and after custodians brought them back, and a
-- failure where a key differs or a value is missing.

local clusters = require("spec.support.cluster")
local disaster = require("devnet.disaster")
local files = require("spec.support.files")
local load = require("devnet.load")
local loss = require("devnet.loss")
local nodes = require("spec.support.node")
local ports = require("spec.support.ports")
local s3 = require("devnet.s3")
local uv = require("luv")

local ENV = { PATH = os.getenv("PATH"), HOME = os.getenv("HOME") or "/", ASAN_OPTIONS = os.getenv("ASAN_OPTIONS") }
local LIMIT_S = 660 -- more than the disaster gives itself

describe("make drill", function()
	local dir

	before_each(function() dir = files.temp_dir() end)
	after_each(function() files.remove_dir(dir) end)

	local test = clusters.test(it, pending)

	local function run(...)
		local code, out, err = nodes.run({ "devnet", "--disaster", "--dir", dir .. "/net", "--port",
			tostring(ports.take(ports.DEVNET)), ... }, { env = ENV, timeout_s = LIMIT_S })
		return code, out .. err
	end

	-- Checks what a run of these numbers printed.
	local function assert_whole(output, count)
		local before = tonumber(output:match("the last snapshot: (%d+) values were acknowledged before it began"))
		assert.is_true(before >= 200, output)
		for i = 1, count do
			assert.truthy(output:find(("node %d derives 20 of 20 bit by bit as before"):format(i), 1, true), output)
			assert.truthy(output:find(("node %d has %d of the %d that"):format(i, before, before), 1, true), output)
		end
		local down = "\n *[%d.]+ s" .. ("    down"):rep(count)
		assert.truthy(output:find(down .. "   all nodes were killed %(SIGKILL%)"), output)
		assert.truthy(output:find(("\nall %d nodes hold the same\n"):format(count), 1, true), output)
	end

	test("shows that nothing of the last snapshot is lost, with snapshots in a folder", function()
		local code, output = run("--nodes=2", "--custodians=2")
		assert.equal(0, code, output)
		assert_whole(output, 2)
		assert.truthy(output:find("alice gave node 1 their shares: 1 of the 2 that it needs", 1, true), output)
	end)

	test("shows the same of nodes whose keys are in TEE services, which are lost, too", function()
		local code, output = run("--nodes=2", "--odyn")
		assert.equal(0, code, output)
		assert_whole(output, 2)
	end)

	test("shows the same of three nodes and five custodians, with snapshots in a bucket", function()
		if not s3.available(".") then return pending("s3rver is not installed: make drill") end
		local code, output = run("--s3")
		assert.equal(0, code, output)
		assert_whole(output, 3)
		assert.truthy(output:find("alice, bob gave node 1 their shares: 2 of the 3 that it needs", 1, true), output)
	end)

	test("names the values that are lost, and fails", function()
		local cluster = clusters.start({ env = disaster.SETTINGS, custodians = { count = 3, threshold = 2 } })
		local strike = loss.strike
		finally(function()
			loss.strike = strike
			cluster:stop()
		end)
		-- The storage goes with the nodes.
		loss.strike = function(net)
			strike(net)
			files.remove_dir(net.custodians.snapshots)
			assert(uv.fs_mkdir(net.custodians.snapshots, 448))
		end
		local written = {}
		local out = { flush = function() end }
		function out:write(...)
			written[#written + 1] = table.concat({ ... })
			return self
		end
		local ok, message
		clusters.await(function() ok, message = disaster.run(cluster.net, { stdout = out, program = "" }) end)
		assert.is_nil(ok)
		assert.truthy(message:find("\n  node 1: drill/%d+ is missing: HTTP 404"), message)
		local output = table.concat(written)
		assert.truthy(output:find("node 3 derives 20 of 20 bit by bit as before", 1, true), output)
		assert.truthy(output:find("node 2 has 0 of the ", 1, true), output)
	end)

	it("counts keys that differ in one bit, or are missing", function()
		local made = load.new({}, dir)
		for _, name in ipairs({ "before", "after" }) do
			assert(uv.fs_mkdir(dir .. "/" .. name, 448))
			for i = 1, 3 do files.write(("%s/%s/key-%d"):format(dir, name, i), ("k"):rep(32)) end
		end
		local function different()
			local count
			clusters.await(function() count = made:different_keys("before", "after") end)
			return count
		end
		assert.equal(0, different())
		files.write(dir .. "/after/key-2", ("k"):rep(31) .. "j")
		assert.equal(1, different())
		os.remove(dir .. "/after/key-3")
		assert.equal(2, different())
	end)

	it("is refused with fewer nodes than it needs", function()
		local code, text = run("--nodes=1")
		assert.equal(2, code)
		assert.truthy(text:find("--disaster takes at least 2 nodes", 1, true), text)
	end)
end)
