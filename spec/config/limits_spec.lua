--- Limits that belong together: each is what the longest key and value need, or the configuration is refused.

local config = require("kms.config")
local config_kit = require("spec.support.config")
local limits = require("kms.config.limits")
local native = require("spec.support.native")

local NAMES = {
	"MAX_REQUEST_BODY_BYTES", "MAX_SYNC_PAYLOAD_BYTES", "MAX_SNAPSHOT_BYTES", "MAX_BODY_MEMORY_BYTES",
	"MAX_APP_BODY_MEMORY_BYTES",
}

-- Variables of a record's limits, as the environment has them.
local RECORDS = {
	{ MAX_KV_VALUE_SIZE_BYTES = 1, MAX_KEY_BYTES = 1 }, { MAX_KV_VALUE_SIZE_BYTES = 1 << 20, MAX_KEY_BYTES = 4096 },
	{ MAX_KV_VALUE_SIZE_BYTES = 1 << 20, MAX_KEY_BYTES = 65536 },
	{ MAX_KV_VALUE_SIZE_BYTES = 16 << 20, MAX_KEY_BYTES = 65536 },
}

local function variables(record, name, value)
	local all = { [name or "LOG_LEVEL"] = value and tostring(value) or "info" }
	for key, number in pairs(record) do all[key] = tostring(number) end
	return all
end

describe("config limits that belong together", function()
	after_each(config_kit.clean)

	it("have room for the largest record where nobody set them", function()
		for _, record in ipairs(RECORDS) do
			local cfg = config_kit.load_env(variables(record))
			local needed = limits.needed(cfg)
			for _, name in ipairs(NAMES) do
				assert.is_true(cfg[name] >= needed[name], name)
				assert.equal("default", config.origin(cfg, name))
			end
		end
		assert.equal(4 << 20, config_kit.load_env({}).MAX_REQUEST_BODY_BYTES)
		assert.is_true(config_kit.load_env(variables(RECORDS[4])).MAX_REQUEST_BODY_BYTES > 40 << 20)
	end)

	for _, name in ipairs(NAMES) do
		it("are taken at what the largest record needs, and refused one below: " .. name, function()
			for i = 2, #RECORDS do -- of the first one these are the schema's own bounds
				local record = RECORDS[i]
				local least = limits.needed(record)[name]
				assert.equal(least, config_kit.load_env(variables(record, name, least))[name])
				local text, errors = config_kit.errors_of(config_kit.with_env(variables(record, name, least - 1)))
				assert.equal(1, #errors, text)
				assert.equal(("variable %s: value '%d' is not valid with MAX_KV_VALUE_SIZE_BYTES=%d and MAX_KEY_BYTES=%d: "
					.. "allowed is at least %d, which the largest record takes"):format(name, least - 1,
					record.MAX_KV_VALUE_SIZE_BYTES, record.MAX_KEY_BYTES, least), text)
			end
		end)
	end

	it("are those of the core: keys of members, request lines", function()
		local WALLET = "0x" .. ("1"):rep(40)
		assert.truthy(native.store({ self = WALLET, max_key = limits.PEER_KEY }))
		assert.has_error(function() native.store({ self = WALLET, max_key = limits.PEER_KEY + 1 }) end)
		assert.truthy(native.http_parser(1024, limits.LINE))
		local longest = ("%01"):rep(limits.PEER_KEY)
		local line = ("GET /kms/data?prefix=%s&after=%s&limit=10000 HTTP/1.1\r\n"):format(longest, longest)
		assert.is_true(#line <= limits.LINE)
	end)
end)
