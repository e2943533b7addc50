local value_limit = require("kms.sync.value_limit")

local KIB = 1024

-- Members: existing nodes, nodes of this version, and nodes not heard yet.
local function peers(...)
	local list = {}
	for i, kind in ipairs({ ... }) do list[i] = { wallet = "0x" .. i, kind = kind } end
	return {
		others = function() return list end, is_known = function(_, peer) return peer.kind ~= "unknown" end,
		understands = function(_, peer) return peer.kind == "ours" end,
	}
end

describe("the longest value that members can take", function()
	it("is 509 KiB beside existing nodes", function()
		assert.is_nil(value_limit.refusal(peers("existing"), 100, 509 * KIB))
		assert.equal("value too large for members 0x1", value_limit.refusal(peers("existing"), 100, 511 * KIB))
		assert.equal("value too large for members 0x2, 0x3, 0x4 and 1 more",
			value_limit.refusal(peers("ours", "existing", "existing", "existing", "existing"), 1, 1024 * KIB))
	end)

	it("counts the key, however it is escaped", function()
		assert.truthy(value_limit.refusal(peers("existing"), 4096, 509 * KIB))
	end)

	it("has no limit of its own among nodes of this version", function()
		assert.is_nil(value_limit.refusal(peers(), 1, 1024 * KIB))
		assert.is_nil(value_limit.refusal(peers("ours", "unknown"), 1, 1024 * KIB))
	end)
end)
