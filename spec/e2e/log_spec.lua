-- What a node logs (docs/protocol.md section 12): one line an event, names as a keyed hash unless
-- LOG_NAMES, never a value, a key or a body.

local apps = require("spec.support.app")
local cjson = require("cjson")
local crypto = require("spec.support.crypto")
local expect = require("spec.support.expect")
local nodes = require("spec.support.node")

local PATH, KEY, VALUE = "confidential/path", "confidential-key", "a value that nobody may read"

describe("log", function()
	local node

	after_each(function() node:stop() end)

	-- Starts a node, derives and stores, and returns what the log says of these requests.
	local function requests(env)
		node = nodes.start({ env = env })
		local app = apps.new(node, "400", "log")
		node:register({ app })
		local derived = crypto.unbase64(expect.ok(app:derive({ path = PATH })).inner.key)
		expect.ok(app:derive({ path = PATH }))
		expect.ok(app:put(KEY, VALUE))
		expect.ok(app:get(KEY))
		node:wait_log('"route":"get"')
		local text, lines = node:log(), {}
		for line in text:gmatch("[^\n]+") do
			local entry = cjson.decode(line)
			if entry.event == "request" and entry.app then lines[#lines + 1] = entry end
		end
		assert.equal(4, #lines)
		for _, secret in ipairs({ VALUE, derived }) do
			for _, form in ipairs({ secret, crypto.base64(secret), crypto.hex(secret) }) do
				assert.is_nil(text:find(form, 1, true))
			end
		end
		return lines, text
	end

	it("tells who asked for what by a hash of its name that stays the same", function()
		local lines, text = requests({ LOG_LEVEL = "debug" })
		assert.is_nil(text:find(PATH, 1, true))
		assert.is_nil(text:find(KEY, 1, true))
		assert.is_truthy(lines[1].name:find("^%x+$"))
		assert.equal(lines[1].name, lines[2].name)
		assert.not_equal(lines[1].name, lines[3].name)
		assert.equal(lines[3].name, lines[4].name)
		assert.same({ "derive", "POST", 200, "400" }, { lines[1].route, lines[1].method, lines[1].status, lines[1].app })
		assert.not_equal(lines[1].request, lines[2].request)
	end)

	it("tells the names where the operator wants them", function()
		local lines = requests({ LOG_NAMES = "true" })
		assert.equal(PATH, lines[1].name)
		assert.equal(KEY, lines[3].name)
	end)
end)
