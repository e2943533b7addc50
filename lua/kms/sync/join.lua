--- How a store without the cluster's records gets them (docs/protocol.md section 10): all that one complete member
-- holds, in pages; then what every other one holds and this node does not. Members are visited side by side, so one
-- that hangs costs its own deadline (kms.sync.join_member).

local join_member = require("kms.sync.join_member")
local loop = require("kms.base.loop")
local needs = require("kms.base.needs")
local wakeup = require("kms.async.wakeup")

local M = {}

local Join = {}
Join.__index = Join

local LOOK_MS = 1000 -- how often a round looks whether it waits for existing nodes only
local PATIENCE_MS = 5000 -- for existing nodes, once another member has given its records

local function is_existing(self, peer)
	return self.peers:is_known(peer) and not self.peers:understands(peer, "store")
end

-- Adds the outcome of one visit to what was found.
local function add(self, found, peer, outcome, message)
	found[outcome] = found[outcome] + 1
	if outcome ~= "done" then found.left[#found.left + 1] = { wallet = peer.wallet, outcome = outcome } end
	if outcome == "done" then
		self.counts.fetched = self.counts.fetched + 1
	elseif outcome ~= "incomplete" then
		self.counts.failures = self.counts.failures + 1
		found.messages[#found.messages + 1] = peer.wallet .. ": " .. tostring(message)
	end
	-- Existing nodes never keep this node from serving, nor members that were never heard: they may be existing nodes.
	local answers = outcome == "error" or outcome == "unlisted"
	if answers and self.peers:understands(peer, "store") then found.owing = found.owing + 1 end
	if outcome == "incomplete" and peer.wallet < self.tee.address then found.smaller = found.smaller + 1 end
end

local function members_to_visit(self)
	local list = {}
	for _, peer in ipairs(self.peers:others()) do
		if not (self.is_back and is_existing(self, peer)) then list[#list + 1] = peer end
	end
	return list
end

-- Begins to visit all. Returns a table of those whose visits have not ended.
local function begin_visits(self, secret, found, waiter)
	local pending = {}
	local now = self.mono_ms()
	for number, peer in ipairs(members_to_visit(self)) do
		if self.peers:callable(peer, now) then
			pending[number] = peer
			loop.spawn(function()
				local ok, outcome, message = loop.try(self.member.visit, self.member, peer, secret)
				if not ok then outcome, message = "error", "broke down" end
				add(self, found, peer, outcome, message)
				pending[number] = nil
				waiter:wake()
			end)
		else
			add(self, found, peer, "silent", "is not called now")
		end
	end
	return pending
end

-- Whether a visit to an existing node, or to another member, has not ended. A member that was never heard may turn out
-- to be an existing node while it is visited.
local function is_left(self, pending, existing)
	for _, peer in pairs(pending) do
		if is_existing(self, peer) == existing then return true end
	end
	return false
end

--- Notes that this node held all records before it was away for a while: the next rounds compare hash trees, and leave
-- existing nodes to kms.sync.existing_nodes.
-- @param secret master secret that the records are encrypted under
function Join:returned(secret)
	self.secret, self.is_back = secret, true
	self.member:reset(true)
end

--- Visits all other members, and merges what they hold. Yields until all have given it or failed; existing nodes are
-- waited for only while no other member has given its records.
-- @param secret master secret that the records are encrypted under
-- @return found { members: number of other members; of them by outcome: done (complete ones that gave all), incomplete,
--   error, unlisted, refused, silent; owing: of `error` and `unlisted`, those that are known to be nodes of this
--   version; smaller: of `incomplete`, those with a smaller wallet; left: list of { wallet, outcome } of those that are
--   not done; message: what failed, or nil }
function Join:round(secret)
	if self.secret ~= secret then
		self.secret, self.is_back = secret, false
		self.member:reset()
	end
	local found, waiter = {
		members = #self.peers:others(), done = 0, incomplete = 0, error = 0, unlisted = 0, refused = 0, silent = 0,
		owing = 0, smaller = 0, messages = {}, left = {},
	}, wakeup.new()
	local pending = begin_visits(self, secret, found, waiter)
	while is_left(self, pending, false) or is_left(self, pending, true) and found.done == 0 do waiter:wait(LOOK_MS) end
	local deadline = self.mono_ms() + PATIENCE_MS
	while is_left(self, pending, true) and self.mono_ms() < deadline do waiter:wait(deadline - self.mono_ms() + 1) end
	found.message = #found.messages > 0 and table.concat(found.messages, "; ") or nil
	return found
end

--- @param deps exchange (kms.sync.exchange); writer (kms.sync.message); bootstrap (kms.sync.bootstrap), for members
--   without pages; repair (kms.sync.repair_exchange); tee; peers (kms.peers); store; clock; mono_ms;
--   max_body_bytes (MAX_SYNC_PAYLOAD_BYTES), max_snapshot_bytes; accept (function(message, peer): marks the records
--   that the operator's policy refuses); goes_on (function(secret) -> whether the node is still a member
--   under this secret); absence (kms.node.absence); ahead_ms (for how long after the start honest members may hold
--   records that are ahead of this node's clock: twice MAX_CLOCK_SKEW_MS)
-- @return join
function M.new(deps)
	local self = needs.take(deps, "exchange writer bootstrap repair tee peers store clock mono_ms max_body_bytes "
		.. "max_snapshot_bytes accept goes_on absence ahead_ms")
	self.counts = self.bootstrap.counts
	self.member = join_member.new({
		exchange = self.exchange, writer = self.writer, bootstrap = self.bootstrap, repair = self.repair,
		peers = self.peers, store = self.store, clock = self.clock, mono_ms = self.mono_ms,
		max_body_bytes = self.max_body_bytes, max_snapshot_bytes = self.max_snapshot_bytes, accept = self.accept,
		goes_on = self.goes_on, absence = self.absence, ahead_ms = self.ahead_ms,
	})
	return setmetatable(self, Join)
end

return M
