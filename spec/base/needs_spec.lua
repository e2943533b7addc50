-- kms.base.needs: a part refuses dependencies that it does not know, and the lack of those it needs.

local needs = require("kms.base.needs")

describe("kms.base.needs", function()
	local function new(deps)
		local part = needs.take(deps, "store log", "limit")
		return part
	end

	it("copies what was given", function()
		local given = { store = 1, log = false, limit = 2 }
		local taken = new(given)
		assert.same(given, taken)
		assert.not_equal(given, taken)
		assert.same({ store = 1, log = 2 }, new({ store = 1, log = 2 }))
	end)

	local function failure(deps)
		local ok, message = pcall(function() new(deps) end)
		assert.is_false(ok)
		return message
	end

	it("names what is missing or unknown, at the line that made the part", function()
		assert.matches("needs_spec%.lua:%d+: missing dependency: log$", failure({ store = 1 }))
		assert.matches("needs_spec%.lua:%d+: unknown dependency: logs$", failure({ store = 1, log = 2, logs = 3 }))
		assert.matches("dependencies must be a table$", failure(nil))
	end)
end)
