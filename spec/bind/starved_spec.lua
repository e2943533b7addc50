-- What bindings hold while Lua runs out of memory: a throw must not leave it behind.

local crypto = require("spec.support.crypto")
local files = require("spec.support.files")
local native = require("spec.support.native")
local uv = require("luv")

describe("a binding in a Lua without memory", function()
	local dir, key, fd

	setup(function()
		dir, key = files.temp_dir(), assert(native.recovery_key())
		files.write(dir .. "/file", ("x"):rep(83))
		fd = assert(uv.fs_open(dir .. "/file", "r", 0))
	end)

	teardown(function()
		uv.fs_close(fd)
		files.remove_dir(dir)
	end)

	-- Calls f with 0, 1, 2, ... allocations until it ends.
	local function check(f)
		f() -- what is made once and kept
		collectgarbage()
		local _, before = native.guarded()
		for n = 0, 100 do
			local ended = crypto.starved(n, f)
			collectgarbage()
			local _, after = native.guarded()
			assert.equal(before, after, ("%d allocations"):format(n))
			if ended then return end
		end
		error("never ends")
	end

	it("holds no share that it reads from a file", function()
		check(function() native.recovery_read_share(fd) end)
	end)

	it("holds no challenge that it reads from a file", function()
		check(function() native.recovery_read_challenge(fd, "0x" .. ("11"):rep(20), 1) end)
	end)

	it("holds no secret that it decrypts and that is no share", function()
		local random, wallet = native.secret_random(32), "0x" .. ("11"):rep(20)
		local recipient = assert(native.age_recipient(key:recipient()))
		local file = assert(native.recovery_challenge(random, wallet, 1, 0, nil, recipient))
		check(function() key:open_share(file) end)
	end)
end)
