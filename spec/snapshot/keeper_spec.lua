-- kms.snapshot.keeper: when it writes and what, what it removes, and what becomes of a failure.

local files = require("spec.support.files")
local loop = require("kms.base.loop")
local native = require("spec.support.native")
local snapshots = require("spec.support.snapshots")
local wait = require("spec.support.wait")

local uv = require("luv")

describe("kms.snapshot.keeper", function()
	local t, store, kept

	before_each(function()
		t = snapshots.new()
		store = snapshots.store()
		kept = t:keeper(store)
	end)
	after_each(function() t:close() end)

	-- A tick, and what it began to its end.
	local function tick()
		kept:tick()
		wait.until_true("the end of writing", function() return not kept.saving end)
	end

	local function counts() return { #t:files("manifest"), #t:files("snap") } end

	it("writes when the interval is over and something changed, and not otherwise", function()
		t:fill(store, "a", 3)
		tick()
		assert.same({ 0, 0 }, counts())
		t:pass(snapshots.INTERVAL_MS)
		tick()
		assert.same({ 1, 1 }, counts())
		assert.same({ "ok", 0 }, { kept:status().state, kept:unsaved_ms() })
		t:pass(snapshots.INTERVAL_MS)
		tick()
		assert.same({ 1, 1 }, counts())
		t:fill(store, "b", 1)
		t:pass(snapshots.INTERVAL_MS - 1)
		assert.equal(snapshots.INTERVAL_MS - 1 + snapshots.INTERVAL_MS, kept:unsaved_ms())
		t:pass(1)
		tick()
		assert.same({ 2, 2 }, counts())
	end)

	it("writes nothing while the store is not complete", function()
		t:fill(store, "a", 3)
		t.complete = false
		for _ = 1, 3 do
			t:pass(snapshots.INTERVAL_MS)
			tick()
		end
		assert.same({ nil, "this node's store is not complete" }, { t:save(kept) })
		assert.same({ "waiting", 0 }, { kept:status().state, kept:unsaved_ms() })
		assert.is_nil(uv.fs_stat(t:folder()))
	end)

	it("leaves no manifest when the store stops being complete meanwhile", function()
		t:fill(store, "a", 3)
		local asked = 0
		kept.is_complete = function()
			asked = asked + 1
			return asked < 3
		end
		assert.same({ nil, "this node's store is not complete any more" }, { t:save(kept) })
		assert.same({ 0, 0 }, counts())
	end)

	it("writes changes only, until they are more than half of the full set, and keeps three of these", function()
		t:fill(store, "first", 20)
		t:save(kept)
		local full = { kept.state.full }
		t:fill(store, "second", 9)
		t:save(kept)
		t:fill(store, "third", 9)
		t:save(kept)
		assert.equal(full[1], kept.state.full)
		assert.same({ 3, 3 }, counts())
		for i = 2, 5 do
			t:fill(store, "more" .. i, 20) -- beyond half, together with what there is
			t:save(kept)
			t:fill(store, "again" .. i, 30)
			t:save(kept)
			full[#full + 1] = kept.state.full
		end
		local sets = {}
		for _, manifest in ipairs(kept.state.own) do sets[manifest.full] = true end
		local left = 0
		for _ in pairs(sets) do left = left + 1 end
		assert.equal(3, left)
		assert.is_nil(sets[full[1]])
		assert.equal(#kept.state.own, #t:files("manifest"))
		-- Every file that is left is one that a manifest names, and the other way round.
		local named = {}
		for _, manifest in ipairs(kept.state.own) do
			for _, file in ipairs(manifest.files) do named[("%020d.snap"):format(file.sequence)] = true end
		end
		for _, name in ipairs(t:files("snap")) do
			assert.is_true(named[name], name)
			named[name] = nil
		end
		assert.same({}, named)
	end)

	it("splits what is large into files, and all of it comes back", function()
		local prefix = ("k"):rep(60000)
		for i = 1, 6 do t:fill(store, prefix .. i .. "-", 60) end
		assert.is_true(t:save(kept))
		local total, list = 0, t:files("snap")
		for _, name in ipairs(list) do
			local size = uv.fs_stat(t:folder() .. "/" .. name).size
			assert.is_true(size <= 16 << 20)
			total = total + size
		end
		assert.is_true(total > 20 << 20 and #list == 2)
		local to = snapshots.store(snapshots.WALLETS[2])
		assert.is_true(snapshots.wait(function() return t:restore(to):run(t.secret) end))
		assert.equal(t:keys(store), t:keys(to))
	end)

	it("logs and counts a failure, says it, leaves nothing behind, and tries again", function()
		t:fill(store, "a", 3)
		t:pass(1)
		tick()
		t.failing = "No space left on device"
		t:pass(snapshots.INTERVAL_MS)
		tick()
		assert.same({ "failing", 1, "No space left on device" },
			{ kept:status().state, kept:status().failures, kept:status().last_failure })
		assert.equal("No space left on device", t:logged("sealed snapshot not written").reason)
		t:pass(59999)
		tick()
		assert.equal(1, kept.counts.failed)
		t:pass(1)
		tick()
		assert.equal(2, kept.counts.failed)
		t.failing = nil
		t:pass(60000)
		tick()
		assert.same({ "ok", 2, 1 }, { kept:status().state, kept.counts.failed, kept.counts.ok })
		assert.same({ 1, 1 }, counts())
	end)

	it("removes the files of a set whose manifest cannot be written", function()
		t:fill(store, "a", 3)
		local write = native.write_new_file
		finally(function() native.write_new_file = write end) -- luacheck: ignore 122
		native.write_new_file = function(base, below, name, body) -- luacheck: ignore 122
			if name:find("manifest$") then return nil, "No space left on device", "ERR_SYSTEM" end
			return write(base, below, name, body)
		end
		assert.same({ nil, "No space left on device" }, { t:save(kept) })
		assert.same({ 0, 0 }, counts())
	end)

	it("gives files rising numbers when the clock is set back, also after a restart", function()
		t:fill(store, "a", 3)
		t:save(kept)
		local first = kept.state.own[1].sequence
		t.wall = t.wall - 3600000
		kept = t:keeper(store)
		t:save(kept)
		assert.equal(2, #kept.state.own)
		assert.is_true(kept.state.own[2].sequence > first)
	end)

	it("keeps manifests of one moment apart: the later one is restored, and pruning counts both", function()
		for i, prefix in ipairs({ "a", "b", "c", "d", "e" }) do
			t:fill(store, prefix, 10 * i) -- more than half of what there was: a full set each
			t:save(kept)
		end
		local own, times = kept.state.own, {}
		for i, manifest in ipairs(own) do times[i] = manifest.time end
		assert.same({ t.wall, t.wall, t.wall }, { times[1], times[#times - 1], times[#times] })
		for i = 2, #own do assert.is_true(own[i].sequence > own[i - 1].sequence) end
		assert.equal(own[#own].sha256, kept.saved.sha256)
		local to = snapshots.store(snapshots.WALLETS[2])
		assert.is_true(snapshots.wait(function() return t:restore(to):run(t.secret) end))
		assert.equal(t:keys(store), t:keys(to))
	end)

	it("never writes over a file", function()
		t:fill(store, "a", 3)
		assert(t.place(t.secret))
		uv.fs_mkdir(t.dir .. "/" .. t:folder():match("(%x+)/0x%x+$"), 448)
		uv.fs_mkdir(t:folder(), 448)
		local taken = ("%s/%020d.manifest"):format(t:folder(), t.wall + 1)
		files.write(taken, "somebody's")
		assert.is_nil((t:save(kept)))
		assert.equal("somebody's", files.read(taken))
		t:pass(60000)
		assert.is_true(t:save(kept))
	end)

	it("removes what a crash left", function()
		t:fill(store, "a", 3)
		t:save(kept)
		files.write(t:folder() .. "/00000001600000000000.snap", "of no manifest")
		files.write(t:folder() .. "/00000001600000000001.manifest", "half a manifest")
		files.write(t:folder() .. "/00000001600000000002.snap.new.123456", "half a file")
		files.write(t:folder() .. "/a file of the operator", "stays")
		kept = t:keeper(store)
		t:save(kept)
		assert.same({ 2, 2 }, counts())
		assert.equal("stays", files.read(t:folder() .. "/a file of the operator"))
		assert.is_nil(files.read(t:folder() .. "/00000001600000000002.snap.new.123456"))
	end)

	it("names the newest manifests of the others, and removes those of nobody once no restore would take them", function()
		t.member = { [snapshots.WALLETS[2]] = true }
		t:saved(2, "member", 1)
		t:saved(3, "gone", 1)
		t:fill(store, "a", 1)
		t:save(kept)
		assert.same({ [snapshots.WALLETS[2]] = true, [snapshots.WALLETS[3]] = true }, (function()
			local seen = {}
			for wallet in pairs(kept.state.own[1].peers) do seen[wallet] = true end
			return seen
		end)())
		t:pass(snapshots.RETENTION_MS - snapshots.SKEW_MS)
		t:fill(store, "b", 1)
		t:save(kept)
		assert.equal(1, #t:files("manifest", 3))
		t:pass(10)
		t:fill(store, "c", 1)
		t:save(kept)
		assert.is_nil(uv.fs_stat(t:folder(3)))
		assert.equal(1, #t:files("manifest", 2))
	end)

	it("keeps the custodians' files beside the snapshots, and never writes over one", function()
		t.beside = {
			{ name = "0123456789abcdef-1.age", text = "first" }, { name = "0123456789abcdef-2.age", text = "other" },
		}
		local beside = t:folder():match("^(.+)/0x%x+$")
		t:fill(store, "a", 1)
		t:save(kept)
		assert.equal("first", files.read(beside .. "/0123456789abcdef-1.age"))
		t.beside[1].text = "the same share, encrypted anew"
		kept = t:keeper(store)
		t:fill(store, "b", 1)
		t:save(kept)
		assert.same({ "first", "other" }, { files.read(beside .. "/0123456789abcdef-1.age"),
			files.read(beside .. "/0123456789abcdef-2.age") })
	end)

	it("forgets what it knew of wallets that are gone from the place, which may show new ones each time", function()
		t:fill(store, "a", 3)
		t:save(kept)
		for _, wallet in ipairs({ snapshots.WALLETS[2], snapshots.WALLETS[3] }) do
			local folder = t:folder():gsub("0x%x+$", wallet)
			assert(uv.fs_mkdir(folder, 448)) -- 0700
			files.write(folder .. "/00000000000000000001.manifest", "not sealed by anybody")
			t:pass(snapshots.INTERVAL_MS)
			t:fill(store, "b" .. t.wall, 1)
			assert(t:save(kept))
			local known = {}
			for seen in pairs(kept.others.seen) do known[#known + 1] = seen end
			assert.same({ wallet }, known)
			files.remove_dir(folder)
		end
	end)

	it("begins anew under another secret", function()
		t:fill(store, "a", 3)
		t:save(kept)
		local before = t:folder()
		t.secret = native.secret_random(32)
		assert.is_true(kept:is_behind())
		t:save(kept)
		assert.same({ 1, 1 }, counts())
		assert.not_equal(before, t:folder())
		assert.equal(1, #kept.state.own)
	end)

	it("leaves the store to requests after each page, for a shorter time where the process is about to end", function()
		local sleep, slept = loop.sleep, {}
		finally(function() loop.sleep = sleep end)
		function loop.sleep(ms)
			slept[ms] = (slept[ms] or 0) + 1
			return sleep(ms)
		end
		t:fill(store, "a", 3)
		assert(t:save(kept))
		assert.same({ 1, nil }, { slept[12], slept[2] })
		t:fill(store, "b", 3)
		snapshots.wait(kept.at_stop, kept, t.mono + 1000)
		assert.same({ 1, 1 }, { slept[12], slept[2] })
	end)

	it("writes what is unsaved at the end of the process, until the deadline", function()
		t:fill(store, "a", 3)
		snapshots.wait(kept.at_stop, kept, t.mono + 1000)
		assert.same({ 1, 1 }, counts())
		snapshots.wait(kept.at_stop, kept, t.mono + 1000)
		assert.same({ 1, 1 }, counts())
		t:fill(store, "b", 3)
		snapshots.wait(kept.at_stop, kept, t.mono)
		assert.truthy(t:logged("stopping before the sealed snapshot is written"))
		wait.until_true("the end of writing", function() return not kept.saving and #t:files("manifest") == 2 end)
	end)
end)
