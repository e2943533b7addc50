-- kms.snapshot.listing: listings that come in pages, of places that may give no end of names.

local listing = require("kms.snapshot.listing")

local function wallet(i) return ("0x%040x"):format(i) end
local function name(i, sequence) return ("%s/%020d.manifest"):format(wallet(i), sequence) end

-- One page with what fill(found) adds.
local function one(fill)
	return listing.collect("the place", function(found)
		fill(found)
		return false
	end)
end

describe("kms.snapshot.listing", function()
	it("knows names of snapshot files, and sorts them", function()
		local found = one(function(found)
			for _, path in ipairs({
				name(1, 9), name(1, 3), wallet(1) .. "/00000000000000000005.snap", "junk", "a/b/c", wallet(2) .. "/junk",
				name(1, 7):upper(), "/" .. name(1, 8), name(1, 6) .. "/x",
			}) do found:add(path) end
		end)
		assert.same({ [wallet(1)] = { manifests = { 3, 9 }, records = { [5] = true }, unfinished = {} } }, found)
	end)

	it("takes a million names, and not one more", function()
		local function fill(count)
			return function(found)
				for _ = 1, count do found:add("junk") end
			end
		end
		assert.same({}, one(fill(1000000)))
		assert.same({ nil, "the place holds more than 1000000 names", "ERR_TOO_LARGE" }, { one(fill(1000001)) })
	end)

	it("takes ten thousand wallets, and not one more", function()
		local function fill(count)
			return function(found)
				for i = 1, count do found:add(name(i, 1)) end
			end
		end
		assert.is_table(one(fill(10000)))
		assert.same({ nil, "the place holds names of more than 10000 wallets", "ERR_TOO_LARGE" }, { one(fill(10001)) })
	end)

	it("takes a thousand pages, and not one more, nor the same one twice", function()
		local function pages(count)
			local given = 0
			return listing.collect("the place", function()
				given = given + 1
				return given < count and "page " .. given
			end)
		end
		assert.same({}, pages(1000))
		assert.same({ nil, "the place gives more than 1000 pages of its listing", "ERR_TOO_LARGE" }, { pages(1001) })
		assert.same({ nil, "the place gives the same page of its listing again", "ERR_HTTP" },
			{ listing.collect("the place", function() return "token" end) })
	end)

	it("ends after ten minutes", function()
		local native = require("kms_native")
		local real, now = native.mono_ms, 0
		native.mono_ms = function() return now end
		finally(function() native.mono_ms = real end)
		local given = 0
		local function run(step)
			now, given = 0, 0
			return listing.collect("the place", function()
				now, given = now + step, given + 1
				return given < 2 and "page"
			end)
		end
		assert.same({}, run(600000))
		assert.same({ nil, "the place takes too long to list", "ERR_TIMEOUT" }, { run(600001) })
	end)
end)
