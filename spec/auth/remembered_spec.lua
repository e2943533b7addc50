local uv = require("luv")
local files = require("spec.support.files")
local kms_files = require("kms.base.files")
local loop = require("kms.base.loop")
local loopback = require("spec.support.loopback")
local remembered = require("kms.auth.remembered")
local wait = require("spec.support.wait")
require("spec.support.native")

local function wallet(i) return ("0x%040x"):format(i) end

describe("authorised wallets", function()
	local dir, path, logged

	local function open()
		return remembered.new({ path = path, log = { limited = function(_, _, _, _, event) logged = event end } })
	end

	before_each(function()
		dir = files.temp_dir()
		path, logged = dir .. "/wallets", nil
	end)

	after_each(function() files.remove_dir(dir) end)

	it("are remembered over a restart, as hashes in a file of mode 0600", function()
		loopback.run(function()
			local list = open()
			list:add(wallet(1))
			list:add(wallet(2))
			list:remove(wallet(2))
			list:save()
		end)
		local list = open()
		assert.is_true(list:has(wallet(1)))
		assert.is_false(list:has(wallet(2)))
		assert.equal(384, uv.fs_stat(path).mode & 511)
		assert.same({ "wallets" }, kms_files.list(dir))
		assert.is_nil(files.read(path):find(wallet(1):sub(3), 1, true))
	end)

	it("are written only when they have changed", function()
		loopback.run(function()
			local list = open()
			list:save()
			assert.is_nil(uv.fs_stat(path))
			list:add(wallet(1))
			list:save()
			uv.fs_unlink(path)
			list:add(wallet(1))
			list:save()
			assert.is_nil(uv.fs_stat(path))
		end)
	end)

	it("are 10000 at the most", function()
		local list = open()
		for i = 1, 10001 do list:add(wallet(i)) end
		assert.is_false(list:has(wallet(1)))
		assert.is_true(list:has(wallet(2)) and list:has(wallet(10001)))
		loopback.run(function() list:save() end)
		assert.is_true(open():has(wallet(10001)))
	end)

	it("of a damaged, odd or missing file are none", function()
		for _, text in ipairs({ "", "return {}", "nova-kms authorised wallets 1\nshort", ("x"):rep(1 << 20) }) do
			files.write(path, text)
			assert.is_false(open():has(wallet(1)))
		end
	end)

	it("of two nodes that share the folder are each written whole: no writer meets another's new file", function()
		loopback.run(function()
			local names, open_file = {}, uv.fs_open
			uv.fs_open = function(name, ...)
				names[#names + 1] = name
				return open_file(name, ...)
			end
			finally(function() uv.fs_open = open_file end)
			local saved = 0
			for node = 1, 2 do
				local list = open()
				list:add(wallet(node))
				loop.spawn(function()
					list:save()
					saved = saved + 1
				end)
			end
			wait.until_true("both", function() return saved == 2 end)
			assert.equal(2, #names)
			assert.are_not.equal(names[1], names[2])
			assert.is_nil(logged)
			assert.same({ "wallets" }, kms_files.list(dir))
			local list = open()
			assert.is_true(list:has(wallet(1)) or list:has(wallet(2)))
		end)
	end)

	it("leave no new file behind where it cannot take the old one's place", function()
		loopback.run(function()
			local list = open()
			assert(uv.fs_mkdir(path, 448))
			list:add(wallet(1))
			list:save()
			assert.equal("cannot save the authorised wallets", logged)
			assert.same({ "wallets" }, kms_files.list(dir))
			assert(uv.fs_rmdir(path))
		end)
	end)

	it("that cannot be written are logged, and tried again", function()
		loopback.run(function()
			local list = open()
			files.remove_dir(dir)
			list:add(wallet(1))
			list:save()
			assert.equal("cannot save the authorised wallets", logged)
			assert(uv.fs_mkdir(dir, 448))
			list:save()
			assert.is_true(open():has(wallet(1)))
		end)
	end)
end)
