-- A rolling upgrade: the nodes of an earlier version become nodes of this one, one after the other, while applications
-- write. `make test-upgrade` builds the earlier version and runs this; otherwise there is nothing here.

local clusters = require("spec.support.cluster")
local digests = require("kms.client.digests")
local steady_load = require("spec.support.steady_load")

local tree = os.getenv("KMS_UPGRADE_FROM")
if not tree then return end
local EARLIER = { program = tree .. "/build/nova-kms", policies = tree .. "/config/policy" }

local STOP_MS, READY_MS, MISSING_S = 60000, 120000, 60
local WRITES = 20 -- to each node between two steps

describe("a rolling upgrade", function()
	local cluster

	teardown(function()
		if cluster then cluster:stop() end
	end)

	local test = clusters.test(it, pending, function() return cluster end)

	local function restart(load, index)
		cluster:node(index).process:stop(STOP_MS)
		assert(cluster:node(index):start())
		cluster.net:wait_ready(READY_MS)
		load:resume(index)
		for i = 1, 3 do load:wait_writes(i, WRITES) end
	end

	-- The earlier version loses what it has acknowledged and not pushed yet when it is stopped, so its node gets no writes
	-- before. A node of this version is then stopped under them.
	local function replace(load, index)
		load:pause(index)
		cluster:set_version(index)
		restart(load, index)
		restart(load, index)
	end

	test("loses no acknowledged write, and leaves all nodes with the same records", function()
		cluster = clusters.start({ odyn = true, earlier = { EARLIER, EARLIER, EARLIER } })
		local load, missing, same = nil, {}, nil
		clusters.await(function()
			load = steady_load.start(cluster.net)
			for i = 1, 3 do load:wait_writes(i, WRITES) end
			for i = 1, 3 do replace(load, i) end
			load:stop()
			local urls = {}
			for i = 1, 3 do
				missing[i], urls[i] = load:missing(i, MISSING_S), cluster:node(i).url
			end
			same = assert(digests.compare({ urls = urls, timeout_ms = 10000, wait_s = 60 }))
		end)
		assert.same({ {}, {}, {} }, missing)
		assert.equal(1, #same, digests.line(same))
		assert.is_true(#load.entries >= 21 * WRITES, "acknowledged: " .. #load.entries)
		for i = 1, 3 do assert.truthy(cluster:status(i).node.store_complete) end
	end)
end)
