--- Pushes between two ticks: a change goes to the nodes of this version at once, so that a node that crashes or
-- stops leaves few changes behind. Existing nodes and peers whose last push failed wait for the next tick.

local loop = require("kms.base.loop")
local needs = require("kms.base.needs")
local rate_limit = require("kms.base.rate_limit")

local M = {}

local EarlyPush = {}
EarlyPush.__index = EarlyPush

local DELAY_MS = 50 -- changes that follow each other closely go together
-- To a peer, as many at once. It leaves room in the peer's own limit for this address (RATE_LIMIT_PER_MINUTE, 120).
local PER_MINUTE = 60
local MAX_PEERS = 4096

-- Starts pushes to the nodes of this version that are due, as far as may(peer, now) allows it.
local function start_all(self, may)
	self.pusher:push_where(function(peer, cursor, now)
		local existing = self.peers:is_known(peer) and not self.peers:understands(peer, "store")
		if existing or cursor.failed then return false end
		return self.pusher:is_due(peer, cursor, now) and may(peer, now)
	end)
end

-- Returns seconds until the pace allows a push that has to wait, or nil.
local function push(self)
	local wait_s
	start_all(self, function(peer, now)
		local allowed, left_s = self.pace:take(tostring(peer.number), now)
		if not allowed then wait_s = math.min(wait_s or left_s, left_s) end
		return allowed
	end)
	return wait_s
end

local function push_after(self, ms)
	self.timer = loop.after(ms, function()
		self.timer = nil
		local wait_s = self.is_ready() and push(self)
		if wait_s then push_after(self, wait_s * 1000) end
	end)
end

--- An application has changed a record.
function EarlyPush:changed()
	if not self.timer then push_after(self, DELAY_MS) end
end

--- An application has changed a record, and its reply waits until other members hold it: they get it in the loop's
-- next iteration, at no other pace than theirs. What changes until then goes with it.
function EarlyPush:changed_now()
	if self.soon then return end
	self.soon = true
	loop.defer(function()
		self.soon = false
		if self.is_ready() then start_all(self, function() return true end) end
	end)
end

--- @param deps pusher (kms.sync.push); peers (kms.peers); is_ready (function -> whether this node may push)
function M.new(deps)
	local self = needs.take(deps, "pusher peers is_ready")
	self.pace = rate_limit.per_minute(PER_MINUTE, MAX_PEERS)
	return setmetatable(self, EarlyPush)
end

return M
