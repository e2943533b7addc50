--- What the application routes make of a request's URL, without a node around them.

local app_routes = require("kms.routes.app")
local loop = require("kms.base.loop")
local native = require("spec.support.native")
local uv = require("luv")
local wakeup = require("kms.async.wakeup")

local caller = { wallet = "0x" .. ("1"):rep(40), signature = "0x", app_id = "7", point = ("p"):rep(97) }

local function route(name, prefix)
	for _, candidate in ipairs(app_routes.routes()) do
		if candidate.name == name and candidate.prefix == prefix then return candidate end
	end
end

-- A node that notes what was asked of its service, which refuses to carry it out.
local function new_node()
	local node = {
		asked = {}, config = {}, readiness = { ready = true }, log = { enabled = function() return false end },
	}
	function node.mono_ms() return 0 end
	function node.wall_ms() return 0 end
	node.auth = { app = function() return caller end }
	node.nonces = native.nonces(120)
	node.tee = { has_channel = function() return true end }
	node.service = {
		request = function(_, kind, key)
			node.asked[#node.asked + 1] = { kind, key }
			return nil, "no such record", "ERR_NOT_FOUND"
		end,
	}
	node.operator = { request = function() end, opened = function() end }
	app_routes.setup(node)
	return node
end

local function get(rest, query)
	local node, found = new_node(), route("get", rest and "/kms/data/" or nil)
	local reply = found.handler(node, { query = query }, found, rest)
	return reply.status, node.asked[1]
end

describe("routes.app", function()
	it("decodes the key behind /kms/data/", function()
		for raw, key in pairs({ ["a"] = "a", ["a/b"] = "a/b", ["a%2Fb"] = "a/b", ["a+b"] = "a+b", ["%C3%A9"] = "é" }) do
			local status, asked = get(raw)
			assert.equal(404, status, raw)
			assert.same({ "get", key }, asked, raw)
		end
	end)

	it("takes ?key=, and lists without one", function()
		assert.same({ "get", "a b" }, select(2, get(nil, "key=a+b")))
		assert.same({ "list" }, select(2, get(nil, "other=1")))
		assert.same({ "list" }, select(2, get(nil, nil)))
	end)

	it("refuses a key that is given twice or badly encoded, before anything is asked", function()
		for _, query in ipairs({ "key=a&key=b", "key=%zz" }) do
			local status, asked = get(nil, query)
			assert.equal(400, status, query)
			assert.is_nil(asked, query)
		end
	end)

	it("lists for an application once at a time, and goes on after one that failed", function()
		local node, found = new_node(), route("get", nil)
		local running, most, done = {}, 0, 0
		node.service.request = function() return { close = function() end, path = function() end, key = function() end } end
		node.tee.answer = function()
			local waiter = wakeup.new()
			running[#running + 1] = waiter
			most = math.max(most, #running)
			waiter:wait()
			if done == 0 then error("no memory") end
			return "{}", "0x"
		end
		for _ = 1, 3 do
			loop.spawn(function()
				pcall(found.handler, node, {}, found, nil)
				done = done + 1
			end)
		end
		while done < 3 do
			table.remove(running):wake()
			uv.run("nowait")
			uv.run("nowait")
		end
		assert.equal(1, most)
		assert.same({}, node.listings.queues)
	end)

	it("refuses listings beyond those that may wait", function()
		local node, found = new_node(), route("get", nil)
		node.listings.lock = function() return false end
		node.service.request = function() return { close = function() end, path = function() end, key = function() end } end
		assert.equal(429, found.handler(node, {}, found, nil).status)
	end)
end)
