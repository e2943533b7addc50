-- A newcomer joins while applications write. `make bench-cluster` does the same with larger stores, and takes times.

local clusters = require("spec.support.cluster")
local join = require("spec.bench.cluster.join")
local lag = require("spec.bench.cluster.lag")

local NAME = "load"
local RECORDS, BYTES = 96, 65536 -- several pages
local RATE = 200

describe("a cluster under writes", function()
	local cluster, clients

	setup(function()
		if clusters.missing() then return end
		cluster = clusters.start({ env = {
			MAX_APP_STORAGE_BYTES = tostring(64 << 20), APP_RATE_LIMIT_PER_MINUTE = "0",
		} })
		clients = cluster:register(NAME)
	end)
	teardown(function()
		if cluster then cluster:stop() end
	end)

	local test = clusters.test(it, pending, function() return cluster end)

	test("shows each write on all nodes", function()
		local found = lag.measure(clients, NAME, RATE, 1)
		assert.is_true(found.probes > 0 and found.rate > 0)
	end)

	test("takes a newcomer in, which never denies a record that was acknowledged before it was started", function()
		join.leave_one(cluster)
		join.fill(clients, NAME, { prefix = "filled/", count = RECORDS, bytes = BYTES })
		join.bring_second(cluster)
		local found = join.measure(cluster, clients, NAME, RATE)
		assert.is_true(found.written > 0)
		assert.same({}, found.denied)
		for i = 1, RECORDS do assert.equal(BYTES, #(clients[3]:value("filled/" .. i) or "")) end
	end)
end)
