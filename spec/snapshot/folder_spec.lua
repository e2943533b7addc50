-- kms.snapshot.folder where the folder's owner is hostile: links, FIFOs, huge files, files that change.

local files = require("spec.support.files")
local native = require("spec.support.native")
local nodes = require("spec.support.node")
local snapshots = require("spec.support.snapshots")
local uv = require("luv")

local manifests = require("kms.snapshot.manifest")

local MANIFEST = "%020d.manifest"

describe("kms.snapshot.folder", function()
	local t, elsewhere

	before_each(function()
		t, elsewhere = snapshots.new(), files.temp_dir()
	end)
	after_each(function()
		t:close()
		files.remove_dir(elsewhere)
	end)

	local function at(number) return snapshots.WALLETS[number] end

	local function call(method, ...)
		local here = t.place(t.secret)
		return snapshots.wait(here[method], here, ...)
	end

	local function restore()
		local to = snapshots.store(at(3))
		local ok, message = snapshots.wait(function() return t:restore(to):run(t.secret) end)
		return ok and t:keys(to), message
	end

	local function names(path)
		return require("kms.base.files").list(path)
	end

	local function fifo(path)
		assert.equal(0, (nodes.run({ path }, { program = "/usr/bin/mkfifo", env = {} })))
	end

	it("follows no link of a wallet's folder: nothing outside is listed, read, written or removed", function()
		t:saved(1, "a", 2)
		local kept = t:saved(2, "b", 2)
		-- Everything of wallet 2 is elsewhere now, behind a link.
		assert(uv.fs_rename(t:folder(2), elsewhere .. "/there"))
		assert(uv.fs_symlink(elsewhere .. "/there", t:folder(2)))
		local before = names(elsewhere .. "/there")
		assert.same({ [at(1)] = true }, (function()
			local seen = {}
			for wallet in pairs(call("list")) do seen[wallet] = true end
			return seen
		end)())
		local sequence = tonumber(before[#before]:match("^%d+"))
		assert.equal("ERR_FILE_FORMAT", select(3, call("read", at(2), sequence, "manifest")))
		assert.equal("ERR_FILE_FORMAT", select(3, call("write", at(2), 7, "manifest", native.text_body("x"))))
		assert.equal("ERR_FILE_FORMAT", select(3, call("remove", at(2), sequence, "manifest")))
		local ok, message = t:save(kept)
		assert.is_nil(ok)
		assert.truthy(message:find(at(2) .. " is no folder of its own", 1, true), message)
		assert.same(before, names(elsewhere .. "/there"))
	end)

	it("follows no link of the secret's folder", function()
		local kept = t:saved(1, "a", 2)
		local path = t:folder(1):match("^(.*)/")
		assert(uv.fs_rename(path, elsewhere .. "/there"))
		assert(uv.fs_symlink(elsewhere .. "/there", path))
		local _, message = call("list")
		assert.truthy(message:find("is no folder of its own", 1, true), message)
		assert.is_nil((t:save(kept)))
		local keys
		keys, message = restore()
		assert.falsy(keys)
		assert.truthy(message:find("is no folder of its own", 1, true), message)
	end)

	it("may be named by a link itself", function()
		assert(uv.fs_symlink(t.dir, elsewhere .. "/link"))
		t.place = assert(require("kms.snapshot.folder").open(elsewhere .. "/link"))
		t:saved(1, "a", 2)
		assert.equal("a1 a2", restore())
	end)

	it("takes links, FIFOs, folders and devices for bad files, and waits for none of them", function()
		t:saved(1, "a", 2)
		local function spoil(make)
			local path = ("%s/" .. MANIFEST):format(t:folder(1), 1800000000000)
			make(path)
			t.lines, t.log = {}, snapshots.log({})
			assert.equal("a1 a2", restore())
			uv.fs_unlink(path)
			uv.fs_rmdir(path)
		end
		files.write(elsewhere .. "/file", "x")
		spoil(function(path) assert(uv.fs_symlink(elsewhere .. "/file", path)) end)
		spoil(function(path) assert(uv.fs_symlink("/dev/zero", path)) end)
		spoil(fifo)
		spoil(function(path) assert(uv.fs_mkdir(path, 448)) end)
	end)

	it("passes FIFOs, files and links over that are named like wallets", function()
		t:saved(1, "a", 2)
		fifo(t:folder(2))
		files.write(t:folder(3), "x")
		local other = t:folder(1):gsub("%x$", "2")
		assert(uv.fs_symlink("/dev", other))
		assert.equal("a1 a2", restore())
		local kept = t:keeper(snapshots.store(at(1)), 1)
		assert.is_true(t:save(kept))
	end)

	it("reads no file that is larger than any snapshot, whatever it says it is", function()
		t:saved(1, "a", 2)
		local path = ("%s/" .. MANIFEST):format(t:folder(1), 1800000000000)
		local fd = assert(uv.fs_open(path, "w", 384))
		assert(uv.fs_ftruncate(fd, 10 << 30))
		uv.fs_close(fd)
		assert.equal("ERR_TOO_LARGE", select(3, call("read", at(1), 1800000000000, "manifest")))
		assert.equal("a1 a2", restore())
	end)

	it("takes files that change while they are read for bad ones, or reads one state of them", function()
		t:saved(1, "a", 2)
		local path = t:folder(1) .. "/" .. t:files("snap", 1)[1]
		local sequence = tonumber(t:files("snap", 1)[1]:match("^%d+"))
		local bytes = files.read(path)
		files.write(elsewhere .. "/whole", bytes)
		files.write(elsewhere .. "/half", bytes:sub(1, #bytes // 2))
		local script = ("while :; do cat %s/half >%s; cat %s/whole >%s; done"):format(elsewhere, path, elsewhere, path)
		local process = nodes.spawn({ "-c", script }, { program = "/bin/sh", env = { PATH = os.getenv("PATH") } })
		finally(function()
			uv.kill(process.pid, "sigkill")
			nodes.reap(process, 60)
		end)
		local opened, refused = 0, 0
		for _ = 1, 300 do
			local body, _, code = call("read", at(1), sequence, "records")
			local file
			if body then
				file, _, code = snapshots.wait(native.snapshot_open, t.secret, "records", at(1), sequence, body)
			end
			if file then opened = opened + 1 else refused = refused + 1 end
			assert.is_true(file ~= nil or manifests.is_bad(code), code)
		end
		assert.equal(300, opened + refused)
	end)

	it("writes a full set again where somebody took files away, also where nothing changes", function()
		local kept, store = t:saved(1, "a", 2)
		assert(uv.fs_unlink(t:folder(1) .. "/" .. t:files("snap", 1)[1]))
		t:fill(store, "b", 1)
		assert.is_true(t:save(kept))
		assert.truthy(t:logged("files of this node's sealed snapshots are gone: a full set is written"))
		assert.equal("a1 a2 b1", restore())
		for _, kind in ipairs({ "snap", "manifest" }) do
			for _, name in ipairs(t:files(kind, 1)) do assert(uv.fs_unlink(t:folder(1) .. "/" .. name)) end
		end
		t:pass(3599999)
		kept:tick()
		snapshots.wait(require("kms.base.loop").sleep, 20)
		assert.same({}, t:files("manifest", 1))
		t:pass(1)
		kept:tick()
		require("spec.support.wait").until_true("a full set", function()
			return not kept.saving and #t:files("manifest", 1) == 1
		end)
		assert.equal("a1 a2 b1", restore())
	end)

	it("survives wallets and manifests that are junk", function()
		t:saved(1, "a", 2)
		local secret = t:folder(1):match("^(.*)/")
		for i = 1, 1000 do
			local wallet = ("%s/0x%040x"):format(secret, i)
			assert(uv.fs_mkdir(wallet, 448))
			files.write(("%s/" .. MANIFEST):format(wallet, 1800000000000), "NKS1junk")
		end
		local function junk(i) files.write(("%s/" .. MANIFEST):format(t:folder(1), 1800000000000 + i), "NKS1junk") end
		for i = 1, 1000 do junk(i) end
		assert.equal("a1 a2", restore())
		junk(1001)
		local keys, message = restore()
		assert.falsy(keys)
		assert.truthy(message:find("no manifest is usable", 1, true), message)
		local seen = false
		for _, line in ipairs(t.lines) do
			seen = seen or line[2].reason == "too many newer ones do not open: no older one is tried"
		end
		assert.is_true(seen)
	end)
end)
