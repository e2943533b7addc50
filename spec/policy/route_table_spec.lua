--- kms.policy.route_table: the routes of a set of policies, which come into force completely or not.

local files = require("spec.support.files")
local native = require("spec.support.native")
local policy = require("kms.policy")
local route_table = require("kms.policy.route_table")

local CONFIG = {
	MAX_REQUEST_BODY_BYTES = 65536, MAX_SYNC_PAYLOAD_BYTES = 1 << 20, DATA_SYNC_INTERVAL_SECONDS = 10,
	RATE_LIMIT_PER_MINUTE = 0, NONCE_RATE_LIMIT_PER_MINUTE = 0, APP_RATE_LIMIT_PER_MINUTE = 0,
}

describe("kms.policy.route_table", function()
	local dir, set, own

	local function write(text) files.write(dir .. "/routes.lua", text) end

	before_each(function()
		dir = files.temp_dir()
		local function now() return 1000 end
		set = assert(policy.open({ native = native, dir = dir, shipped = "config/policy", wall_ms = now, mono_ms = now }))
		own = { { name = "ready", method = "GET", path = "/ready" }, { name = "nodes", method = "GET", path = "/nodes" } }
	end)
	after_each(function() files.remove_dir(dir) end)

	local function new()
		return route_table.new({
			policy = set, config = CONFIG, own = own, node_facts = function() return {} end, mono_ms = function() return 0 end,
		})
	end

	local function given(routes, path)
		return (routes:match("GET", path)) ~= nil
	end

	it("takes every rate and burst that a policy may name", function()
		local routes = new()
		for _, limits in ipairs({ "rate = 1, burst = 1000000000", "rate = 1000000000, burst = 1000000000", "rate = 1",
			"burst = 5" }) do
			write(("return { { method = 'GET', path = '/ready', handler = 'ready', %s }, extra = { { name = 'x', "
				.. "path = '/x', handler = function() return {} end, %s } } }"):format(limits, limits))
			assert(set:reload("command"))
			routes:rebuild()
			assert.same({ true, false, true }, { given(routes, "/ready"), given(routes, "/nodes"), given(routes, "/x") })
		end
	end)

	it("stays as it was where a new one cannot be made", function()
		local routes = new()
		write("return { { method = 'GET', path = '/nodes', handler = 'nodes' } }")
		assert(set:reload("command"))
		set.routes = function() return { ready = { rate = -1, burst = 1 } } end
		assert.has_error(function() routes:rebuild() end)
		assert.same({ true, true }, { given(routes, "/ready"), given(routes, "/nodes") })
		set.routes = nil
		routes:rebuild()
		assert.same({ false, true }, { given(routes, "/ready"), given(routes, "/nodes") })
	end)

	it("has no two extra routes of one name, which would share a limit", function()
		write("local function f() return {} end return { extra = { { name = 'x', path = '/x', handler = f, rate = 1 }, "
			.. "{ name = 'x', path = '/y', handler = f } } }")
		local ok, mistakes = set:reload("command")
		assert.is_nil(ok)
		assert.matches("the name 'x' is there twice", mistakes[1])
	end)
end)
