-- `make cluster`: a table of what nodes hold while they are killed, restarted and stopped, and a failure where one of
-- them lacks what was written.

local clusters = require("spec.support.cluster")
local drill = require("devnet.drill")
local files = require("spec.support.files")
local nodes = require("spec.support.node")
local ports = require("spec.support.ports")

describe("make cluster", function()
	local test = clusters.test(it, pending)

	-- What a node held in each row of the table: numbers, or "down".
	local function column(output, index)
		local list = {}
		for line in output:gmatch("\n *%d+%.%d s  ([^\n]+)") do
			local cells = {}
			for cell in line:gmatch("%S+") do cells[#cells + 1] = cell end
			list[#list + 1] = cells[index]
		end
		return list
	end

	test("shows that no node lacks a value after a kill, a restart and a stop, and ends", function()
		local dir = files.temp_dir()
		finally(function() files.remove_dir(dir) end)
		local port = tostring(ports.take(ports.DEVNET))
		local code, output, errors = nodes.run({ "devnet", "--drill", "--port", port, "--dir", dir .. "/net" }, {
			env = { PATH = os.getenv("PATH"), HOME = os.getenv("HOME") or "/", ASAN_OPTIONS = os.getenv("ASAN_OPTIONS") },
		})
		assert.equal(0, code, output .. errors)
		assert.same({ "0", "30", "31", "45", "45", "down", "55" }, column(output, 1))
		assert.same({ "0", "30", "31", "45", "45", "55", "55" }, column(output, 2))
		assert.same({ "0", "30", "down", "down", "45", "55", "55" }, column(output, 3))
		assert.truthy(output:find("\nall 3 nodes hold the same\n", 1, true), output)
	end)

	test("names what a node lacks, and fails", function()
		local cluster = clusters.start({})
		finally(function() cluster:stop() end)
		-- From its restart on, this one keeps no value of the drill's length.
		local node = cluster:node(3)
		local settings = { MAX_KV_VALUE_SIZE_BYTES = "8" }
		for name, value in pairs(node.settings) do settings[name] = settings[name] or value end
		node.settings = settings
		local written = {}
		local out = { flush = function() end }
		function out:write(...)
			written[#written + 1] = table.concat({ ... })
			return self
		end
		local ok, message
		clusters.await(function() ok, message = drill.run(cluster.net, { stdout = out, program = "" }) end)
		assert.is_nil(ok)
		assert.truthy(message:find("\n  node 3: drill/01 is missing: HTTP 404", 1, true), message)
		assert.truthy(message:find("\n  node 3: 40 more like these", 1, true), message)
		assert.is_nil(message:find("node 2", 1, true), message)
		assert.equal("!", column(table.concat(written), 3)[5])
	end)

	it("is refused with fewer nodes than it needs", function()
		local code, _, errors = nodes.run({ "devnet", "--drill", "--nodes", "2" })
		assert.equal(2, code)
		assert.truthy(errors:find("--drill takes at least 3 nodes", 1, true), errors)
	end)
end)
