--- Policies replaced while a node runs.

local files = require("spec.support.files")
local native = require("spec.support.native")
local policy_kit = require("spec.support.policy_kit")
local uv = require("luv")
local wait = require("spec.support.wait")

local SHIPPED = policy_kit.SHIPPED
local FACTS = policy_kit.FACTS

describe("reloading policies", function()
	local kit

	local function write(name, text) kit:write(name, text) end
	local function open(options) return kit:open(options) end

	before_each(function() kit = policy_kit.new() end)
	after_each(function() kit:remove() end)

	it("swaps at once, and keeps the old set on any mistake", function()
		local p = assert(open())
		local first = p:status()
		assert.same({ "start", 1 }, { first.by, first.api })
		for _, bad in ipairs({ "return {", "error('x')", "while true do end",
			"return { derive = function() error('x') end }",
			"return { derive = function() local s = ('x'):rep(1 << 30) end }", "return { derivee = 1 }", "return 1" }) do
			write("access", bad)
			local ok, mistakes = p:reload("command")
			assert.is_nil(ok)
			assert.matches("/access%.lua", mistakes[1])
			local status = p:status()
			assert.same({ first.hash, first.since_ms, "start" }, { status.hash, status.since_ms, status.by })
			assert.same({ "command", mistakes[1] }, { status.last_error.by, status.last_error.first })
			assert.is_true(p:derive(FACTS))
		end
		write("access", "return { derive = function() return false end }")
		kit.now_ms = kit.now_ms + 5
		assert.same({ true, true }, { p:reload("signal") })
		local status = p:status()
		assert.is_true(status.hash ~= first.hash)
		assert.same({ kit.now_ms, "signal" }, { status.since_ms, status.by })
		assert.is_nil(status.last_error)
		assert.equal(403, p:derive(FACTS).status)
		assert.same({ true, false }, { p:reload("signal") })
		assert.equal(10, #p:history())
	end)

	it("keeps the old set where the files load once and not a second time", function()
		local loads = -100 -- of access.lua: the third from 0 on is the last one that is whole
		local fake = setmetatable({
			policy_vm = function(options)
				local vm = native.policy_vm(options)
				return setmetatable({
					load = function(_, name, text)
						if name == "access" then loads = loads + 1 end
						if loads >= 3 and name == "sync" then return nil, "sync.lua:7: it runs too long" end
						return vm:load(name, text)
					end,
					memory = function() return 4, 4 end,
				}, { __index = function(_, method) return function(_, ...) return vm[method](vm, ...) end end })
			end,
		}, { __index = native })
		write("access", "return { derive = function(r) local s = 'x' "
			.. "while r.path == 'q' do s = s .. s end return { status = 429 } end }")
		local p = assert(open({ native = fake }))
		loads = 1
		write("access", "return { derive = function() return false end }")
		local ok, errors = p:reload("command")
		assert.is_nil(ok)
		assert.same({ SHIPPED .. "/sync.lua:7: it runs too long" }, errors)
		assert.equal(errors[1], p:status().last_error.first)
		assert.equal(429, p:derive(FACTS).status)
		-- A set that has filled its memory stays in force when it cannot be restarted.
		assert.is_true(p:derive({ app_id = "7", path = "q" }).failed)
		assert.equal("policies cannot start anew", kit.lines[#kit.lines].event)
		assert.equal(429, p:derive({ app_id = "8", path = "p" }).status)
	end)

	it("notices files that change, once each", function()
		local p = assert(open())
		assert.same({ true, false }, { p:poll() })
		write("access", "return { derive = function() return false end }")
		assert.same({ true, true }, { p:poll() })
		assert.same({ true, false }, { p:poll() })
		write("access", "return {")
		assert.is_nil(p:poll())
		assert.same({ true, false }, { p:poll() })
		assert.equal(403, p:derive(FACTS).status)
		write("access", "return { derive = function() return true end }")
		assert.same({ true, true }, { p:poll() })
	end)

	describe("with a mistake that no edit of a policy file ends", function()
		-- Polls until the set is taken again. What happens within one tick of the file system's clock is not seen.
		local function assert_mended(p, mend)
			assert.same({ true, false }, { p:poll() }) -- the same mistake is not looked for again
			wait.until_true("the mended set", function()
				mend()
				return p:poll() and not p:status().last_error
			end)
			assert.same({ true, false }, { p:poll() })
		end

		before_each(function() write("access", "return { derive = function() return false end }") end)

		it("is read again when the mode of a file is right", function()
			local p = assert(open())
			wait.until_true("the mistake", function()
				assert(uv.fs_chmod(kit.dir .. "/access.lua", 438)) -- 0666
				return not p:poll()
			end)
			assert.matches("access%.lua: can be written by every user", p:status().last_error.first)
			assert_mended(p, function() assert(uv.fs_chmod(kit.dir .. "/access.lua", 384)) end)
		end)

		it("is read again when the mode of the folder is right", function()
			local p = assert(open())
			assert(uv.fs_chmod(kit.dir, 511)) -- 0777
			assert.is_nil(p:reload("signal"))
			assert.matches("can be written by every user", p:status().last_error.first)
			assert_mended(p, function() assert(uv.fs_chmod(kit.dir, 448)) end)
		end)

		it("is read again when a file that is no policy has gone", function()
			local p = assert(open())
			write("acess", "return {}")
			assert.is_nil(p:reload("signal"))
			assert.matches("acess%.lua: is no policy file", p:status().last_error.first)
			assert_mended(p, function()
				write("acess", "return {}")
				os.remove(kit.dir .. "/acess.lua")
			end)
		end)
	end)

	it("causes no event by which its folder is looked at again", function()
		local p = assert(open())
		write("access", "return {")
		local names = {}
		local event = assert(uv.new_fs_event())
		assert(event:start(kit.dir, {}, function(_, name) names[name] = true end))
		p:poll()
		assert.is_nil(p:reload("command"))
		files.write(kit.dir .. "/mark", "") -- events come in order
		wait.until_true("the mark", function() return names.mark end)
		event:close()
		assert.same({ mark = true, ["mark.tmp"] = true }, names)
	end)

	describe("whose file or folder disappears", function()
		local p, hash

		before_each(function()
			write("access", "return { derive = function() return false end }")
			p = assert(open())
			hash = p:hash()
		end)

		-- Neither a look at the files nor a signal puts the shipped policies in force.
		local function assert_old_stays(pattern)
			for _, by in ipairs({ "file", "signal" }) do
				local ok, lines
				if by == "file" then ok, lines = p:poll() else ok, lines = p:reload(by) end
				assert.is_nil(ok)
				assert.matches(pattern, table.concat(lines, "\n"))
				assert.equal(403, p:derive(FACTS).status)
				assert.equal(hash, p:hash())
				assert.same({ by, lines[1] }, { p:status().last_error.by, p:status().last_error.first })
				assert.equal("policies not taken: the old ones stay", kit.lines[#kit.lines].event)
			end
		end

		it("keeps the old set when a file is gone, until it is back", function()
			os.remove(kit.dir .. "/access.lua")
			assert_old_stays("/access%.lua: is gone")
			write("access", "return { derive = function() return false end }")
			assert.same({ true, false }, { p:poll() })
			assert.is_nil(p:status().last_error)
		end)

		it("keeps the old set when the folder is renamed, even by command", function()
			os.rename(kit.dir, kit.dir .. ".old")
			finally(function() os.rename(kit.dir .. ".old", kit.dir) end)
			assert_old_stays("is not a folder")
			assert.is_nil(p:reload("command"))
			assert.equal(403, p:derive(FACTS).status)
		end)

		it("keeps the old set while a link dangles, even by command", function()
			os.remove(kit.dir .. "/access.lua")
			assert(uv.fs_symlink(kit.dir .. "/nowhere", kit.dir .. "/access.lua"))
			assert_old_stays("/access%.lua: is a link to a file that is not there")
			assert.is_nil(p:reload("command"))
			assert.equal(403, p:derive(FACTS).status)
		end)

		it("takes the shipped file when the operator says so", function()
			os.remove(kit.dir .. "/access.lua")
			assert.same({ true, true }, { p:reload("command") })
			assert.is_true(p:derive(FACTS))
		end)
	end)

	it("does not open a folder that is required and missing, or a link to nothing", function()
		local opened, lines = open({ dir = kit.dir .. "/none", required = true })
		assert.is_nil(opened)
		assert.same({ kit.dir .. "/none: is not a folder" }, lines)
		assert.truthy(open({ dir = kit.dir .. "/none" }))
		assert(uv.fs_symlink(kit.dir .. "/nowhere", kit.dir .. "/sync.lua"))
		assert.is_nil(open())
	end)

	it("works a thousand times without growing", function()
		local p = assert(open())
		local function round(i)
			write("access", ("return { derive = function() return false, %q end }"):format(tostring(i)))
			assert.is_true(p:reload("command"))
			assert.equal(tostring(i), p:derive(FACTS).reason)
		end
		for i = 1, 50 do round(i) end
		collectgarbage()
		local before = collectgarbage("count")
		for i = 51, 250 do round(i) end
		collectgarbage()
		assert.is_true(collectgarbage("count") < before + 512)
	end)
end)
