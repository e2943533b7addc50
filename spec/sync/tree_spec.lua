-- Making the hash tree ready: in many short jobs, but not in any number of them.

local tree = require("kms.sync.tree")

describe("a hash tree", function()
	-- A store whose tree takes so many steps to build, and to tidy.
	local function store_of(building, tidying)
		local store = { built = 0, tidied = 0 }
		function store:tree_key()
			self.built = self.built + 1
			return self.built >= building
		end
		function store:tidy_tree()
			self.tidied = self.tidied + 1
			return self.tidied < tidying
		end
		return store
	end

	it("is built step by step, and then tidied", function()
		local store = store_of(5, 3)
		assert.is_true(tree.prepare(store, {}))
		assert.same({ 5, 3 }, { store.built, store.tidied })
	end)

	it("that is never built or tidied is given up", function()
		for _, store in ipairs({ store_of(math.huge, 1), store_of(1, math.huge) }) do
			local ok, _, code = tree.prepare(store, {})
			assert.same({ nil, "ERR_NOT_READY" }, { ok, code })
		end
	end)

	it("that another caller is building is not waited for", function()
		local store = store_of(1, 1)
		function store.tree_key() return nil, "not possible in this state", "ERR_STATE" end
		local ok, _, code = tree.prepare(store, {})
		assert.same({ nil, "ERR_NOT_READY" }, { ok, code })
	end)
end)
