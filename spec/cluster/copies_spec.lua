-- A write that was answered with two copies or more survives the crash of the node that answered. Ticks of the pusher
-- are too far apart to help.

local clusters = require("spec.support.cluster")
local expect = require("spec.support.expect")
local sessions = require("spec.support.session_client")

local OURS = { more = { op = "put" } }
local WAIT_MS = "60000" -- for copies: more than a busy machine takes
local REFUSED_MS = "5000" -- the same, where a write is to be refused

describe("a write of a cluster", function()
	local cluster, clients

	local function start(env)
		env.DATA_SYNC_INTERVAL_SECONDS = "3600"
		cluster = clusters.start({ env = env })
		clients = cluster:register("copies")
	end

	after_each(function()
		if cluster then cluster:stop() end
		cluster = nil
	end)

	local test = clusters.test(it, pending, function() return cluster end)

	-- A value that was put after all nodes have heard of each other.
	local function put(key)
		return expect.ok(clients[1]:put(key, "kept", OURS)).inner.copies
	end

	test("says how many nodes hold it, and is there after a crash of the one that answered, 4 of 4", function()
		start({ WRITE_WAIT_MS = WAIT_MS })
		for round = 1, 4 do
			local key = "round " .. round
			expect.ok(clients[1]:put("first", "value"))
			clusters.on_every_node("first", clients, function(c) return c:value("first") == "value" end)
			local copies = put(key)
			cluster:kill(1)
			assert.is_true(copies == 2 or copies == 3, "copies: " .. tostring(copies))
			local held = 1
			for i = 2, 3 do
				if clients[i]:value(key) == "kept" then held = held + 1 end
			end
			assert.is_true(held >= copies, ("%d nodes hold what %d were said to"):format(held, copies))
			cluster:revive(1)
			cluster:wait_ready()
		end
	end)

	test("waits for all nodes where all are wanted, many writes at once", function()
		start({ WRITE_COPIES = "3", WRITE_WAIT_MS = WAIT_MS })
		for i = 1, 200 do assert.equal(3, put("key " .. i)) end
		for i = 1, 200 do
			for _, client in ipairs(clients) do assert.equal("kept", client:value("key " .. i)) end
		end
	end)

	test("in a message of a session is held by all nodes that are wanted when the answer comes, and says so", function()
		start({ WRITE_COPIES = "3", WRITE_WAIT_MS = WAIT_MS })
		expect.ok(clients[1]:put("first", "value"))
		clusters.on_every_node("first", clients, function(c) return c:value("first") == "value" end)
		local session, operations = sessions.open(clients[1]), {}
		for i = 1, 100 do operations[i] = { op = "put", key = "message " .. i, value = "a2VwdA==" } end
		operations[101], operations[102] = { op = "delete", key = "first" }, { op = "get", key = "message 100" }
		local answers = session:call(operations)
		for i = 1, 101 do assert.same({ 200, 3 }, { answers[i].status, answers[i].copies }) end
		assert.same({ 200, nil }, { answers[102].status, answers[102].copies })
		for _, client in ipairs(clients) do
			for i = 1, 100, 9 do assert.equal("kept", client:value("message " .. i)) end
			assert.is_nil(client:value("first"))
		end
	end)

	test("does not say so to a client that does not name its operation", function()
		start({})
		assert.is_nil(expect.ok(clients[1]:put("key", "value")).inner.copies)
	end)

	test("is refused when too few nodes hold it, and stands on the node that was asked", function()
		start({ WRITE_STRICT = "true", WRITE_WAIT_MS = REFUSED_MS })
		clusters.write(clients[1], "first", "value") -- until then they may not have heard of each other
		assert.is_true(put("before") >= 2)
		cluster:kill(2, 3)
		expect.refused(clients[1]:put("alone", "kept", OURS), 503, "service_unavailable", "not_replicated")
		assert.equal("kept", clients[1]:value("alone"))
		local session = sessions.open(clients[1])
		local answers = session:call({ { op = "put", key = "alone", value = "c3Rvb2Q=" }, { op = "get", key = "alone" } })
		assert.same({ 503, "service_unavailable" }, { answers[1].status, answers[1].code })
		assert.same({ 200, "c3Rvb2Q=" }, { answers[2].status, answers[2].value })
		cluster:revive(2, 3)
		cluster:wait_ready()
		clusters.write(clients[1], "second", "value")
		assert.is_true(put("after") >= 2)
	end)
end)
