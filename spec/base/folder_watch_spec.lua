-- Watching a folder by the system's notifications (kms.base.folder_watch).

local base_files = require("kms.base.files")
local files = require("spec.support.files")
local folder_watch = require("kms.base.folder_watch")
local loop = require("kms.base.loop")
local uv = require("luv")
local wait = require("spec.support.wait")

local QUIET, LONGEST, APART = folder_watch.QUIET_MS, folder_watch.LONGEST_MS, folder_watch.APART_MS

describe("a watched folder", function()
	local root, dir, watch, calls, refused

	-- Watches `dir` (or another one). `calls` has the loop's time of each call.
	local function start(path)
		watch = folder_watch.new({
			dir = path or dir, on_change = function() calls[#calls + 1] = uv.now() end,
			on_refused = function(reason) refused[#refused + 1] = reason end,
		})
	end

	local function wait_call(what)
		local before = #calls
		wait.until_true(what, function() return #calls > before end)
	end

	before_each(function()
		root = files.temp_dir()
		dir, calls, refused = root .. "/policy", {}, {}
		assert(uv.fs_mkdir(dir, 448))
	end)

	after_each(function()
		loop.close(watch)
		uv.run("nowait")
		files.remove_dir(root)
		assert.same({}, refused)
	end)

	-- How many folders and files this process watches.
	local function watched()
		local count = 0
		for _, fd in ipairs(base_files.list("/proc/self/fd")) do
			local info = files.read("/proc/self/fdinfo/" .. fd) or ""
			count = count + select(2, info:gsub("inotify wd:", ""))
		end
		return count
	end

	describe("that the system watches", function()
		it("reports files that come, change in place, are replaced, change their mode, and go", function()
			start()
			local path = dir .. "/access.lua"
			for _, change in ipairs({
				function() assert(io.open(path, "w")):close() end,
				function() assert(io.open(path, "a")):write("x"):close() end,
				function() files.write(path, "y") end,
				function() assert(uv.fs_chmod(path, 420)) end,
				function() assert(os.remove(path)) end,
			}) do
				change()
				wait_call("the report")
			end
		end)

		it("reports a ConfigMap's swap of ..data", function()
			for _, name in ipairs({ "..1", "..2" }) do
				assert(uv.fs_mkdir(dir .. "/" .. name, 448))
				files.write(dir .. "/" .. name .. "/access.lua", name)
			end
			assert(uv.fs_symlink("..1", dir .. "/..data"))
			assert(uv.fs_symlink("..data/access.lua", dir .. "/access.lua"))
			start()
			assert(uv.fs_symlink("..2", dir .. "/..data_tmp"))
			assert(uv.fs_rename(dir .. "/..data_tmp", dir .. "/..data"))
			wait_call("the report")
			assert.equal("..2", files.read(dir .. "/access.lua"))
		end)

		it("goes on with the folder that took its place", function()
			start()
			assert(uv.fs_mkdir(root .. "/new", 448))
			assert(uv.fs_rename(dir, root .. "/old"))
			assert(uv.fs_rename(root .. "/new", dir))
			wait_call("the replacement")
			files.write(dir .. "/access.lua", "x")
			wait_call("a change in the new folder")
			assert.equal(1, watched())
		end)

		it("goes on after the folder is removed and made again, from the next check on", function()
			start()
			files.remove_dir(dir)
			wait_call("the removal")
			assert.equal(0, watched())
			watch:check()
			assert(uv.fs_mkdir(dir, 448))
			watch:check()
			files.write(dir .. "/access.lua", "x")
			wait_call("a change in the new folder")
		end)

		it("is the one that a link points to at the latest check", function()
			assert(uv.fs_mkdir(root .. "/other", 448))
			assert(uv.fs_symlink("policy", root .. "/link"))
			start(root .. "/link")
			assert(uv.fs_symlink("other", root .. "/new"))
			assert(uv.fs_rename(root .. "/new", root .. "/link"))
			watch:check()
			assert.equal(1, watched())
			files.write(root .. "/other/access.lua", "x")
			wait_call("a change in the other folder")
		end)

		it("is not watched any more when this ends, and keeps no loop running", function()
			start()
			files.write(dir .. "/access.lua", "x")
			wait.until_true("the event", function() return watch.waiting end)
			assert.is_false(uv.run("nowait"))
			loop.close(watch)
			assert.is_true(watch:is_closing())
			watch:check()
			uv.run("nowait")
			assert.equal(0, watched())
			wait.sleep(2 * QUIET)
			assert.same({}, calls)
		end)

		it("holds no more descriptors and watches after 1000 replacements and 1000 events", function()
			start()
			local before = #base_files.list("/proc/self/fd")
			for i = 1, 1000 do
				assert(uv.fs_rename(dir, root .. "/" .. i))
				assert(uv.fs_mkdir(dir, 448))
				watch:check()
				uv.run("nowait")
			end
			for i = 1, 1000 do
				files.write(dir .. "/access.lua", tostring(i))
				wait.until_true("the event", function() return watch.waiting end)
				watch.called_ms = uv.now() - APART
				watch.on_timer() -- stirred: waits for quiet
				watch.timer:stop() -- it would take the next event where this process is held up
				watch.on_timer()
			end
			assert.equal(before, #base_files.list("/proc/self/fd"))
			assert.equal(1, watched())
			assert.is_true(#calls >= 1000)
		end)

		it("neither blocks the loop nor is reported more than once a second when it is flooded", function()
			local starts = 0
			start()
			local event = watch.event
			watch.event = setmetatable({
				start = function(_, ...)
					starts = starts + 1
					return event:start(...)
				end,
			}, { __index = function(_, name) return function(_, ...) return event[name](event, ...) end end })
			local began_ns, ticks, exited = uv.hrtime(), 0, false
			local timer = loop.every(50, function() ticks = ticks + 1 end)
			local writer = assert(uv.spawn("/bin/sh", {
				args = { "-c", 'while :; do echo x >>"$0/log"; echo x >>"$0/access.lua"; done', dir },
			}, function() exited = true end))
			finally(function()
				loop.close(timer)
				writer:kill("sigkill")
				wait.until_true("the writer to end", function() return exited end)
				loop.close(writer)
			end)
			wait.until_true("three reports", function() return #calls >= 3 end)
			for i = 2, #calls do assert.is_true(calls[i] - calls[i - 1] >= APART) end
			assert.is_true(ticks > 0)
			assert.is_true(starts <= (uv.hrtime() - began_ns) / 1e6 / QUIET + 1, starts)
		end)
	end)

	-- The rest runs on a clock of its own, with events that the spec makes.
	describe("in time", function()
		local now_ms, due_ms, on_timer, on_event, answer, starts
		local originals = { now = uv.now, new_timer = uv.new_timer, new_fs_event = uv.new_fs_event }

		before_each(function()
			now_ms, due_ms, answer, starts = 5000, nil, { 0 }, 0
			local handle = { unref = function() end, is_closing = function() return false end, close = function() end }
			local timer = setmetatable({
				start = function(_, ms, _, fn) due_ms, on_timer = now_ms + ms, fn end,
			}, { __index = handle })
			local event = setmetatable({
				start = function(_, _, _, fn)
					starts, on_event = starts + 1, answer[1] and fn
					return table.unpack(answer, 1, 3)
				end,
				stop = function() on_event = nil end,
			}, { __index = handle })
			uv.now = function() return now_ms end -- luacheck: ignore 122
			uv.new_timer = function() return timer end -- luacheck: ignore 122
			uv.new_fs_event = function() return event end -- luacheck: ignore 122
			start()
		end)

		after_each(function()
			for name, fn in pairs(originals) do uv[name] = fn end -- luacheck: ignore 122
		end)

		-- Lets time pass, with an event each `every_ms` where the folder is watched.
		local function pass(ms, every_ms)
			for _ = 1, ms do
				now_ms = now_ms + 1
				if due_ms == now_ms then
					due_ms = nil
					on_timer()
				end
				if every_ms and now_ms % every_ms == 0 and on_event then on_event() end
			end
		end

		it("reports one change when it has been quiet, once", function()
			on_event()
			assert.is_nil(on_event) -- what follows at once costs nothing
			pass(2 * QUIET - 1)
			assert.same({}, calls)
			pass(1)
			assert.equal(1, #calls)
			pass(10000)
			assert.equal(1, #calls)
			assert.is_nil(due_ms) -- nothing wakes an idle process
			assert.truthy(on_event)
		end)

		it("waits while things change, but not for ever", function()
			local began_ms = now_ms
			pass(LONGEST - 2 * QUIET, QUIET // 4)
			assert.same({}, calls)
			pass(2 * QUIET)
			assert.equal(1, #calls)
			assert.is_true(calls[1] - began_ms > LONGEST - 2 * QUIET and calls[1] - began_ms <= LONGEST)
			calls = {}
			pass(10000, QUIET // 4)
			assert.is_true(#calls >= 5)
			for i = 2, #calls do
				assert.is_true(calls[i] - calls[i - 1] >= APART and calls[i] - calls[i - 1] <= APART + LONGEST)
			end
		end)

		it("reports what comes right after a report, a second after it", function()
			on_event()
			pass(2 * QUIET)
			local first = calls[1]
			on_event()
			pass(APART - 1)
			assert.equal(1, #calls)
			pass(1)
			assert.same({ first, first + APART }, calls)
		end)

		it("reports at the end of its patience what comes in a row of its own", function()
			pass(20000, QUIET + 1)
			assert.is_true(#calls >= 10 and #calls <= 20, #calls)
		end)

		it("that is there and the same costs no new watch", function()
			for _ = 1, 5 do watch:check() end
			assert.equal(1, starts)
		end)

		for _, case in ipairs({
			{ "ENOSPC", "fs.inotify.max_user_watches is reached" }, { "EMFILE", "fs.inotify.max_user_instances, or" },
			{ "EPERM", "EPERM: operation not permitted" }, { "EACCES", "EACCES: permission denied" },
		}) do
			it("that may not be watched for " .. case[1] .. " is said once, and tried again", function()
				loop.close(watch)
				answer = { nil, case[1] == "EACCES" and "EACCES: permission denied" or "EPERM: operation not permitted", case[1] }
				start()
				for _ = 1, 3 do watch:check() end
				assert.equal(5, starts)
				assert.equal(1, #refused)
				assert.truthy(refused[1]:find(case[2], 1, true), refused[1])
				refused = {}
				answer = { 0 }
				watch:check()
				on_event()
				pass(2 * QUIET)
				assert.equal(1, #calls)
			end)
		end

		it("that goes between two system calls is no refusal", function()
			answer = { nil, "ENOENT: no such file or directory", "ENOENT" }
			start()
			assert.is_nil(on_event)
		end)
	end)

	it("need not exist", function()
		start(root .. "/none")
		watch:check()
		assert.equal(0, watched())
		assert(uv.fs_mkdir(root .. "/none", 448))
		watch:check()
		assert.equal(1, watched())
		files.write(root .. "/none/access.lua", "x")
		wait_call("the report")
	end)
end)
