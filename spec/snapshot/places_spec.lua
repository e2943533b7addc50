-- Places for sealed snapshots that are servers: what each of them must do.

local native = require("spec.support.native")
local odyn_storage = require("spec.support.odyn_storage")
local s3_server = require("spec.support.s3_server")
local snapshots = require("spec.support.snapshots")
local wait = require("spec.support.wait")

-- By what the place is: its server { objects (name -> bytes), status, hangs, page, place() }, and what the failure of a
-- listing with a status is called.
local PLACES = {
	["in a bucket"] = {
		server = s3_server,
		says = function(status) return ("the bucket's server answers with HTTP %d SlowDown"):format(status) end,
	},
	["in the platform's storage"] = {
		server = odyn_storage,
		says = function(status) return ("Odyn POST /v1/s3/list: HTTP status %d"):format(status) end,
	},
}

for where, kind in pairs(PLACES) do
	describe("a place " .. where, function()
		local t, server, place

		before_each(function()
			t = snapshots.new()
			server = kind.server.start()
			place = server:place()
			t.place = place
		end)
		after_each(function()
			server:stop()
			t:close()
		end)

		local function at(number) return snapshots.WALLETS[number or 1] end

		-- Calls a method of the secret's place.
		local function call(method, ...)
			local here = place(t.secret)
			return snapshots.wait(here[method], here, ...)
		end

		local function write(sequence, what, text)
			local body = native.text_body(text)
			return call("write", at(), sequence, what, body, native.hex_encode(native.sha256(text)))
		end

		-- Restores into a new store. Returns the store | nil, message.
		local function restore(older)
			local to = snapshots.store(at(3))
			local ok, message = snapshots.wait(function() return t:restore(to, older):run(t.secret) end)
			return ok and to, message
		end

		-- The names of objects with a pattern, sorted.
		local function names(pattern)
			local list = {}
			for name in pairs(server.objects) do
				if name:find(pattern) then list[#list + 1] = name end
			end
			table.sort(list)
			return list
		end

		it("writes once, lists, reads and removes", function()
			assert.same({}, call("list"))
			assert.is_true(write(5, "records", "five"))
			assert.is_true(write(6, "manifest", "six"))
			assert.is_true(write(4, "manifest", "four"))
			assert.same({ nil, "there is such a file", "ERR_STATE" }, { write(6, "manifest", "again") })
			assert.same({ [at()] = { manifests = { 4, 6 }, records = { [5] = true }, unfinished = {} } }, call("list"))
			assert.equal("six", (function()
				local body = call("read", at(), 6, "manifest")
				return body:slice(1, body:len())
			end)())
			assert.same({ nil, "file does not exist", "ERR_FILE_MISSING" }, { call("read", at(), 7, "manifest") })
			assert.is_true(call("remove", at(), 6, "manifest"))
			assert.is_true(call("remove", at(), 6, "manifest"))
			assert.same({ 4 }, call("list")[at()].manifests)
			local body = native.text_body("a share")
			local hash = native.hex_encode(native.sha256("a share"))
			assert.is_true(call("write_beside", "x-1.age", body, hash))
			assert.equal("ERR_STATE", select(3, call("write_beside", "x-1.age", body, hash)))
			assert.same({ 4 }, call("list")[at()].manifests)
		end)

		it("lists page after page", function()
			for i = 1, 7 do assert.is_true(write(i, "manifest", "x")) end
			server.page = 2
			assert.same({ 1, 2, 3, 4, 5, 6, 7 }, call("list")[at()].manifests)
		end)

		it("saves and restores like a folder, with files of many chunks", function()
			local kept, store = t:saved(1, "a", 3)
			t:fill(store, "b", 2)
			assert.is_true(t:save(kept))
			t:saved(2, "c", 1)
			assert.equal("a1 a2 a3 b1 b2 c1", t:keys(assert(restore())))
			local text = ("0123456789abcdef"):rep(1 << 18) -- 4 MiB
			assert.is_true(write(9, "records", text))
			local body = call("read", at(), 9, "records")
			assert.equal(#text, body:len())
			assert.equal(text, body:slice(1, body:len()))
		end)

		it("uses the next older state where a file is cut, swapped, of another cluster, or gone", function()
			local function fill()
				for _, name in ipairs(names("")) do server.objects[name] = nil end
				local kept, store = t:saved(1, "old", 2)
				t:pass(1000)
				t:fill(store, "new", 1)
				assert.is_true(t:save(kept))
				t:pass(1000)
				local files = names("%.snap$")
				assert.equal(2, #files)
				return files[1], files[2]
			end
			local foreign = snapshots.new()
			foreign.place = place
			foreign:saved(1, "foreign", 1)
			local theirs = server.objects[names("%.snap$")[1]]
			for _, case in ipairs({
				{ "chunk 0: ", function(_, newest) server.objects[newest] = server.objects[newest]:sub(1, -2) end },
				{ "chunk 0: ", function(oldest, newest) server.objects[newest] = server.objects[oldest] end },
				{ "chunk 0: ", function(_, newest) server.objects[newest] = theirs end },
				{ "", function(_, newest) server.objects[newest] = "" end },
				{ "file does not exist", function(_, newest) server.objects[newest] = nil end },
			}) do
				t.lines = {}
				t.log = snapshots.log(t.lines)
				case[2](fill())
				local to, message = restore()
				assert.equal("old1 old2", t:keys(assert(to, message)))
				local why = t:logged("a file of a sealed snapshot is not usable").reason
				assert.truthy(why:find(case[1], 1, true), why)
				assert.truthy(t:logged("an older sealed snapshot is used"))
			end
			foreign:close()
		end)

		it("restores nothing where no file is whole, or the newest manifest was taken away", function()
			t:saved(1, "a", 2)
			t:pass(1000)
			t:saved(2, "b", 2)
			local newest = names(at(1) .. "/%d+%.manifest$")[1]
			local bytes = server.objects[newest]
			server.objects[newest] = nil
			local to, message = restore()
			assert.falsy(to)
			assert.truthy(message:find("the newest manifest of " .. at(1) .. " is older than the one that " .. at(2), 1, true),
				message)
			server.objects[newest] = bytes
			assert.equal("a1 a2 b1 b2", t:keys(assert(restore())))
			for _, name in ipairs(names("snap$")) do server.objects[name] = server.objects[name]:sub(1, -2) end
			to, message = restore()
			assert.falsy(to)
			assert.truthy(message:find("no sealed snapshot is whole", 1, true))
		end)

		it("fails with the server's status, and neither writes nor restores then", function()
			local kept, store = t:saved(1, "a", 3)
			t:fill(store, "b", 2)
			server.status = 503
			assert.same({ nil, kind.says(503) }, { t:save(kept) })
			local to = snapshots.store(at(3))
			local restoring = t:restore(to)
			local ok, message = snapshots.wait(restoring.run, restoring, t.secret)
			assert.same({ nil, "sealed snapshots are not restored: " .. kind.says(503) }, { ok, message })
			server.status = nil
			assert.is_true(t:save(kept))
			assert.is_true(snapshots.wait(restoring.run, restoring, t.secret))
			assert.equal("a1 a2 a3 b1 b2", t:keys(to))
		end)

		it("holds the end of the process up no longer than the deadline when the server hangs", function()
			local kept, store = t:saved(1, "a", 3)
			t:fill(store, "b", 2)
			server.hangs = true
			snapshots.wait(kept.at_stop, kept, t.mono)
			assert.truthy(t:logged("stopping before the sealed snapshot is written"))
			assert.is_true(kept.saving)
			assert.same({ nil, "a sealed snapshot is being written" }, { t:save(kept) })
			server.hangs = false
			wait.until_true("the end of writing", function() return not kept.saving end)
			assert.is_false(kept:is_behind())
		end)

		it("does not take an object that cannot be read now for a bad one", function()
			t:saved(1, "a", 3)
			local here = place(t.secret)
			local methods = getmetatable(here).__index
			local list = methods.list
			methods.list = function(...)
				local listing = list(...)
				server.status = 500
				return listing
			end
			finally(function() methods.list = list end)
			local to, message = restore()
			assert.falsy(to)
			assert.truthy(message:find("HTTP", 1, true) and message:find("500", 1, true), message)
			assert.is_nil(t:logged("a manifest of a sealed snapshot is not usable"))
		end)

		it("passes junk over, of which there may be much", function()
			t:saved(1, "a", 2)
			local prefix = names("manifest$")[1]:match("^(.*/)0x")
			for i = 1, 10000 do server.objects[("%sjunk/%05d"):format(prefix, i)] = "x" end
			server.objects[prefix .. "0x" .. ("g"):rep(40) .. "/" .. ("0"):rep(20) .. ".manifest"] = "x"
			server.objects[prefix .. at(2) .. "/" .. ("9"):rep(20) .. ".manifest"] = "beyond what numbers hold"
			local kept, store = t:saved(2, "b", 1)
			t:fill(store, "c", 1)
			assert.is_true(t:save(kept))
			assert.equal("a1 a2 b1 c1", t:keys(assert(restore())))
		end)
	end)
end
