--- Every bound that the configuration allows is one that the core takes: what `config check`
-- accepts must not end a start with a stack trace.

local native = require("spec.support.native")
local schema = require("kms.config.schema")

local WALLET = "0x" .. ("1"):rep(40)

-- What the core is given of each key.
local TAKERS = {
	MAX_CHANNELS = native.channels,
	MAX_HEADER_BYTES = native.http_parser,
	POP_TIMEOUT_SECONDS = native.nonces,
	RATE_LIMIT_PER_MINUTE = function(n) return n == 0 or native.limiter(n, n, 1) end,
	NONCE_RATE_LIMIT_PER_MINUTE = function(n) return n == 0 or native.limiter(n, n, 1) end,
	APP_RATE_LIMIT_PER_MINUTE = function(n) return n == 0 or native.limiter(n, n, 1) end,
}
for key, member in pairs({
	MAX_KEY_BYTES = "max_key", MAX_KV_VALUE_SIZE_BYTES = "max_value", MAX_APP_STORAGE_BYTES = "max_app_bytes",
	MAX_APP_TOTAL_BYTES = "max_app_total", MAX_TOTAL_STORAGE_BYTES = "max_total_bytes",
	MAX_TOMBSTONES_PER_APP = "max_tombstones",
	TOMBSTONE_RETENTION_MS = "tombstone_retention_ms", MAX_CLOCK_SKEW_MS = "max_clock_skew_ms",
}) do
	TAKERS[key] = function(n) return native.store({ self = WALLET, [member] = n }) end
end
-- It sizes the limiters by application and wallet too.
function TAKERS.MAX_NAMESPACES(n)
	return native.store({ self = WALLET, max_namespaces = n }) and native.limiter(1, 1, 2 * n)
end

describe("config limits", function()
	local seen = 0
	for _, section in ipairs(schema.sections()) do
		for _, key in ipairs(section.keys) do
			local take = TAKERS[key.name]
			if take then
				seen = seen + 1
				it("of " .. key.name .. " are taken by the core", function()
					assert.truthy(take(key.min))
					assert.truthy(take(key.max))
					assert.truthy(take(key.default))
				end)
			end
		end
	end

	it("are all looked at", function()
		local count = 0
		for _ in pairs(TAKERS) do count = count + 1 end
		assert.equal(count, seen)
	end)
end)
