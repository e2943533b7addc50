--- What the application routes make of a request's URL, without a node around them.

require("spec.support.native")

local app_routes = require("kms.routes.app")
local loop = require("kms.base.loop")
local operations = require("kms.routes.operations")
local uv = require("luv")
local wakeup = require("kms.async.wakeup")

local caller = { wallet = "0x" .. ("1"):rep(40), signature = "0x", app_id = "7", point = ("p"):rep(97) }

local function new_inbound(rest, query, found)
	return { request = { query = query }, rest = rest, route = found, announces_too_much = function() return false end }
end

-- The part, and a list of what it asks of its service, which refuses to execute anything.
-- @param service, tee  used instead, or nil
local function new_app(service, tee)
	local asked = {}
	tee = tee or { has_channel = function() return true end }
	service = service or {
		request = function(_, operation, key)
			asked[#asked + 1] = { operation, key }
			return nil, "no such record", "ERR_NOT_FOUND"
		end,
	}
	local config = { MAX_NAMESPACES = 1, REQUIRE_POP = false, REQUIRE_SESSION = false, WRITE_COPIES = 1 }
	local app = app_routes.new({
		service = service, tee = tee, config = config, authenticator = { app = function() return caller end },
		nonces = { add_to = function(_, reply) return reply end },
		mono_ms = function() return 0 end, wall_ms = function() return 0 end,
		operations = operations.new({
			service = service, tee = tee, config = config, copies = {}, on_change = function() end,
			gateway = { request = function() end, opened = function() end },
			readiness = { ready = true, writes_wait = function() end }, log = { enabled = function() return false end },
			refuse_value = function() end, clock_check = {}, audit = require("spec.support.audit").new(),
		}),
	})
	return app, asked
end

local function route(app, name, prefix)
	for _, candidate in ipairs(app:routes()) do
		if candidate.name == name and candidate.prefix == prefix then return candidate end
	end
end

local function get(rest, query)
	local app, asked = new_app()
	local found = route(app, "get", rest and "/kms/data/" or nil)
	return found.handler(new_inbound(rest, query, found)).status, asked[1]
end

local OPENED = { close = function() end, path = function() end, key = function() end }
local OPENS = { request = function() return OPENED end }

describe("kms.routes.app", function()
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

	it("lists the page that the URL names", function()
		assert.same({ "list", { prefix = "a/b c" } }, select(2, get(nil, "prefix=a%2Fb+c")))
		assert.same({ "list", { prefix = "", after = "k", limit = 10000 } },
			select(2, get(nil, "limit=10000&after=k&prefix=")))
		assert.same({ "get", "x" }, select(2, get(nil, "key=x&limit=0")))
		for _, query in ipairs({
			"limit=0", "limit=10001", "limit=", "limit=1.5", "limit=0x1", "after=%zz", "prefix=a&prefix=b",
		}) do
			local status, asked = get(nil, query)
			assert.equal(400, status, query)
			assert.is_nil(asked, query)
		end
	end)

	it("refuses a key that is given twice or badly encoded, before anything is asked", function()
		for _, query in ipairs({ "key=a&key=b", "key=%zz" }) do
			local status, asked = get(nil, query)
			assert.equal(400, status, query)
			assert.is_nil(asked, query)
		end
	end)

	it("lists for an application once at a time, and goes on after one that failed", function()
		local running, most, done = {}, 0, 0
		local function execute()
			local waiter = wakeup.new()
			running[#running + 1] = waiter
			most = math.max(most, #running)
			waiter:wait()
			if done == 0 then error("no memory") end
			return "{}", "0x"
		end
		local app = new_app(OPENS, { has_channel = function() return true end, execute = execute })
		local found = route(app, "get", nil)
		for _ = 1, 3 do
			loop.spawn(function()
				pcall(found.handler, new_inbound(nil, nil, found))
				done = done + 1
			end)
		end
		while done < 3 do
			table.remove(running):wake()
			uv.run("nowait")
			uv.run("nowait")
		end
		assert.equal(1, most)
		assert.same({}, app.operations.listings.queues)
	end)

	it("refuses listings beyond those that may wait", function()
		local app = new_app(OPENS)
		local found = route(app, "get", nil)
		app.operations.listings.lock = function() return false end
		assert.equal(429, found.handler(new_inbound(nil, nil, found)).status)
	end)

	it("refuses a PUT that members cannot take with 413, before it is executed", function()
		local put = {
			close = function() end, path = function() end, key = function() return "k" end,
			has_pop = function() return false end,
		}
		local executed, required = false, nil
		local app = new_app(nil, {
			has_channel = function() return true end,
			open_request = function(_, _, _, _, _, pop_required)
				required = pop_required
				return put
			end,
			execute = function()
				executed = true
				return "{}", "0x"
			end,
		})
		local function call()
			local found = route(app, "put", nil)
			local inbound = new_inbound(nil, nil, found)
			inbound.request.read_body = function() return true end
			inbound.request.header = function() return nil end
			return found.handler(inbound)
		end
		app.operations.refuse_value = function() return "value too large for members 0xa" end
		local reply = call()
		assert.same({ 413, false }, { reply.status, executed })
		assert.matches("value too large for members 0xa", reply.body)
		assert.is_false(required)
		app.operations.refuse_value, app.require_pop = function() end, true
		assert.same({ 200, true }, { call().status, executed })
		assert.is_true(required)
		executed, app.operations.clock_check.reason = false, "clock: 40 s behind the chain"
		reply = call()
		assert.same({ 503, false, "5" }, { reply.status, executed, reply.headers["Retry-After"] })
		assert.matches('"reason":"clock"', reply.body, 1, true)
		assert.matches("40 s behind the chain", reply.body, 1, true)
	end)

	it("closes the body of a PUT before it waits for copies, so that its value holds no memory meanwhile", function()
		local closed, closed_in_wait, written = false, nil, nil
		local put = {
			close = function() closed = true end, path = function() end, key = function() return "k" end,
			has_pop = function() return false end,
			names_operation = function()
				assert.is_false(closed)
				return false
			end,
		}
		local app = new_app(nil, {
			has_channel = function() return true end, open_request = function() return put end,
			execute = function(_, _, _, _, _, when_written)
				written = when_written({})
				return "{}", "0x"
			end,
		})
		app.operations.awaits_copies = true
		app.operations.copies.begin = function() return {} end
		app.operations.copies.wait = function()
			closed_in_wait = closed
			return 2
		end
		local found = route(app, "put", nil)
		local inbound = new_inbound(nil, nil, found)
		inbound.request.read_body, inbound.request.header = function() return true end, function() return nil end
		assert.equal(200, found.handler(inbound).status)
		assert.is_true(closed_in_wait)
		assert.is_true(written)
	end)
end)
