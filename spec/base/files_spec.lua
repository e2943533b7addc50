local files = require("kms.base.files")
local spec_files = require("spec.support.files")
local uv = require("luv")
local wait = require("spec.support.wait")

describe("files", function()
	local dir, path

	before_each(function()
		dir = spec_files.temp_dir()
		path = dir .. "/data.lua"
	end)
	after_each(function() spec_files.remove_dir(dir) end)

	local function write(text)
		local file <close> = assert(io.open(path, "wb"))
		file:write(text)
	end

	it("reads a regular file of bounded size that the caller does not refuse", function()
		write("abc")
		assert.equal("abc", files.read(path, 3))
		write(("a"):rep(1025))
		assert.same({ nil, "is larger than 1 KiB" }, { files.read(path, 1024) })
		assert.same({ nil, "is not mine" }, { files.read(path, 2048, function() return "is not mine" end) })
		assert.same({ nil, "is not a file" }, { files.read(dir, 3) })
		assert.same({ nil, "cannot be read: no such file or directory", "ENOENT" }, { files.read(dir .. "/none", 3) })
	end)

	it("removes new files that a crash left, and nothing else", function()
		local kept = {
			"a.new", "a.00112233445566.new", "a.0011223344556677.new.bak", ".0011223344556677.new", "a.new.x", "chain.lua",
		}
		local left = { "a.0011223344556677.new", "seed.new.123" }
		for _, names in ipairs({ kept, left }) do
			for _, name in ipairs(names) do assert(io.open(dir .. "/" .. name, "w")):close() end
		end
		assert(uv.fs_mkdir(dir .. "/b.0011223344556677.new", 448))
		kept[#kept + 1] = "b.0011223344556677.new"
		table.sort(kept)
		files.remove_unfinished(dir, 3600)
		assert.equal(#kept + #left, #files.list(dir))
		assert(uv.fs_utime(dir .. "/" .. left[1], os.time() - 3601, os.time() - 3601))
		files.remove_unfinished(dir, 3600)
		assert.equal(#kept + 1, #files.list(dir))
		files.remove_unfinished(dir, 0)
		assert.same(kept, files.list(dir))
	end)

	it("gives a file another version after each change", function()
		assert.is_nil(files.version(path))
		write("a")
		local first = files.version(path)
		write("bc")
		local second = files.version(path)
		assert.not_equal(first, second)
		-- Within one tick of the file system's clock nothing is seen.
		wait.until_true("another version for another mode", function()
			assert(uv.fs_chmod(path, 416))
			return files.version(path) ~= second
		end)
	end)

	it("gives a folder another version when entries come and go", function()
		local first = files.version(dir)
		wait.until_true("another version", function()
			write("a")
			os.remove(path)
			return files.version(dir) ~= first
		end)
	end)

	it("makes folders with their parents, closed to others, and accepts those that are there", function()
		assert.is_true(files.make_dir(dir .. "/a/b/c"))
		assert.is_true(files.make_dir(dir .. "/a/b/c"))
		assert.equal(448, uv.fs_stat(dir .. "/a/b/c").mode & 511)
		write("")
		local ok, message = files.make_dir(path)
		assert.is_nil(ok)
		assert.is_truthy(message:find("is not a folder", 1, true))
		ok, message = files.make_dir(path .. "/below")
		assert.is_nil(ok)
		assert.is_string(message)
	end)

	it("trusts a folder that only its user can fill", function()
		assert.is_true(files.check_dir(dir))
		assert(uv.fs_chmod(dir, 493)) -- 0755
		assert.is_true(files.check_dir(dir))
		assert(uv.fs_chmod(dir, 509)) -- 0775
		assert.is_truthy(select(2, files.check_dir(dir)):find("can be written by its group", 1, true))
		for _, mode in ipairs({ 511, 1023 }) do -- 0777, also with the sticky bit
			assert(uv.fs_chmod(dir, mode))
			local ok, message = files.check_dir(dir)
			assert.is_nil(ok)
			assert.is_truthy(message:find("every user", 1, true))
		end
		assert(uv.fs_chmod(dir, 448))
		if uv.getuid() == 0 then
			assert(uv.fs_chown(dir, 65534, 65534))
			assert.is_truthy(select(2, files.check_dir(dir)):find("another user", 1, true))
		end
		assert.is_nil(files.check_dir(dir .. "/none"))
	end)

	it("shows each entry of a folder once, or as many as are wanted, and keeps no memory of it", function()
		local wanted = {}
		for i = 1, 150 do
			wanted[i] = ("name %03d"):format(i)
			spec_files.write(dir .. "/" .. wanted[i], "")
		end
		assert.same(wanted, files.list(dir))
		assert.same({}, files.list(dir .. "/missing"))
		local seen = 0
		local function some() seen = seen + 1 return seen == 70 end
		files.each(dir, some)
		assert.equal(70, seen)
		local function kib()
			collectgarbage()
			collectgarbage()
			return collectgarbage("count")
		end
		local before = kib()
		for _ = 1, 1000 do files.list(dir .. "/missing") end
		for _ = 1, 200 do files.each(dir, function() return true end) end
		assert.is_true(kib() - before < 100, kib() - before)
	end)
end)
