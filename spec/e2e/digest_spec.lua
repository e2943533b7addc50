-- GET /digest, and `nova-kms cluster check`, which compares nodes with it.

local apps = require("spec.support.app")
local cjson = require("cjson")
local crypto = require("spec.support.crypto")
local http = require("spec.support.http")
local nodes = require("spec.support.node")

local NONCE = ("ab"):rep(16)
local MASTER, OTHER = crypto.keccak256("the master secret of digests"), crypto.keccak256("another master secret")

describe("GET /digest", function()
	local one, two, stranger

	local function start(master)
		return nodes.start({ env = { MASTER_SECRET_HEX = crypto.hex(master) } })
	end

	setup(function()
		one, two, stranger = start(MASTER), start(MASTER), start(OTHER)
	end)
	teardown(function()
		for _, node in ipairs({ one, two, stranger }) do node:stop() end
	end)

	local function get(node, query)
		local response = assert(http.get(node.port, "/digest" .. (query or "")))
		return response, cjson.decode(response.body)
	end

	local function digest(node, nonce, hour)
		local response, value = get(node, "?nonce=" .. (nonce or NONCE) .. (hour and "&hour=%d" or ""):format(hour))
		assert.equal(200, response.status, response.body)
		return value
	end

	local function check(...)
		local words = { "cluster", "check", "--wait", "0" }
		for _, node in ipairs({ ... }) do
			words[#words + 1] = "--url"
			words[#words + 1] = "http://127.0.0.1:" .. node.port
		end
		return nodes.run(words)
	end

	it("is the same for nodes that hold the same, for one nonce only", function()
		local shown = digest(one)
		assert.equal(64, #shown.digest)
		assert.is_true(shown.hour > 400000, shown.hour)
		-- An hour that no node has reached: another one may begin between two requests.
		local hour = shown.hour + 1
		shown = digest(one, NONCE, hour)
		assert.same(shown, digest(two, NONCE, hour))
		assert.are_not.equal(shown.digest, digest(one, ("cd"):rep(16), hour).digest)
		assert.are_not.equal(shown.digest, digest(stranger, NONCE, hour).digest)
	end)

	it("refuses what is no nonce or hour", function()
		for _, query in ipairs({
			"", "?nonce=", "?nonce=" .. ("ab"):rep(15), "?nonce=" .. ("ab"):rep(65), "?nonce=" .. ("xy"):rep(16),
			"?nonce=" .. NONCE .. "&nonce=" .. NONCE, "?nonce=" .. NONCE .. "&hour=4294967296", "?nonce=" .. NONCE .. "&hour=-1",
			"?nonce=" .. NONCE .. "&hour=x",
		}) do
			local response, value = get(one, query)
			assert.equal(400, response.status, query)
			assert.equal("bad_request", value.code)
		end
		assert.equal(200, (get(one, "?nonce=" .. ("ab"):rep(64) .. "&hour=4294967295")).status)
	end)

	it("replies for the later hour", function()
		local own = digest(one).hour
		assert.equal(own + 5, select(2, get(one, ("?nonce=%s&hour=%d"):format(NONCE, own + 5))).hour)
		local later = select(2, get(one, ("?nonce=%s&hour=1"):format(NONCE))).hour
		assert.is_true(later == own or later == own + 1, later) -- the hour may end in between
	end)

	it("lets `nova-kms cluster check` say whether all hold the same", function()
		local code, out = check(one, two)
		assert.equal("all 2 nodes hold the same\n", out)
		assert.equal(0, code)
		local app = apps.new(one, "700", "digest app")
		one:register({ app })
		assert.equal(200, app:put("k", "v").status)
		code, out = check(one, two)
		assert.equal(("nodes hold different records: http://127.0.0.1:%d | http://127.0.0.1:%d\n"):format(one.port, two.port),
			out)
		assert.equal(1, code)
		local _, err
		code, _, err = check(one)
		assert.equal(2, code)
		assert.truthy(err:find("at least twice", 1, true), err)
		code, _, err = check(one, { port = 1 })
		assert.equal(3, code)
		assert.truthy(err:find("http://127.0.0.1:1: ", 1, true), err)
	end)
end)
