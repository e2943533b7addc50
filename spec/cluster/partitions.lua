-- Tests of partition_spec.lua, which runs them in namespaces of their own.

local client = require("kms.client")
local clusters = require("spec.support.cluster")
local digests = require("kms.client.digests")
local fetch = require("kms.http.fetch")
local loop = require("kms.base.loop")
local native = require("kms_native")
local parallel = require("kms.async.parallel")
local separate = require("spec.support.separate")
local uv = require("luv")

local WAIT_S, POLL_MS, COUNT = 60, 50, 10
local WATCHED_S = 4 -- for how long a node is seen not to serve; more than LONELY_S
local LONELY_S = 1
-- Three intervals (spec/support/cluster.lua), and what a machine may take that does other things.
local SILENT_S, BUSY_S = 3, 24

describe("nodes in networks that are cut", function()
	local cluster, net, clients

	local function test(name, body)
		it(name, function()
			clusters.await(body)
			assert.same({}, cluster.ended)
		end)
	end

	setup(function()
		cluster = clusters.start({ prepare = separate.prepare, env = { LONELY_SECONDS = tostring(LONELY_S) } })
		net, clients = cluster.net, {}
		clusters.await(function()
			for i, node in ipairs(net.nodes) do
				clients[i] = assert(client.open({ url = node.url, seed = net.apps[1].seed, node_wallet = node.wallet,
					node_pubkey = native.hex_encode(node.tee_pubkey) }))
			end
		end)
	end)
	teardown(function()
		if cluster then cluster:stop() end
	end)

	local function wait_for(what, condition)
		local deadline = uv.hrtime() + WAIT_S * 1e9
		while true do
			local ok, last = condition()
			if ok then return end
			if uv.hrtime() > deadline then error(("waited %d s in vain for %s; last: %s"):format(WAIT_S, what, last), 2) end
			loop.sleep(POLL_MS)
		end
	end

	-- Writes on a node, and returns the stamp.
	local function write(index, kind, key)
		local result, message = clients[index]:call(kind, { key = key, value = kind == "put" and "of " .. index or nil })
		assert(result, message)
		return result.updated_at_ms
	end

	-- What a node has for a key: its stamp, "none", or why it does not say.
	local function stamp_of(index, key)
		local result, message, _, status = clients[index]:call("get", { key = key })
		return result and result.updated_at_ms or status == 404 and "none" or message
	end

	-- Waits until every node has these stamps ("none": deleted), and the same in all.
	local function wait_equal(expected)
		for key, stamp in pairs(expected) do
			for i in ipairs(clients) do
				wait_for(("%s on node %d"):format(key, i), function()
					local found = stamp_of(i, key)
					return found == stamp, ("%s instead of %s"):format(found, stamp)
				end)
			end
		end
		local urls = {}
		for i, node in ipairs(net.nodes) do urls[i] = node.url end
		local groups = assert(digests.compare({ urls = urls, timeout_ms = 5000, wait_s = WAIT_S }))
		assert.equal(1, #groups, digests.line(groups))
	end

	-- Puts COUNT values on nodes in turn, at the same time: one that is cut off waits for copies. Returns how many were
	-- acknowledged; throws where one of them must be and is not.
	local function put_all(expected, prefix, nodes, may_be_refused)
		local numbers, done, failure = {}, 0, nil
		for i = 1, COUNT do numbers[i] = i end
		parallel.map(numbers, COUNT, function(i)
			local ok, stamp = pcall(write, nodes[i % #nodes + 1], "put", prefix .. i)
			if ok then expected[prefix .. i], done = stamp, done + 1 else failure = failure or stamp end
		end)
		if failure and not may_be_refused then error(failure, 2) end
		return done
	end

	test("hold the same once they are joined again: writes and deletions of both sides", function()
		local expected = {}
		put_all(expected, "before ", { 1, 2, 3 })
		wait_equal(expected)
		separate.cut(net, 3)
		put_all(expected, "large side ", { 1, 2 })
		put_all(expected, "small side ", { 3 })
		for _, index in ipairs({ 1, 3 }) do expected.both = write(index, "put", "both") end
		write(2, "delete", "before 1")
		write(3, "delete", "before 2")
		expected["before 1"], expected["before 2"] = "none", "none"
		-- Nothing crossed the cut.
		assert.equal("none", stamp_of(3, "large side 1"))
		assert.equal("none", stamp_of(1, "small side 1"))
		separate.join(net)
		wait_equal(expected)
	end)

	test("are not served by a newcomer that is alone on its side, until it has what the others hold", function()
		local expected = {}
		put_all(expected, "held ", { 1, 2 })
		wait_equal(expected)
		separate.cut(net, 3)
		net.nodes[3].process:kill()
		assert(net.nodes[3]:start())
		local ends
		repeat
			local status
			wait_for("node 3 to answer", function()
				status = net.nodes[3]:status()
				return status
			end)
			ends = ends or uv.hrtime() + WATCHED_S * 1e9
			assert.is_false(status.node.service_available, "a newcomer serves from nothing")
			assert.is_false(status.node.store_complete)
			loop.sleep(POLL_MS)
		until uv.hrtime() > ends
		expected.meanwhile = write(1, "put", "meanwhile")
		separate.join(net)
		wait_for("node 3 to serve", function() return net.nodes[3]:ready() end)
		-- At the first moment.
		for key, stamp in pairs(expected) do assert.equal(stamp, stamp_of(3, key), key) end
		wait_equal(expected)
	end)

	-- What a node says of another one in GET /status and GET /nodes, and that in one text.
	local function states(index, other)
		local wallet = net.nodes[other].wallet
		local status, message = net.nodes[index]:status()
		local response = fetch.json({ url = net.nodes[index].url .. "/nodes", timeout_ms = 2000 })
		if not status or not response then return nil, nil, tostring(message) end
		local here, there = status.sync.peers[wallet].state, nil
		for _, row in ipairs(response.value.operators) do
			if row.operator == wallet then there = row.connection.cached_status end
		end
		return here, there, ("%s and %s"):format(here, there)
	end

	local function wait_shown(index, other, expected)
		wait_for(("node %d to be %s for node %d"):format(other, expected, index), function()
			local status, nodes, both = states(index, other)
			return status == expected and nodes == expected, both
		end)
	end

	local function wait_all_ok()
		for index = 1, 3 do
			for other = 1, 3 do
				if index ~= other then wait_shown(index, other, "ok") end
			end
		end
	end

	-- Whether members have opened sessions with a node.
	local function has_sessions(node)
		local response = fetch.request({ url = node.metrics_url, timeout_ms = 2000 })
		local count = response and response.body:match('\nkms_sessions{kind="peer"} (%d+)')
		return count and tonumber(count) > 0, count
	end

	test("tell what they reach, and lose nothing, while one cannot call another that calls it", function()
		local expected = {}
		wait_all_ok()
		for index, node in ipairs(net.nodes) do
			wait_for("sessions on node " .. index, function() return has_sessions(node) end)
		end
		separate.cut_calls(2, 1)
		local begun = uv.hrtime()
		wait_for("node 1 not to be ok for node 2", function()
			local status, nodes, both = states(2, 1)
			return status and status ~= "ok" and nodes ~= "ok", both
		end)
		assert.is_true((uv.hrtime() - begun) / 1e9 < SILENT_S + BUSY_S, "later than three intervals")
		wait_shown(2, 1, "unreachable")
		put_all(expected, "one way ", { 1, 2 })
		expected["one way back"] = write(2, "put", "one way back")
		-- Node 1 goes on calling node 2, which shows nothing of the other way.
		local ends = uv.hrtime() + WATCHED_S * 1e9
		while uv.hrtime() < ends do
			local status, nodes, both
			wait_for("node 2 to answer", function()
				status, nodes, both = states(2, 1)
				return status, both
			end)
			assert.same({ "unreachable", "unreachable" }, { status, nodes }, both)
			loop.sleep(POLL_MS)
		end
		for _, way in ipairs({ { 1, 2 }, { 1, 3 }, { 2, 3 }, { 3, 1 }, { 3, 2 } }) do wait_shown(way[1], way[2], "ok") end
		wait_equal(expected)
		wait_shown(2, 1, "unreachable")
		separate.join(net)
		wait_all_ok()
		expected["one way 1"] = write(1, "put", "one way 1")
		wait_equal(expected)
	end)

	test("lose nothing that was acknowledged on a side without the chain", function()
		local expected = {}
		separate.cut(net, 3)
		separate.cut_chain(3)
		-- As long as node 3 may rely on what it has read of the chain.
		assert.is_true(put_all(expected, "without ", { 3 }, true) > 0, "no write was acknowledged without the chain")
		put_all(expected, "with ", { 1, 2 })
		separate.join(net)
		wait_for("node 3 to serve", function() return net.nodes[3]:ready() end)
		wait_equal(expected)
	end)
end)
