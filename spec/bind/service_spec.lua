-- What a native service keeps of its options.

local native = require("spec.support.native")

local function handles()
	local wallet, p384 = native.identity(native.secret_random(32))
	return {
		wallet = wallet, p384 = p384, nonces = native.nonces(120), channels = native.channels(8),
		store = native.store({ self = wallet:address() }),
	}
end

describe("a native service", function()
	it("keeps its handles alive, whatever becomes of the table that named them", function()
		local options = handles()
		local names, seen = {}, setmetatable({}, { __mode = "v" })
		for name, handle in pairs(options) do
			names[#names + 1], seen[name] = name, handle
		end
		local service = native.service(options)
		for _, name in ipairs(names) do
			options[name] = nil
		end
		collectgarbage()
		for _, name in ipairs(names) do
			assert.is_not_nil(seen[name], name)
		end
		assert.is_not_nil(service)
	end)

	it("names the handle it has to have", function()
		assert.error_matches(function()
			native.service({ nonces = native.nonces(120), channels = 5 })
		end, "bad argument #1 to .* %(option 'channels' must be a kms.channels%)")
	end)
end)
