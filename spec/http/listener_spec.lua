-- kms.http.listener: a Unix socket that is never there with other rights than its owner's, replaces only
-- what nobody listens on, and names its callers.

require("spec.support.native")

local uv = require("luv")
local files = require("spec.support.files")
local http = require("spec.support.http")
local listener = require("kms.http.listener")
local wait = require("spec.support.wait")

describe("kms.http.listener", function()
	local dir, path, open

	before_each(function()
		dir, open = files.temp_dir(), {}
		path = dir .. "/s.sock"
	end)

	after_each(function()
		for _, one in ipairs(open) do pcall(one.close, one) end
		uv.run("nowait")
		files.remove_dir(dir)
	end)

	local function listen(at)
		local made, message = listener.unix(at or path)
		if not made then return nil, message end
		open[#open + 1] = made
		return made
	end

	local function connect()
		local client, failure = uv.new_pipe(false), nil
		client:connect(path, function(message) failure = message or "connected" end)
		wait.until_true("the failure", function() return failure end)
		return client, failure
	end

	it("has mode 0600 before anybody can connect, and is gone when closed", function()
		local made = assert(listen())
		local stat = uv.fs_lstat(path)
		assert.equal("socket", stat.type)
		assert.equal(384, stat.mode & 4095)
		assert.is_nil(uv.fs_lstat(path .. ".new"))
		local client, outcome = connect()
		assert.equal("ECONNREFUSED", outcome)
		http.close(client)
		made:close()
		assert.is_nil(uv.fs_lstat(path))
	end)

	it("names who connects", function()
		local made, caller = assert(listen()), nil
		made.handle:listen(1, function()
			local client, address
			client, address, caller = made:accept()
			assert(address == "unix")
			client:close()
		end)
		local client, outcome = connect()
		assert.equal("connected", outcome)
		wait.until_true("the caller", function() return caller end)
		assert.same({ uid = uv.getuid(), pid = uv.os_getpid() }, caller)
		http.close(client)
	end)

	it("replaces a socket that nobody listens on", function()
		local stale = assert(uv.new_pipe(false))
		assert(stale:bind(dir .. "/other"))
		assert(uv.fs_rename(dir .. "/other", path)) -- so that closing leaves it
		http.close(stale)
		assert.equal("socket", uv.fs_lstat(path).type)
		assert.truthy(listen())
	end)

	it("leaves a socket that somebody listens on, and whatever is none", function()
		local made = assert(listen())
		made.handle:listen(1, function() end)
		local other, message = listen()
		assert.is_nil(other)
		assert.truthy(message:find("another process listens there", 1, true), message)
		local file = dir .. "/file"
		files.write(file, "kept")
		other, message = listen(file)
		assert.is_nil(other)
		assert.truthy(message:find("is not a socket", 1, true), message)
		assert.equal("kept", files.read(file))
		assert(uv.fs_symlink(file, dir .. "/link"))
		assert.is_nil((listen(dir .. "/link")))
		assert.equal("kept", files.read(file))
	end)

	it("does not remove a socket that has taken its place", function()
		local made = assert(listen())
		assert(uv.fs_unlink(path))
		files.write(path, "another one's")
		made:close()
		assert.equal("another one's", files.read(path))
	end)

	it("refuses a folder that others can write to, one that is not there, and a path that is too long", function()
		assert(uv.fs_chmod(dir, 511))
		local made, message = listen()
		assert.is_nil(made)
		assert.truthy(message:find("written by every user", 1, true), message)
		assert(uv.fs_chmod(dir, 448))
		assert.is_nil((listen(dir .. "/missing/s.sock")))
		made, message = listen(dir .. "/" .. ("x"):rep(120))
		assert.is_nil(made)
		assert.truthy(message:find("longer than", 1, true), message)
	end)
end)
