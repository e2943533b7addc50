--- Watches a folder by the system's notifications (inotify, through libuv), and says soon after that something in it
-- may have changed.
--
-- An event is only a reason to look: what it says is not used. Some file systems send none (network, some overlays),
-- and none comes from a folder that a link points to instead of the one before. So whoever uses this also looks now
-- and then, and calls check() before.
--
-- A flood of events costs nothing: after the first one the folder is not watched until QUIET_MS later.

local uv = require("luv")
local files = require("kms.base.files")
local loop = require("kms.base.loop")
local needs = require("kms.base.needs")

local M = {}

local Watch = {}
Watch.__index = Watch

--- Milliseconds: on_change is called when nothing has happened for QUIET_MS, or LONGEST_MS after the first event; never
-- sooner than APART_MS after the call before.
M.QUIET_MS, M.LONGEST_MS, M.APART_MS = 200, 1000, 1000

-- There is no folder, or it has gone meanwhile: whoever looks finds that out.
local ABSENT = { ENOENT = true, ENOTDIR = true }

-- What the system means by these, which its texts do not say (inotify(7)).
local LIMITS = {
	EMFILE = "the limit fs.inotify.max_user_instances, or that of open files, is reached",
	ENOSPC = "the limit fs.inotify.max_user_watches is reached",
}

local function disarm(self)
	self.event:stop()
	self.version = nil
end

-- Watches what stands at the path now. `self.version` is that folder's, or nil: none is watched. It is read first, so
-- that a folder that takes its place meanwhile is found by check().
local function arm(self)
	disarm(self)
	local version = files.version(self.dir)
	if not version then return end
	local ok, message, code = self.event:start(self.dir, {}, self.on_event)
	if ok then
		self.version = version
	elseif not ABSENT[code] and not self.refused then
		self.refused = true
		self.on_refused(LIMITS[code] or message)
	end
end

-- Something has happened.
local function stir(self)
	disarm(self)
	self.stirred = true
	if self.waiting then return end
	self.waiting, self.first_ms = true, uv.now()
	self.timer:start(M.QUIET_MS, 0, self.on_timer)
end

-- Watches again, and reports the change or waits on. Watches first: what happens after the report's look must be seen.
local function settle(self)
	local now, stirred = uv.now(), self.stirred
	self.stirred = false
	arm(self)
	local wait_ms = self.called_ms + M.APART_MS - now
	if stirred and now - self.first_ms < M.LONGEST_MS then wait_ms = math.max(wait_ms, M.QUIET_MS) end
	if wait_ms > 0 then
		self.timer:start(wait_ms, 0, self.on_timer)
		return
	end
	self.waiting, self.called_ms = false, now
	self.on_change()
end

--- Watches the folder that is there by now, where that is another one or was refused before. Costs one system call
-- where all is as it was.
function Watch:check()
	if self.waiting or self:is_closing() then return end
	if files.version(self.dir) ~= self.version then arm(self) end
end

--- Whether the system is asked to say what happens in the folder. It is not where there is no folder, where it refuses,
-- and for a moment after each change.
function Watch:is_armed()
	return self.version ~= nil
end

--- Ends it, for loop.close: on_change is not called any more.
function Watch:close()
	loop.close(self.event)
	loop.close(self.timer)
end

--- Whether it has ended.
function Watch:is_closing()
	return self.event:is_closing()
end

--- Begins to watch. The handles do not keep the loop running.
-- @param deps dir: the folder, which need not exist; on_change: function(), called on the loop (see above);
--   on_refused: function(reason), called once, when the system refuses to watch it; check() tries again
-- @return watch, for loop.close
function M.new(deps)
	local self = setmetatable(needs.take(deps, "dir on_change on_refused"), Watch)
	self.event, self.timer = assert(uv.new_fs_event()), assert(uv.new_timer())
	self.event:unref()
	self.timer:unref()
	self.on_event, self.on_timer = loop.guard(stir, self), loop.guard(settle, self)
	self.waiting, self.stirred, self.refused = false, false, false
	self.called_ms = uv.now() - M.APART_MS
	arm(self)
	return self
end

return M
