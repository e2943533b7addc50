--- The pushes of a node that stops: what clients were told is stored must be on another node before this one ends.

local loop = require("kms.base.loop")
local needs = require("kms.base.needs")

local M = {}

local LastPush = {}
LastPush.__index = LastPush

local POLL_MS = 20
local MAX_GONE = 2 -- attempts: a kept connection may just have been closed by a peer that is there
local RETRY_MS = 250 -- between two attempts with a peer that replied, but did not acknowledge

-- Failures that show that nobody is there to acknowledge.
local GONE = { ERR_CONNECT = true, ERR_RESOLVE = true, ERR_ADDRESS_REFUSED = true, ERR_TLS = true, ERR_URL = true }

-- Starts pushes to the peers that are behind, whatever their backoff says.
-- @param tried by peer: attempts of this module { count, at_ms (the last one) }
-- @return whether to wait for any of them
local function push(self, tried)
	local waits = false
	self.pusher:push_where(function(peer, cursor, now)
		if cursor.running then waits = true end
		if cursor.running or not self.pusher:is_behind(cursor) then return false end
		local try = tried[peer] or { count = 0 }
		if try.count >= MAX_GONE and cursor.failed and GONE[cursor.failure] then return false end
		waits = true
		if try.at_ms and now - try.at_ms < RETRY_MS then return false end
		tried[peer] = { count = try.count + 1, at_ms = now }
		return true
	end)
	return waits
end

local function report(self)
	local left, most = self.pusher:unacknowledged(), 0
	for wallet, count in pairs(left) do
		self.log:warn("stopping before a member has acknowledged every change", { peer = wallet, changes = count })
		most = math.max(most, count)
	end
	self.log:info("changes pushed", { left = most })
end

--- Pushes until every member that can be reached has acknowledged every change and `is_over` says that no
-- further change can come, or until the deadline. Logs how many changes are left. Yields.
-- @param deadline_ms on mono_ms
-- @param is_over function() -> whether all running requests have ended
function LastPush:run(deadline_ms, is_over)
	local tried = {}
	while self.mono_ms() < deadline_ms do
		local over = is_over()
		local waits = self.is_ready() and push(self, tried)
		if over and not waits then break end
		loop.sleep(POLL_MS)
	end
	report(self)
end

--- @param deps pusher (kms.sync.push); is_ready (function -> whether this node may push); log; mono_ms
function M.new(deps)
	return setmetatable(needs.take(deps, "pusher is_ready log mono_ms"), LastPush)
end

return M
