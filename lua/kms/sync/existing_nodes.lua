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
	return self.peers:is_known(peer) and not self.peers:understands(peer, "store")
		and self.peers:callable(peer, self.mono_ms())
end

local function existing(self)
	local list = {}
	for _, peer in ipairs(self.peers:others()) do
		if is_existing(self, peer) then list[#list + 1] = peer end
	end
	return list
end

-- Whether the snapshot of a member is to be fetched and the fetch has not begun.
local function is_queued(self, peer)
	for _, queued in ipairs(self.queue) do
		if queued.peer == peer then return true end
	end
	return false
end

-- Fetches and merges the snapshots of `list` in the background, one after the other, behind those that are under way.
local function fetch(self, list, secret)
	for _, peer in ipairs(list) do
		if not is_queued(self, peer) then self.queue[#self.queue + 1] = { peer = peer, secret = secret } end
	end
	if self.fetching or #self.queue == 0 then return end
	self.fetching = true
	loop.spawn(function()
		while #self.queue > 0 do
			local next_one = table.remove(self.queue, 1)
			local peer = next_one.peer
			local ok, done, message, code = loop.try(self.bootstrap.snapshot, self.bootstrap, peer, next_one.secret)
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
-- at once.
-- @param secret master secret in use
function ExistingNodes:fetch_all(secret)
	fetch(self, existing(self), secret)
end

--- Fetches the snapshot of the next one in the background, as is due every SNAPSHOT_COMPARE_SECONDS. Returns at once.
-- @param secret master secret in use
function ExistingNodes:fetch_next(secret)
	local list = existing(self)
	if self.fetching or #list == 0 then return end
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
	self.turn, self.fetching, self.queue = 0, false, {}
	self.plans = setmetatable({}, { __mode = "k" }) -- of fetch_later: by peer { waits, due_ms }
	return setmetatable(self, ExistingNodes)
end

return M
