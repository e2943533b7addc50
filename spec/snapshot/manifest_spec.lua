-- Names and manifests: only what nodes write is taken for one.

local manifest = require("kms.snapshot.manifest")
local names = require("kms.snapshot.names")
local pruning = require("kms.snapshot.pruning")

local WALLET = "0x" .. ("a"):rep(40)
local HASH = ("0f"):rep(32)

describe("the name of a snapshot file", function()
	it("says its number and kind", function()
		for _, kind in ipairs({ "records", "manifest" }) do
			for _, sequence in ipairs({ 1, 1700000000000, names.MAX_SEQUENCE }) do
				assert.same({ sequence, kind }, { names.parse(names.file(sequence, kind)) })
			end
		end
		assert.equal("00000001700000000000.snap", names.file(1700000000000, "records"))
	end)

	it("is no other one", function()
		for _, name in ipairs({
			"", "1.snap", "00000000000000000000.snap", "00000000000000000001.snapshot", "00000000000000000001",
			"99999999999999999999.snap", "00009007199254740992.snap", "0000000000000000000a.snap",
			"00000000000000000001.snap.new.5", " 0000000000000000001.snap", "000000000000000000001.snap",
		}) do
			assert.is_nil(names.parse(name), name)
		end
		assert.is_true(names.is_wallet(WALLET))
		for _, name in ipairs({ "", "0x", WALLET:upper(), WALLET:sub(1, -2), WALLET .. "a", "0x" .. ("g"):rep(40) }) do
			assert.is_false(names.is_wallet(name), name)
		end
	end)
end)

describe("a manifest", function()
	local whole = {
		time = 1700000000000, full = 5, peers = { [WALLET] = { sequence = 9, time = 8 } },
		files = { { sequence = 5, bytes = 70, sha256 = HASH, records = 3 }, { sequence = 6, bytes = 60, sha256 = HASH,
			records = 0 } },
	}

	it("is read as it was written", function()
		assert.same(whole, manifest.decode(manifest.encode(whole)))
		local empty = { time = 1, full = 1, peers = {}, files = {} }
		assert.same(empty, manifest.decode(manifest.encode(empty)))
	end)

	it("is refused when a member is missing or of another kind", function()
		local text = manifest.encode(whole)
		for _, change in ipairs({
			{ '"version":1', '"version":2' }, { '"time":1700000000000', '"time":-1' }, { '"full":5', '"full":0' },
			{ '"full":5', '"full":1.5' }, { '"bytes":70', '"bytes":"70"' }, { '"records":3', '"records":9007199254740992' },
			{ HASH, HASH:sub(1, 62) }, { HASH, ("x"):rep(64) }, { WALLET, WALLET:upper() },
			{ '"sequence":5', '"sequence":null' }, { '"sequence":9', '"sequence":0' }, { '"time":8', '"at":8' },
			{ '"files":%[', '"files":[7,' },
			{ '"peers":{', '"peers":{"x":1,' }, { "^{", "" },
		}) do
			local changed, count = text:gsub(change[1], change[2], 1)
			assert.equal(1, count, change[1])
			assert.is_nil(manifest.decode(changed), change[2])
		end
		for _, other in ipairs({ "", "7", "[]", "null", "{}" }) do assert.is_nil(manifest.decode(other)) end
	end)
end)

describe("pruning", function()
	local function file(sequence) return { sequence = sequence } end

	local manifests = {
		{ sequence = 2, full = 1, files = { file(1) } }, { sequence = 4, full = 1, files = { file(1), file(3) } },
		{ sequence = 6, full = 5, files = { file(5) } },
		{ sequence = 8, full = 7, files = { file(7) } }, { sequence = 10, full = 7, files = { file(7), file(9) } },
	}
	local listed = {
		manifests = { 2, 3, 4, 6, 7, 8, 10 },
		records = { [1] = true, [3] = true, [4] = true, [5] = true, [7] = true, [9] = true, [11] = true },
	}

	local function gone(keep)
		local list = {}
		for i, item in ipairs(pruning.own(listed, manifests, keep)) do list[i] = item.kind:sub(1, 1) .. item.sequence end
		return table.concat(list, " ")
	end

	it("keeps the newest full sets with their changes, and removes manifests before files", function()
		assert.equal("r4", gone(3))
		assert.equal("m2 m4 m3 r1 r3 r4", gone(2))
		assert.equal("m2 m4 m6 m3 m7 r1 r3 r4 r5", gone(1))
	end)

	it("removes nothing without a manifest that opens", function()
		assert.same({}, pruning.own(listed, {}, 1))
	end)
end)
