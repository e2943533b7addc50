-- When a node looks at its policies (kms.policy.reloader).

local beat = require("kms.base.beat")
local files = require("spec.support.files")
local reloader = require("kms.policy.reloader")
local uv = require("luv")
local wait = require("spec.support.wait")

describe("the reloader", function()
	local dir, one, polls, ends, told, lines
	local seconds, look_seconds, new_fs_event = beat.SECONDS, reloader.LOOK_SECONDS, uv.new_fs_event

	-- Starts one whose beat comes every so many seconds, and that looks at a watched folder so often.
	local function start(beat_s, look_s)
		beat.SECONDS, reloader.LOOK_SECONDS = beat_s, look_s or 3600
		one = reloader.new({
			policy = {
				poll = function()
					polls = polls + 1
					return true, true
				end,
				end_suspensions = function() ends = ends + 1 end,
				sync_settings = function() return {} end, ban_rules = function() return {}, {} end,
			},
			bans = {}, config = { POLICY_DIR = dir }, shipped = "config/policy",
			log = { warn = function(_, event, fields) lines[#lines + 1] = { event, fields.reason, fields.every_s } end },
		})
		one:on_change(function() told = told + 1 end)
		one:watch()
	end

	before_each(function()
		dir, polls, ends, told, lines = files.temp_dir(), 0, 0, 0, {}
	end)

	after_each(function()
		one:close()
		beat.SECONDS, reloader.LOOK_SECONDS = seconds, look_seconds
		uv.new_fs_event = new_fs_event -- luacheck: ignore 122
		files.remove_dir(dir)
	end)

	it("looks at the files soon after one has changed, long before the next beat", function()
		start(3600)
		for i = 1, 2 do
			files.write(dir .. "/access.lua", tostring(i))
			wait.until_true("a look", function() return polls >= i end)
		end
		assert.equal(polls, told)
		assert.same({}, lines)
	end)

	it("ends suspensions at each beat, and looks now and then at a folder that the system watches", function()
		start(0.05)
		wait.until_true("three beats", function() return ends >= 3 end)
		assert.equal(0, polls)
		one:close()
		start(3600, 0.05)
		wait.until_true("three looks", function() return polls >= 3 end)
		assert.same({}, lines)
	end)

	it("looks at each beat where the system refuses to watch the folder, and says so once", function()
		uv.new_fs_event = function() -- luacheck: ignore 122
			local event = new_fs_event()
			return setmetatable({ start = function() return nil, "ENOSPC: no space left on device", "ENOSPC" end }, {
				__index = function(_, name) return function() return event[name](event) end end,
			})
		end
		start(0.05)
		wait.until_true("three looks", function() return polls >= 3 end)
		assert.same({ {
			"policy folder not watched: its files are looked at now and then",
			"the limit fs.inotify.max_user_watches is reached", 0.05,
		} }, lines)
	end)

	it("finds a folder that is made later at a beat, and looks in time from then on", function()
		files.remove_dir(dir)
		start(0.05)
		wait.until_true("a beat", function() return polls >= 1 end)
		assert.is_false(one.folder:is_armed())
		assert(uv.fs_mkdir(dir, 448))
		wait.until_true("the folder to be watched", function() return one.folder:is_armed() end)
	end)

	it("does not look when it has ended", function()
		start(0.05, 0.05)
		wait.until_true("a beat", function() return polls >= 1 end)
		one:close()
		local before = polls
		files.write(dir .. "/access.lua", "x")
		wait.sleep(500)
		assert.equal(before, polls)
	end)
end)
