-- Members of an idle cluster: what they send each other, and that one that stops answering shows on the others.

local cjson = require("cjson")
local clusters = require("spec.support.cluster")
local http = require("spec.support.http")
local ports = require("spec.support.ports")
local uv = require("luv")
local wait = require("spec.support.wait")

local INTERVAL_S = 2
local BUSY_S = 24 -- for a machine that does other things
local COMPARISONS, PAIRS = 20, 3 -- of all nodes
-- Intervals: counters are read one after the other, and a late tick may bring one needless message.
local SLACK = 3

describe("an idle cluster", function()
	local cluster, metrics

	setup(function()
		if clusters.missing() then return end
		metrics = ports.take(3)
		cluster = clusters.start({
			env = { DATA_SYNC_INTERVAL_SECONDS = tostring(INTERVAL_S) },
			prepare = function(net)
				for i, node in ipairs(net.nodes) do
					local settings = { METRICS_ADDR = "127.0.0.1:" .. metrics + i - 1 }
					for name, value in pairs(node.settings) do settings[name] = value end
					node.settings = settings
				end
			end,
		})
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

	local function all_are(index, other, state)
		local found = states(index, other)
		return found.status == state and found.peers == state and found.nodes == state
	end

	local function all_ok(index, other) return all_are(index, other, "ok") end

	local function none_ok(index, other)
		local found = states(index, other)
		return found.status ~= "ok" and found.peers ~= "ok" and found.nodes ~= "ok", found.status
	end

	-- The sum of a counter over its labels, on a node.
	local function count(index, name)
		local sum = 0
		for value in assert(http.get(metrics + index - 1, "/metrics")).body:gmatch("\n" .. name .. "{[^}]*} (%d+)") do
			sum = sum + tonumber(value)
		end
		return sum
	end

	-- The sum of a counter over its labels, on all nodes.
	local function total(name) return count(1, name) + count(2, name) + count(3, name) end

	local function await_all_ok()
		for i = 1, 3 do
			wait.until_true("ok on node " .. i, function() return all_ok(i, i % 3 + 1) and all_ok(i, (i + 1) % 3 + 1) end)
		end
	end

	-- A pair that is due together with another one gets a contact in place of a comparison. It would be two messages an
	-- interval if both called at each; by spec/sync/idle_spec.lua it is 0.7.
	test("of three compares its members, by at most one message of a pair an interval, and all are ok", function()
		await_all_ok()
		local begun = uv.hrtime()
		local messages, comparisons = total("kms_sync_messages_total"), total("kms_repair_exchanges_total")
		wait.until_true("comparisons", function()
			local now = total("kms_repair_exchanges_total") - comparisons
			return now >= COMPARISONS, now
		end)
		messages = total("kms_sync_messages_total") - messages
		local intervals = (uv.hrtime() - begun) / 1e9 / INTERVAL_S
		assert.is_true(messages <= PAIRS * (intervals + SLACK), ("%d messages, %.1f intervals"):format(messages, intervals))
		await_all_ok()
	end)

	test("shows within three sync intervals that a member does not answer, and when it does again", function()
		for i = 1, 2 do wait.until_true("ok on node " .. i, function() return all_ok(i, 3) end) end
		local pid = cluster:node(3).process.pid
		assert.equal(0, uv.kill(pid, "sigstop"))
		finally(function() uv.kill(pid, "sigcont") end)
		local begun = uv.hrtime()
		for i = 1, 2 do wait.until_true("not ok on node " .. i, function() return none_ok(i, 3) end) end
		assert.is_true((uv.hrtime() - begun) / 1e9 < 3 * INTERVAL_S + BUSY_S, "later than three intervals")
		-- Once the call that hangs has reached its deadline.
		for i = 1, 2 do wait.until_true("unreachable on node " .. i, function() return all_are(i, 3, "unreachable") end) end
		wait.until_true("the others to be ok", function() return all_ok(1, 2) and all_ok(2, 1) end)
		uv.kill(pid, "sigcont")
		for i = 1, 2 do wait.until_true("ok again on node " .. i, function() return all_ok(i, 3) end) end
		assert.equal(0, cluster:status(1).sync.sequence) -- nothing was written
	end)
end)
