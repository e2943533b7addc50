local lru = require("kms.base.lru")

describe("lru", function()
	it("keeps as many entries as it may and forgets the least recently used", function()
		local map = lru.new(3)
		for i = 1, 3 do map:put(i, "v" .. i, 100) end
		assert.equal("v1", map:get(1, 0)) -- used: 2 is now the oldest
		map:put(4, "v4", 100)
		assert.is_nil(map:get(2, 0))
		assert.equal("v1", map:get(1, 0))
		assert.equal("v3", map:get(3, 0))
		assert.equal("v4", map:get(4, 0))
		assert.equal(3, map.size)
	end)

	it("holds an entry up to its expiry and not at it", function()
		local map = lru.new(2)
		map:put("k", "v", 10)
		assert.equal("v", map:get("k", 9))
		assert.is_nil(map:get("k", 10))
		assert.equal(0, map.size)
	end)

	it("replaces, removes and clears without losing count", function()
		local map = lru.new(2)
		map:put("k", 1, 10)
		map:put("k", 2, 10)
		assert.equal(1, map.size)
		assert.equal(2, map:get("k", 0))
		map:remove("k")
		map:remove("k")
		assert.equal(0, map.size)
		map:put("a", 1, 10)
		map:clear()
		assert.is_nil(map:get("a", 0))
	end)

	it("works with room for one", function()
		local map = lru.new(1)
		map:put("a", 1, 10)
		map:put("b", 2, 10)
		assert.is_nil(map:get("a", 0))
		assert.equal(2, map:get("b", 0))
		assert.has_error(function() lru.new(0) end)
	end)

	it("agrees with a plain list over random use", function()
		math.randomseed(7)
		local map, order = lru.new(8), {}
		local function touch(key)
			for i, k in ipairs(order) do if k == key then table.remove(order, i) end end
			order[#order + 1] = key
		end
		for _ = 1, 5000 do
			local key = math.random(16)
			if math.random() < 0.5 then
				map:put(key, key, 1)
				touch(key)
				if #order > 8 then table.remove(order, 1) end
			elseif map:get(key, 0) then
				touch(key)
			end
			assert.equal(#order, map.size)
		end
		for _, key in ipairs(order) do assert.equal(key, map.entries[key].value) end
	end)
end)
