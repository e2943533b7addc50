local files = require("kms.base.files")
local uv = require("luv")

describe("files", function()
	local dir, path

	before_each(function()
		dir = assert(uv.fs_mkdtemp((os.getenv("TMPDIR") or "/tmp") .. "/nova-kms-files-XXXXXX"))
		path = dir .. "/data.lua"
	end)
	after_each(function() os.execute("rm -rf '" .. dir .. "'") end)

	local function write(text)
		local file <close> = assert(io.open(path, "wb"))
		file:write(text)
	end

	it("reads back what it wrote, also awkward texts and nesting", function()
		local data = { a = { ["b c"] = 1, ["1/2"] = true }, text = 'quote " back \\ new\nline \0 nul', n = -5, t = {} }
		assert.is_true(files.save_table(path, "-- a header\n", data))
		assert.same(data, files.load_table(path))
	end)

	it("writes files that only the owner can read, and leaves no other file behind", function()
		assert(files.save_table(path, "", { 1 }))
		assert.equal(384, uv.fs_stat(path).mode & 511)
		assert.is_nil(uv.fs_stat(path .. ".new"))
	end)

	it("says what is wrong with a file, and runs nothing of it", function()
		for text, want in pairs({
			["return {"] = "data.lua:1:",
			["return 5"] = "does not return a table",
			["os.exit(3)"] = "global 'os'",
			["return { x = require('luv') }"] = "global 'require'",
			["while true do end"] = "takes too long",
			["\27Lua"] = "binary chunk",
		}) do
			write(text)
			local data, message = files.load_table(path)
			assert.is_nil(data, text)
			assert.is_truthy(message:find(want, 1, true), message)
		end
	end)

	it("takes a file of 1 MiB and none larger", function()
		local head = "return { x = 1 } --"
		write(head .. ("x"):rep((1 << 20) - #head))
		assert.same({ x = 1 }, files.load_table(path))
		write(head .. ("x"):rep((1 << 20) - #head + 1))
		local data, message = files.load_table(path)
		assert.is_nil(data)
		assert.is_truthy(message:find("larger than 1 MiB", 1, true))
	end)

	it("keeps the old file when the new one cannot be written", function()
		assert(files.save_table(path, "", { old = true }))
		assert(uv.fs_mkdir(path .. ".new", 448))
		local ok, message = files.save_table(path, "", { old = false })
		assert.is_nil(ok)
		assert.is_string(message)
		assert.same({ old = true }, files.load_table(path))
	end)

	it("has another mark after each change", function()
		assert.is_nil(files.mark(path))
		assert(files.save_table(path, "", { 1 }))
		local first = files.mark(path)
		assert(files.save_table(path, "", { 2 }))
		assert.not_equal(first, files.mark(path))
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
		assert(uv.fs_chmod(dir, 509)) -- 0775: the user's own group
		assert.is_true(files.check_dir(dir))
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
end)
