-- The chain in an allow list, which spares custodians to type addresses.

local allow_list = require("kms.attest.allow_list")

local ADDRESS = "0x" .. ("ab"):rep(20)

local function check(change)
	local chain = { id = 8453, registry = ADDRESS, kms_registry = ADDRESS, app_id = 49 }
	if change then change(chain) end
	return allow_list.check({ images = {}, chain = chain })
end

describe("the chain of an allow list", function()
	it("is optional, and read when it is there", function()
		assert.is_nil(assert(allow_list.check({ images = {} })).chain)
		assert.same({ id = 8453, registry = ADDRESS, kms_registry = ADDRESS, app_id = "49" }, assert(check()).chain)
	end)

	for what, change in pairs({
		["another member"] = function(chain) chain.rpc = "x" end,
		["no id"] = function(chain) chain.id = nil end,
		["an id that is text"] = function(chain) chain.id = "8453" end,
		["an application that is no number"] = function(chain) chain.app_id = "x" end,
		["an address that is none"] = function(chain) chain.registry = "0x12" end,
		["no address"] = function(chain) chain.kms_registry = nil end,
	}) do
		it("is refused with " .. what, function()
			local list, message = check(change)
			assert.is_nil(list)
			assert.truthy(message:find("chain", 1, true), message)
		end)
	end
end)
