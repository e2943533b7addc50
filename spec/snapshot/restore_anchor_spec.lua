-- kms.snapshot.restore and anchors on chain: a restore that is older than the newest of them is refused.

local snapshots = require("spec.support.snapshots")

local ADVICE = ": to go on with what there is, start with RESTORE_OLDER=true"
local WHO = "0x" .. ("7"):rep(40)

describe("kms.snapshot.restore with an anchor", function()
	local t

	before_each(function()
		t = snapshots.new()
		t:saved(1, "a", 2)
		t:pass(10000)
	end)
	after_each(function() t:close() end)

	local function at(time_s)
		t.anchor = function() return { manifest = "0x" .. ("ab"):rep(32), time = time_s, member = WHO } end
	end

	-- Restores into a new store. Returns its keys, or nil; message; status.
	local function restore(older)
		local to = snapshots.store(snapshots.WALLETS[3])
		local restoring = t:restore(to, older)
		local ok, message = snapshots.wait(restoring.run, restoring, t.secret)
		return ok and t:keys(to), message, restoring:status()
	end

	it("restores what is as new as the anchor, to the second", function()
		at(1700000000)
		assert.equal("a1 a2", restore())
		at(1700000001)
		local keys, message, status = restore()
		assert.falsy(keys)
		assert.equal("sealed snapshots are not restored: the newest manifest is of 2023-11-14T22:13:20Z ("
			.. snapshots.WALLETS[1] .. "), and " .. WHO .. " has anchored one of 2023-11-14T22:13:21Z on chain" .. ADVICE,
			message)
		assert.same({ anchored_time_ms = 1700000001000, wallet = WHO, newest_time_ms = 1700000000000 },
			status.older_than_anchored)
		assert.is_true(status.failed)
	end)

	it("does not go by milliseconds that an anchor has not", function()
		t:pass(999)
		t:saved(2, "b", 1)
		at((t.wall) // 1000)
		assert.equal("a1 a2 b1", restore())
	end)

	it("goes by the newest manifest of all wallets", function()
		t:saved(2, "b", 1)
		at(1700000005)
		assert.equal("a1 a2 b1", restore())
	end)

	it("refuses to begin with nothing where something was anchored", function()
		t:close()
		t = snapshots.new()
		at(1700000000)
		local keys, message, status = restore()
		assert.falsy(keys)
		assert.equal("sealed snapshots are not restored: there is no manifest that opens, and " .. WHO
			.. " has anchored one of 2023-11-14T22:13:20Z on chain" .. ADVICE, message)
		assert.same({ anchored_time_ms = 1700000000000, wallet = WHO }, status.older_than_anchored)
		assert.equal("", restore(true))
	end)

	it("goes on with RESTORE_OLDER, and says so", function()
		at(1800000000)
		local keys, _, status = restore(true)
		assert.equal("a1 a2", keys)
		assert.is_nil(status.older_than_anchored)
		local reason = t:logged("restoring although the chain may know of a newer state, as RESTORE_OLDER=true says").reason
		assert.truthy(reason:find(WHO .. " has anchored one of 2027-01-15T08:00:00Z", 1, true), reason)
	end)

	it("waits for a chain that cannot be read, but for RESTORE_OLDER", function()
		t.anchor = function() return nil, "no RPC server answers", "ERR_CHAIN" end
		local keys, message, status = restore()
		assert.same({ false, "sealed snapshots are not restored: no RPC server answers" }, { keys or false, message })
		assert.is_nil(status.older_than_anchored)
		assert.equal("a1 a2", restore(true))
		assert.equal("no RPC server answers",
			t:logged("restoring although the chain may know of a newer state, as RESTORE_OLDER=true says").reason)
	end)

	it("restores where nothing is anchored", function()
		t.anchor = function() return false end
		assert.equal("a1 a2", restore())
		t:close()
		t = snapshots.new()
		assert.equal("", restore())
	end)

	it("forgets a refusal when the missing state is there again", function()
		at(1700000010)
		local to = snapshots.store(snapshots.WALLETS[3])
		local restoring = t:restore(to)
		assert.is_nil((snapshots.wait(restoring.run, restoring, t.secret)))
		t:saved(2, "b", 1)
		assert.is_true(snapshots.wait(restoring.run, restoring, t.secret))
		assert.is_nil(restoring:status().older_than_anchored)
		assert.equal("a1 a2 b1", t:keys(to))
	end)
end)
