-- `nova-kms top`: the state of a node in a terminal, again and again.

local apps = require("spec.support.app")
local cjson = require("cjson")
local expect = require("spec.support.expect")
local files = require("spec.support.files")
local nodes = require("spec.support.node")
local peers = require("spec.support.peer")
local wait = require("spec.support.wait")

describe("nova-kms top", function()
	local node

	setup(function()
		node = nodes.start({ env = { MASTER_SECRET_HEX = ("2a"):rep(32), WRITE_COPIES = "1" } })
		local app = apps.new(node, "820", "top app")
		node:register({ app, peers.new(node, "top peer") })
		wait.until_true("two members", function() return node:status().cluster.total_instances == 2 end)
		expect.ok(app:put("key", "value"))
	end)
	teardown(function() node:stop() end)

	local function top(...)
		return nodes.run({ "top", "--socket", node.dir .. "/control.sock", ... }, { env = {} })
	end

	it("shows what the node says, as often as it is told to, without control codes where there is no terminal", function()
		local code, out, err = top("--count", "2", "--interval", "1")
		assert.equal(0, code, err)
		local _, reports = out:gsub("\nservice   serves applications\n", "")
		assert.equal(2, reports)
		assert.truthy(out:find("requests since the start", 1, true), out)
		assert.truthy(out:find("requests/s", 1, true), out)
		assert.truthy(out:find("store     1 record,", 1, true), out)
		assert.truthy(out:find("secret    generated; no custodians", 1, true), out)
		assert.truthy(out:find(node.wallet .. "  this node", 1, true), out)
		assert.is_nil(out:find("\27", 1, true))
	end)

	it("prints a line of JSON a report with --json", function()
		local code, out = top("--count", "2", "--interval", "1", "--json")
		assert.equal(0, code)
		local lines = 0
		for line in out:gmatch("[^\n]+") do
			assert.equal(node.wallet, cjson.decode(line).status.node.tee_wallet)
			lines = lines + 1
		end
		assert.equal(2, lines)
	end)

	it("names the limits of its options", function()
		for option, range in pairs({ interval = "1 to 3600", count = "1 to 1000000" }) do
			local code, _, err = top("--" .. option, "0")
			assert.equal(2, code)
			assert.truthy(err:find(("--%s: '0' is not a whole number from %s"):format(option, range), 1, true), err)
		end
	end)

	it("ends where the node is gone, and says so", function()
		local dir = files.temp_dir()
		finally(function() files.remove_dir(dir) end)
		local other = nodes.start({ env = { CONTROL_SOCKET = dir .. "/sock" } })
		other:stop()
		local code, out, err = nodes.run({ "top", "--socket", dir .. "/sock" }, { env = {} })
		assert.equal("", out)
		assert.is_true(code ~= 0)
		assert.truthy(err:find("no node answers on", 1, true), err)
	end)
end)
