-- kms.snapshot.restore: what comes back, and what is refused by name.

local files = require("spec.support.files")
local native = require("spec.support.native")
local snapshots = require("spec.support.snapshots")

local uv = require("luv")

describe("kms.snapshot.restore", function()
	local t, store

	before_each(function()
		t = snapshots.new()
		store = snapshots.store(snapshots.WALLETS[3])
	end)
	after_each(function() t:close() end)

	-- Restores into the store. Returns what run() returned, and the restore.
	local function restore(allow_older)
		local restoring = t:restore(store, allow_older)
		local ok, message = snapshots.wait(function()
			restoring:begin(t.secret)
			return restoring:run(t.secret)
		end)
		return ok, message, restoring
	end

	-- The path of a wallet's file, newest first.
	local function path(kind, back, number)
		local list = t:files(kind, number)
		return t:folder(number) .. "/" .. list[#list + 1 - (back or 1)]
	end

	it("merges the newest snapshots of all nodes", function()
		local kept, first = t:saved(1, "a", 3)
		t:fill(first, "b", 2)
		assert.is_true(t:save(kept))
		t:pass(1000)
		t:saved(2, "c", 1)
		local _, _, restoring = assert(restore())
		assert.equal("a1 a2 a3 b1 b2 c1", t:keys(store))
		t:pass(5000)
		assert.same({ data_time_ms = t.wall - 5000, data_age_s = 0, wallets = 2, records = 6, merged = 6, rejected = 0,
			bad_files = 0 }, restoring:status().restored)
		assert.same({ { name = "restored", fields = {
			data_time_ms = t.wall - 5000, wallets = 2, of = 2, records = 6, merged = 6, rejected = 0, bad_files = 0,
		} } }, t.audit.events)
		assert.is_false(restoring:status().failed)
	end)

	it("says how old what it restored was", function()
		t:saved(1, "a", 3)
		t:pass(7200500)
		local _, _, restoring = assert(restore())
		assert.equal(7200, restoring:status().restored.data_age_s)
	end)

	it("leaves a store alone that is not empty, or whose secret is new", function()
		t:saved(1, "a", 3)
		t:fill(store, "own", 1)
		assert.is_true(restore())
		assert.equal("own1", t:keys(store))
		store, t.fresh = snapshots.store(), true
		assert.is_true(restore())
		assert.equal("", t:keys(store))
	end)

	it("restores once, and what joining merged before does not keep it from that", function()
		t:saved(1, "a", 1)
		local restoring = t:restore(store)
		restoring:begin(t.secret)
		t:fill(store, "joined", 1)
		assert.is_true(snapshots.wait(restoring.run, restoring, t.secret))
		assert.equal("a1 joined1", t:keys(store))
		t:saved(2, "later", 1)
		assert.is_true(snapshots.wait(restoring.run, restoring, t.secret))
		assert.equal("a1 joined1", t:keys(store))
	end)

	it("does nothing where there is nothing", function()
		assert.is_true(restore())
		assert.truthy(t:logged("there is no sealed snapshot to restore"))
	end)

	it("waits while the place cannot be read, and goes on when it can", function()
		t:saved(1, "a", 1)
		t.failing = "Input/output error"
		local restoring = t:restore(store)
		restoring:begin(t.secret)
		local ok, message = snapshots.wait(restoring.run, restoring, t.secret)
		assert.same({ nil, "sealed snapshots are not restored: Input/output error" }, { ok, message })
		assert.is_true(restoring:status().failed)
		t.failing = nil
		assert.is_true(snapshots.wait(restoring.run, restoring, t.secret))
		assert.is_false(restoring:status().failed)
		assert.equal("a1", t:keys(store))
	end)

	describe("with a file that is not usable", function()
		local kept, first

		-- Two full sets and a change: "old" and "new" in the second one, "newest" in the change.
		before_each(function()
			kept, first = t:saved(1, "old", 2)
			t:fill(first, "new", 3)
			assert.is_true(t:save(kept))
			t:fill(first, "more", 30)
			assert.is_true(t:save(kept)) -- a full set again
			t:fill(first, "newest", 1)
			assert.is_true(t:save(kept))
			assert.same({ 4, 4 }, { #t:files("manifest"), #t:files("snap") })
		end)

		-- Restores, which must name the newest file with this reason and use what is older.
		local function falls_back(reason, keys)
			local _, _, restoring = assert(restore())
			local said = t:logged("a file of a sealed snapshot is not usable")
			assert.same({ reason, snapshots.WALLETS[1] }, { said.reason, said.wallet })
			assert.equal(kept.state.files[#kept.state.files].sequence, said.sequence)
			assert.truthy(t:logged("an older sealed snapshot is used"))
			assert.equal(keys or 35, #(t:keys(store):gsub("%S+", "x"):gsub(" ", "")))
			assert.equal(1, restoring:status().restored.bad_files)
		end

		local SEALED = "chunk 0: sealed data was changed or made under another key"

		it("uses an older state: truncated", function()
			local newest = path("snap")
			local bytes = files.read(newest)
			files.write(newest, bytes:sub(1, 40))
			falls_back("chunk 0: input ends too early")
		end)

		it("uses an older state: changed", function()
			local newest = path("snap")
			local bytes = files.read(newest)
			files.write(newest, bytes:sub(1, -2) .. string.char(bytes:byte(-1) ~ 1))
			falls_back(SEALED)
		end)

		it("uses an older state: another one of this node in its place", function()
			files.write(path("snap"), files.read(path("snap", 2)))
			falls_back(SEALED)
		end)

		it("uses an older state: of another node", function()
			t:saved(2, "foreign", 1)
			files.write(path("snap"), files.read(path("snap", 1, 2)))
			uv.fs_unlink(path("manifest", 1, 2))
			falls_back(SEALED)
		end)

		it("uses an older state: gone", function()
			uv.fs_unlink(path("snap"))
			falls_back("file does not exist")
		end)

		it("uses an older state: no such file", function()
			files.write(path("snap"), "x")
			falls_back("chunk 0: input ends too early")
		end)

		it("uses an older state when it is another one with the same name", function()
			local sequence = kept.state.files[#kept.state.files].sequence
			uv.fs_unlink(path("snap"))
			snapshots.wait(function()
				local writer = assert(native.snapshot_writer(t.secret, "records", snapshots.WALLETS[1], sequence))
				assert(native.write_new_file(t:folder(), "", ("%020d.snap"):format(sequence), writer:finish()))
			end)
			falls_back("is another file than the one that its manifest names")
		end)

		it("goes back to an older full set when the newer one is damaged", function()
			files.write(path("snap", 2), "NKS1")
			files.write(path("snap", 1), "NKS1")
			assert(restore())
			assert.equal("new1 new2 new3 old1 old2", t:keys(store))
		end)

		it("uses an older manifest when the newest does not open, and names it", function()
			files.write(path("manifest"), files.read(path("manifest", 2)))
			assert(restore())
			local said = t:logged("a manifest of a sealed snapshot is not usable")
			assert.same({ SEALED, snapshots.WALLETS[1] }, { said.reason, said.wallet })
			assert.is_nil(t:keys(store):find("newest1", 1, true))
		end)

		it("does not take an empty store for all there was when nothing opens", function()
			for _, name in ipairs(t:files("manifest")) do files.write(t:folder() .. "/" .. name, "x") end
			local ok, message = restore()
			assert.is_nil(ok)
			assert.truthy(message:find("no manifest is usable: .*RESTORE_OLDER=true"))
			assert.is_true(restore(true))
			for _, name in ipairs(t:files("snap")) do files.write(t:folder() .. "/" .. name, "x") end
		end)

		it("does not take an empty store for all there was when no set is whole", function()
			for _, name in ipairs(t:files("snap")) do files.write(t:folder() .. "/" .. name, "x") end
			local ok, message = restore()
			assert.is_nil(ok)
			assert.truthy(message:find("no sealed snapshot is whole: .*RESTORE_OLDER=true"))
			assert.is_true(restore(true))
		end)
	end)

	describe("of states that are older than others have seen", function()
		-- Node 2 has seen the second manifest of node 1, which the storage then hides.
		before_each(function()
			local kept, first = t:saved(1, "a", 1)
			t:fill(first, "hidden", 1)
			assert.is_true(t:save(kept))
			t:pass(1000)
			t:saved(2, "c", 1)
			uv.fs_unlink(path("manifest"))
		end)

		it("stops", function()
			local ok, message = restore()
			assert.is_nil(ok)
			assert.truthy(message:find(("the newest manifest of %s is older than the one that %s has seen"):format(
				snapshots.WALLETS[1], snapshots.WALLETS[2]), 1, true))
			assert.equal("", t:keys(store))
		end)

		it("stops when it is missing altogether", function()
			files.remove_dir(t:folder(1))
			assert.is_nil((restore()))
		end)

		it("goes on with RESTORE_OLDER=true, and says so", function()
			assert.is_true(restore(true))
			assert.truthy(t:logged("restoring an older state, as RESTORE_OLDER=true says"))
			assert.equal("a1 c1", t:keys(store))
		end)

		it("goes on when what was seen is too old to be merged: members remove that", function()
			t:pass(snapshots.RETENTION_MS - snapshots.SKEW_MS + 1001)
			local kept, second = t:saved(2, "c", 1)
			t:fill(second, "d", 1)
			assert.is_true(t:save(kept))
			files.remove_dir(t:folder(1))
			assert.is_true(restore())
		end)
	end)

	it("does not merge what is so old that deletions after it are forgotten", function()
		t.member[snapshots.WALLETS[1]] = true -- else node 2 removes it
		t:saved(1, "deleted", 2)
		t:pass(snapshots.RETENTION_MS - snapshots.SKEW_MS + 1)
		t:saved(2, "new", 1)
		assert.is_true(restore())
		assert.equal("new1", t:keys(store))
		assert.equal(snapshots.WALLETS[1],
			t:logged("a sealed snapshot is too old to be merged: it would bring deleted records back").wallet)
	end)

	it("stops when the node stops being a member, and begins again later", function()
		t:saved(1, "a", 3)
		t.complete = false
		local ok, message = restore()
		assert.same({ nil, "sealed snapshots are not restored: this node is no member any more, or has another secret" },
			{ ok, message })
	end)
end)
