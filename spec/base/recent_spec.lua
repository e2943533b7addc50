local recent = require("kms.base.recent")

-- What a map holds of the keys 1 to `last`: this is no use of them.
local function held(map, last)
	local list = {}
	for key = 1, last do
		if map.young[key] ~= nil or map.old[key] ~= nil then list[#list + 1] = key end
	end
	return list
end

describe("recent", function()
	it("keeps as many entries as it must, and twice as many at most", function()
		local map = recent.new(3)
		for key = 1, 6 do map:put(key, "v" .. key) end
		assert.same({ 1, 2, 3, 4, 5, 6 }, held(map, 6))
		map:put(7, "v7")
		assert.same({ 4, 5, 6, 7 }, held(map, 7))
		for key = 4, 7 do assert.equal("v" .. key, map:get(key)) end
		assert.is_nil(map:get(3))
	end)

	it("keeps what is used, however much comes", function()
		local map = recent.new(3)
		map:put(1, "v1")
		for key = 2, 100 do
			map:put(key, true)
			assert.equal("v1", map:get(1))
			assert.is_true(#held(map, 100) <= 6)
		end
		assert.is_nil(map:get(2))
	end)

	it("replaces a value without losing count", function()
		local map = recent.new(2)
		for value = 1, 9 do map:put("k", value) end
		map:put("other", 1)
		assert.same({ 9, 1, {} }, { map:get("k"), map:get("other"), map.old })
	end)

	it("removes a key wherever it is, and absent ones", function()
		local map = recent.new(2)
		for key = 1, 3 do map:put(key, key) end -- 1 and 2 are in the older table
		map:put(1, "again") -- and in both
		for key = 1, 4 do map:remove(key) end
		assert.same({}, held(map, 4))
		map:put(5, 5)
		map:put(6, 6)
		assert.same({ 5, 6, {} }, { map:get(5), map:get(6), map.old })
	end)

	it("works with room for one", function()
		local map = recent.new(1)
		map:put("a", 1)
		map:put("b", 2)
		assert.equal(1, map:get("a"))
		assert.equal(2, map:get("b"))
		map:put("c", 3)
		assert.same({ 2, 3 }, { map:get("b"), map:get("c") })
		assert.is_nil(map:get("a"))
	end)

	it("keeps false as a value", function()
		local map = recent.new(1)
		map:put("a", false)
		map:put("b", true)
		assert.is_false(map:get("a"))
	end)

	it("refuses a size that is no number of entries", function()
		for _, least in ipairs({ 0, -1, 1.5, "2" }) do assert.has_error(function() recent.new(least) end) end
	end)
end)
