-- GET /kms/data without a key: all keys, or pages of them (docs/protocol.md section 8).

local apps = require("spec.support.app")
local cjson = require("cjson")
local expect = require("spec.support.expect")
local nodes = require("spec.support.node")

describe("a listing", function()
	local MIB = 1 << 20
	local LONG = ("k"):rep(4000)
	local KEYS = 300
	local node, app

	setup(function()
		node = nodes.start({ env = { MAX_LIST_BYTES = tostring(MIB) } })
		app = apps.new(node, "1000", "listing") -- the demo application of a local chain
		node:register({ app })
		for i = 1, KEYS do expect.ok(app:put(("%s%03d"):format(i % 3 == 0 and "third " or "", i) .. LONG, "")) end
	end)
	teardown(function()
		app:close()
		node:stop()
	end)

	local function list(query)
		return app:call({ method = "GET", target = "/kms/data" .. query })
	end

	local function refused(pattern, query)
		local response = list(query)
		expect.refused(response, 400, "bad_request")
		assert.truthy(response.body:find(pattern), response.body)
	end

	it("beyond MAX_LIST_BYTES is refused, and the reply says how to page", function()
		local response = list("")
		expect.refused(response, 413, "payload_too_large")
		assert.truthy(response.body:find("more than 1048576 bytes: ask for pages with ?limit=", 1, true), response.body)
		expect.refused(list("?other=1"), 413, "payload_too_large")
	end)

	it("has a next while there are more keys", function()
		local after, pages, seen = "", 0, {}
		repeat
			local inner = expect.ok(list("?limit=100&after=" .. apps.encode(after))).inner
			assert.equal(#inner.keys, inner.count)
			for _, key in ipairs(inner.keys) do
				assert.is_true(key > after)
				after, seen[#seen + 1] = key, key
			end
			pages = pages + 1
			assert.is_true(inner.next == nil or inner.next == after)
		until not inner.next
		assert.same({ KEYS, 3 }, { #seen, pages })
	end)

	it("is no longer than MAX_LIST_BYTES, whatever the limit", function()
		local inner = expect.ok(list("?limit=10000")).inner
		assert.is_true(inner.count < KEYS and inner.count > 250)
		assert.equal(inner.keys[inner.count], inner.next)
		-- A thousand keys are the default.
		assert.same(inner, expect.ok(list("?after=")).inner)
	end)

	it("can be of a prefix", function()
		local inner = expect.ok(list("?prefix=third+&limit=10000")).inner
		assert.equal(KEYS // 3, inner.count)
		assert.is_nil(inner.next)
		for _, key in ipairs(inner.keys) do assert.equal("third ", key:sub(1, 6)) end
		assert.same({ 0 }, { expect.ok(list("?prefix=fourth")).inner.count })
	end)

	it("refuses parameters that are no page", function()
		for _, limit in ipairs({ "", "0", "10001", "-1", "1e3", "x", "99999999999" }) do
			refused("limit is a number from 1 to 10000", "?limit=" .. limit)
		end
		refused("limit is given twice", "?limit=1&limit=2")
		refused("malformed request target", "?after=%zz")
		refused("prefix is given twice", "?prefix=a&prefix=a")
	end)

	it("is printed page by page", function()
		local function call(...)
			local code, out, err = nodes.run({ "call", "list", "--url", "http://127.0.0.1:" .. node.port, ... },
				{ env = { DATA_DIR = node.dir } })
			assert.same({ 0, "" }, { code, err })
			return out
		end
		local out = call()
		local count = select(2, out:gsub("\n", ""))
		assert.equal(KEYS, count)
		out = call("--prefix", "third ")
		assert.equal(KEYS // 3, (select(2, out:gsub("\n", ""))))
		out = call("--json")
		local total = 0
		for line in out:gmatch("[^\n]+") do total = total + cjson.decode(line).count end
		assert.equal(KEYS, total)
	end)
end)
