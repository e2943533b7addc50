--- The snapshots of members that are existing nodes. Those push each change once, answer no digest and give no pages
-- (docs/protocol.md section 9.1): what a push did not bring is in their snapshots only.

local loop = require("kms.base.loop")
local needs = require("kms.base.needs")

local M = {}

local ExistingNodes = {}
ExistingNodes.__index = ExistingNodes

local LATER_MS, LATER_PAUSE_MS = 60000, 600000

-- Whether a member has answered, may be called, and is an existing node.
local function is_existing(self, peer)
	return peer.heard == true and not self.peers:understands(peer, "store") and self.peers:callable(peer, self.mono_ms())
end

local function existing(self)
	local list = {}
	for _, peer in ipairs(self.peers:others()) do
		if is_existing(self, peer) then list[#list + 1] = peer end
	end
	return list
end

-- Fetches and merges the snapshots of `list`, one after the other, in the background.
local function fetch(self, list, secret)
	if self.fetching or #list == 0 then return end
	self.fetching = true
	loop.spawn(function()
		for _, peer in ipairs(list) do
			local ok, done, message, code = loop.try(self.bootstrap.snapshot, self.bootstrap, peer, secret)
			if not ok or not done then
				self.log:limited("snapshot " .. peer.wallet, 60, "warn", "cannot compare with an existing node", {
					peer = peer.wallet, cause = ok and message or "broke down", code = code,
				})
			end
		end
		self.fetching = false
	end)
end

--- Fetches the snapshots of all in the background: this node was not ready, and has missed what they pushed. Returns
-- at once; while an earlier call still runs, that one brings the records.
-- @param secret master secret in use
function ExistingNodes:fetch_all(secret)
	fetch(self, existing(self), secret)
end

--- Fetches the snapshot of the next one in the background, as is due every SNAPSHOT_COMPARE_SECONDS. Returns at once.
-- @param secret master secret in use
function ExistingNodes:fetch_next(secret)
	local list = existing(self)
	if #list == 0 then return end
	self.turn = self.turn % #list + 1
	fetch(self, { list[self.turn] }, secret)
end

--- Fetches the snapshot of one in a minute, at most every ten minutes: it has pushed records that this node takes
-- later. Returns at once.
-- @param secret master secret in use
function ExistingNodes:fetch_later(peer, secret)
	local plan = self.plans[peer] or { due_ms = 0 }
	self.plans[peer] = plan
	if plan.waits then return end
	plan.waits = true
	loop.after(math.max(LATER_MS, plan.due_ms - self.mono_ms()), function()
		plan.waits, plan.due_ms = false, self.mono_ms() + LATER_PAUSE_MS
		for _, member in ipairs(existing(self)) do
			if member == peer then fetch(self, { peer }, secret) end
		end
	end)
end

--- @param deps bootstrap (kms.sync.bootstrap); peers (kms.peers); log; mono_ms
-- @return existing nodes
function M.new(deps)
	local self = needs.take(deps, "bootstrap peers log mono_ms")
	self.turn, self.fetching = 0, false
	self.plans = setmetatable({}, { __mode = "k" }) -- of fetch_later: by peer { waits, due_ms }
	return setmetatable(self, ExistingNodes)
end

return M
