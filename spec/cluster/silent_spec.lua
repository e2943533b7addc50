-- A member that stops answering shows on the others, though nothing is written.

local cjson = require("cjson")
local clusters = require("spec.support.cluster")
local http = require("spec.support.http")
local uv = require("luv")
local wait = require("spec.support.wait")

local INTERVAL_S = 2
local BUSY_S = 24 -- for a machine that does other things

describe("an idle cluster", function()
	local cluster

	setup(function()
		if not clusters.missing() then
			cluster = clusters.start({ env = { DATA_SYNC_INTERVAL_SECONDS = tostring(INTERVAL_S) } })
		end
	end)
	teardown(function()
		if cluster then cluster:stop() end
	end)

	local test = clusters.test(it, pending, function() return cluster end)

	-- What a node says of another member: in /status, in `nova-kms peers`, in /nodes.
	local function states(index, other)
		local wallet, node = cluster:node(other).wallet, cluster:node(index)
		local found = { status = cluster:status(index).sync.peers[wallet].state }
		local page = assert(http.request(node.dir .. "/control.sock", { method = "GET", target = "/peers" }))
		for _, peer in ipairs(cjson.decode(page.body).peers) do
			if peer.wallet == wallet then found.peers = peer.state end
		end
		for _, row in ipairs(cjson.decode(assert(http.get(node.port, "/nodes")).body).operators) do
			if row.operator == wallet then found.nodes = row.connection.cached_status end
		end
		return found
	end

	local function all_ok(index, other)
		local found = states(index, other)
		return found.status == "ok" and found.peers == "ok" and found.nodes == "ok"
	end

	local function none_ok(index, other)
		local found = states(index, other)
		return found.status ~= "ok" and found.peers ~= "ok" and found.nodes ~= "ok", found.status
	end

	test("shows within three sync intervals that a member does not answer, and when it does again", function()
		for i = 1, 2 do wait.until_true("ok on node " .. i, function() return all_ok(i, 3) end) end
		local pid = cluster:node(3).process.pid
		assert.equal(0, uv.kill(pid, "sigstop"))
		finally(function() uv.kill(pid, "sigcont") end)
		local begun = uv.hrtime()
		for i = 1, 2 do wait.until_true("not ok on node " .. i, function() return none_ok(i, 3) end) end
		assert.is_true((uv.hrtime() - begun) / 1e9 < 3 * INTERVAL_S + BUSY_S, "later than three intervals")
		wait.until_true("the others to be ok", function() return all_ok(1, 2) and all_ok(2, 1) end)
		uv.kill(pid, "sigcont")
		for i = 1, 2 do wait.until_true("ok again on node " .. i, function() return all_ok(i, 3) end) end
		assert.equal(0, cluster:status(1).sync.sequence) -- nothing was written
	end)
end)
