--- Puts changed policies in force: on SIGHUP, on the reload command, or when a file has changed. Then it lifts
-- bans of peers that are now exempt, and tells the parts that depend on the policies.
--
-- It looks at the files when the system says that something in their folder has changed, and once a minute, since not
-- every file system says so; at each beat where the system does not watch the folder.

local beat = require("kms.base.beat")
local folder_watch = require("kms.base.folder_watch")
local json = require("kms.base.json")
local loop = require("kms.base.loop")
local needs = require("kms.base.needs")
local supervisor = require("kms.base.supervisor")

local M = {}

--- Seconds between two looks at files in a folder that the system watches.
M.LOOK_SECONDS = 60

local Reloader = {}
Reloader.__index = Reloader

local function apply(self)
	self.settings = self.policy:sync_settings(self.config)
	local _, exempt = self.policy:ban_rules()
	for wallet in pairs(exempt) do self.bans:lift(wallet) end
	for _, fn in ipairs(self.listeners) do fn() end
end

--- Reads the policies again. On any mistake nothing changes.
-- @param by "signal", "command" or "file"
-- @return true, whether anything is different | nil, list of mistakes, one line each
function Reloader:reload(by)
	local ok, changed = self.policy:reload(by)
	if not ok then
		local mistakes = changed
		return nil, mistakes
	end
	if changed then apply(self) end
	return true, changed
end

local function poll(self)
	local ok, changed = self.policy:poll()
	if ok and changed then apply(self) end
end

local function look(self)
	self.folder:check()
	poll(self)
end

--- Calls fn after each change of the policies in force, and after those that were added before it.
function Reloader:on_change(fn)
	self.listeners[#self.listeners + 1] = fn
end

--- Reloads from now on when SIGHUP arrives or a file has changed.
function Reloader:watch()
	loop.on_signal("sighup", function()
		supervisor.reloading()
		supervisor.reloaded(self:reload("signal") == true)
	end)
	self.folder = folder_watch.new({
		dir = self.config.POLICY_DIR,
		on_change = function() poll(self) end,
		on_refused = function(reason)
			self.log:warn("policy folder not watched: its files are looked at now and then", {
				reason = reason, every_s = beat.SECONDS,
			})
		end,
	})
	self.beat = beat.every(beat.SECONDS, function()
		if self.folder:is_armed() then self.policy:end_suspensions() else look(self) end
	end)
	self.slow_beat = beat.every(M.LOOK_SECONDS, function() look(self) end)
end

--- Looks at the files no more.
function Reloader:close()
	loop.close(self.folder)
	loop.close(self.beat)
	loop.close(self.slow_beat)
end

-- Folders stay private (docs/protocol.md section 2): the file's name and the line are enough.
local function without_folders(self, text)
	for _, dir in ipairs({ self.config.POLICY_DIR, self.shipped }) do
		if text:sub(1, #dir + 1) == dir .. "/" then return text:sub(#dir + 2) end
	end
	return text
end

-- The rules and how often each one decided. Their descriptions and places are the operator's only.
local function hit_counts(self)
	local list = {}
	for _, rule in ipairs(self.policy:list_rules()) do
		if not rule.is_route then
			list[#list + 1] = {
				name = rule.full_name, passed = rule.passed, refused = rule.refused, failed = rule.failed,
				let_through = rule.let_through,
			}
		end
	end
	return #list > 0 and list or nil
end

-- The suspensions in force. Their reasons and who asked for them are the operator's only.
local function suspended(self)
	local list = {}
	for i, one in ipairs((self.policy:suspended())) do
		list[i] = { rule = one.rule, since_ms = one.since_ms, until_ms = one.until_ms, left_s = one.left_s }
	end
	return json.list(list)
end

--- The policies' part of GET /status.
function Reloader:status()
	local status = self.policy:status()
	if status.last_error then status.last_error.first = without_folders(self, status.last_error.first) end
	status.rules, status.suspended = hit_counts(self), suspended(self)
	return status
end

--- @param deps policy (kms.policy); bans (kms.peers.bans); config; log; shipped: folder of the shipped policies
-- @return reloader; its field `settings` holds those of sync.lua in force: interval (s), max_records, max_bytes,
--   parallel
function M.new(deps)
	local self = needs.take(deps, "policy bans config log shipped")
	self.listeners, self.settings = {}, self.policy:sync_settings(self.config)
	return setmetatable(self, Reloader)
end

return M
