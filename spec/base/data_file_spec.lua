local data_file = require("kms.base.data_file")
local files = require("kms.base.files")
local loopback = require("spec.support.loopback")
local spec_files = require("spec.support.files")
local uv = require("luv")

describe("data_file", function()
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

	local function fails(text, want)
		write(text)
		local data, message = data_file.read(path)
		assert.is_nil(data, text)
		assert.equal(path .. want, message:sub(1, #path + #want))
		assert.is_nil(message:find("%c"), "not one line: " .. message)
		assert.equal("x", ("X"):lower()) -- string methods are back
		assert.is_nil(debug.gethook())
	end

	it("reads back what it wrote, also awkward texts and nesting", function()
		local data = { a = { ["b c"] = 1, ["1/2"] = true }, text = 'quote " back \\ new\nline \0 nul', n = -5, t = {} }
		assert.is_true(data_file.write(path, "-- a header\n", data))
		assert.same(data, data_file.read(path))
	end)

	it("computes, but reaches nothing", function()
		write("local day = 24 * 3600 return { week = 7 * day, name = 'a' .. 'b' }")
		assert.same({ week = 604800, name = "ab" }, data_file.read(path))
		fails("os.exit(3)", ":1: 'os' is not known here: the file returns one table")
		fails("\nreturn { x = require('luv') }", ":2: 'require' is not known here")
		fails("x = 1", ":1: 'x' is not known here")
	end)

	it("names the line of what is wrong", function()
		fails("return {\nA = = 2 }", ":2: ")
		fails("\nlocal x = nil + 1", ":2: attempt to perform arithmetic")
		fails("return 5", ": it does not return a table")
		fails(string.dump(function() end), ": attempt to load a binary chunk")
	end)

	it("masks what may be a key", function()
		fails("return { 0" .. ("c0ffee42"):rep(8) .. "z }", ":1: malformed number near '***")
	end)

	it("stops a file that runs too long or takes too much memory", function()
		fails("while true do end", ":1: it runs too long")
		fails("local function f() return f() end f()", ":1: it runs too long")
		fails("local s = 'aaaaaaaaaaaaaaaa' while true do s = s .. s end", ":1: it needs too much memory")
		fails("local t = {} for i = 1, 100000 do t[i] = {} end return t", ":1: it needs too much memory")
	end)

	-- In a process that can be ended: a string method is one instruction, which no hook interrupts.
	it("gives strings no methods, so that a pattern of one line cannot run for ever", function()
		write("return { x = (('a'):rep(1 << 20)):find(('.-'):rep(40) .. 'b') }")
		local output, status = loopback.child(("print(select(2, require('kms.base.data_file').read(%q)))"):format(path))
		assert.equal(0, status)
		assert.matches(":1: attempt to index a string value", output)
	end)

	it("reads in a coroutine as outside of one", function()
		write("while true do end")
		local message
		coroutine.wrap(function() message = select(2, data_file.read(path)) end)()
		assert.matches("it runs too long", message)
	end)

	it("reads files up to 1 MiB, or up to the size that the caller gives", function()
		local head = "return { x = 1 } --"
		write(head .. ("x"):rep((1 << 20) - #head))
		assert.same({ x = 1 }, data_file.read(path))
		fails(head .. ("x"):rep((1 << 20) - #head + 1), ": is larger than 1024 KiB")
		write(head)
		assert.same({ x = 1 }, data_file.read(path, { max_bytes = #head }))
		assert.is_nil(data_file.read(path, { max_bytes = #head - 1 }))
	end)

	it("reads the densest file of 1 MiB", function()
		write("return {" .. ("{},"):rep(349000) .. "}")
		assert.equal(349000, #assert(data_file.read(path)))
	end)

	it("refuses what is not a regular file, without opening it", function()
		local data, message, code = data_file.read(path)
		assert.same({ path .. ": cannot be read: no such file or directory", "ENOENT" }, { message, code })
		assert.is_nil(data)
		assert.equal(dir .. ": is not a file", select(2, data_file.read(dir)))
		assert(os.execute(("mkfifo '%s'"):format(path)))
		assert.equal(path .. ": is not a file", select(2, data_file.read(path)))
	end)

	it("writes files that only the owner can read, and leaves no other file behind", function()
		assert(data_file.write(path, "", { 1 }))
		assert.equal(384, uv.fs_stat(path).mode & 511)
		assert.same({ path:match("[^/]*$") }, files.list(path:match("^(.*)/")))
	end)

	it("keeps the old file when the disk takes only a part of the new one", function()
		assert(data_file.write(path, "", { old = true }))
		local fs_write = uv.fs_write
		finally(function() uv.fs_write = fs_write end)
		function uv.fs_write(fd, bytes, at) return fs_write(fd, bytes:sub(1, -2), at) end
		assert.same({ nil, "the disk took only a part of it" }, { data_file.write(path, "", { old = false }) })
		assert.same({ old = true }, data_file.read(path))
		assert.same({ path:match("[^/]*$") }, files.list(path:match("^(.*)/")))
	end)

	it("keeps the old file when the new one cannot be written", function()
		assert(data_file.write(path, "", { old = true }))
		local rename = uv.fs_rename
		finally(function() uv.fs_rename = rename end)
		function uv.fs_rename() return nil, "no space left on device" end
		assert.same({ nil, "no space left on device" }, { data_file.write(path, "", { old = false }) })
		assert.same({ old = true }, data_file.read(path))
		assert.same({ path:match("[^/]*$") }, files.list(path:match("^(.*)/")))
	end)
end)
