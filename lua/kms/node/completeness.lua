--- Makes the store complete: before a node serves, it fetches the records that the cluster holds under the
-- master secret in use (docs/protocol.md section 10, step 4).
--
-- complete: the store holds what the cluster holds, and other members may rely on it. alone: nobody who may hold more
-- has answered for so long that the node serves what it has. It goes on asking, and other members do not rely on it.

local loop = require("kms.base.loop")
local needs = require("kms.base.needs")
local patience = require("kms.node.patience")
local text = require("kms.base.text")

local M = {}

local Completeness = {}
Completeness.__index = Completeness

local PAUSE_MS, MAX_PAUSE_MS = 1000, 5000 -- between rounds: longer after each

--- Whether this node's store holds what the cluster holds under the secret in use.
function Completeness:is_complete()
	return self.complete_with ~= nil and self.complete_with == self.secrets.current
end

--- Whether this node serves though it does not know what the cluster holds.
function Completeness:is_alone()
	return self.alone_with ~= nil and self.alone_with == self.secrets.current and not self:is_complete()
end

--- Whether this node serves.
function Completeness:is_enough()
	return self:is_complete() or self:is_alone()
end

--- Whether every other member has shown this node its records: then this node holds all that anybody holds.
function Completeness:has_seen_all()
	return self:is_complete() and self.reached ~= nil and self.reached >= #self.peers:others()
end

--- Milliseconds until this node may write. The clock may have been set back since this node's last run, whose counters
-- must not be given to other writes (docs/protocol.md section 10): a node that found no complete store waits.
function Completeness:quiet_left_ms()
	return self.found_none and math.max(0, self.quiet_ms - (self.mono_ms() - self.started_ms)) or 0
end

-- Whether this node's store was complete before the chain did not confirm it for a while.
local function is_back(self)
	return self.back_with ~= nil and self.back_with == self.secrets.current
end

--- For whom this node waits before it serves, or, alone, before its store is complete: what the last round found.
-- @return nil: for nobody | list of { wallet, state (text) }, seconds until it serves without them (nil: it does not,
--   however long it waits)
function Completeness:waits_for()
	local found = self.found
	if not found or self:is_complete() then return nil end
	local left_ms = self:is_alone() and 0 or self.patience:left_ms(found, is_back(self))
	return self.patience.states(found), left_ms and math.ceil(left_ms / 1000)
end

local function report_wait(self)
	local list, left_s = self:waits_for()
	if list and not self:is_alone() then self.patience:report(list, left_s) end
end

local function become_complete(self, secret, found)
	local left_out = found.error + found.unlisted + found.refused + found.silent
	if left_out > 0 then
		self.log:warn("members passed over: repair brings what only they hold", { members = left_out, cause = found.message })
	end
	self.found_none = found.done == 0 and not is_back(self)
	self.complete_with, self.alone_with, self.back_with, self.cause = secret, nil, nil, nil
	self.reached = found.done + found.incomplete
end

local function become_alone(self, secret, found)
	if self.alone_with == secret then return end
	self.alone_with, self.found_none = secret, true
	self.log:warn("serving alone: no member with a complete store answers", {
		members = found.members, refused = found.refused, silent = found.silent, error = found.error,
		unlisted = found.unlisted, cause = found.message,
	})
end

-- Whether the store has what sealed snapshots have, where there are any. Before a node that found no complete member
-- counts on its own store.
local function is_restored(self, secret)
	if not self.snapshots or is_back(self) then return true end
	local ok, message = self.snapshots.restore:run(secret)
	self.cause = message or self.cause
	return ok
end

-- Decides after one round. Members without a complete store have given what they hold; when nobody else is left, the
-- one with the smallest wallet is complete, and the others follow it.
local function decide(self, secret, found)
	if self.absence.before_ms and found.done == 0 and found.incomplete == found.members then
		-- Nobody can tell what was deleted: all that is here counts, and the next round is as after a restart.
		return self.absence:over()
	end
	local nobody_left = found.incomplete == found.members and found.smaller == 0
	if not nobody_left and self.patience:left_ms(found, is_back(self)) ~= 0 then return report_wait(self) end
	if found.done > 0 or is_back(self) then return become_complete(self, secret, found) end
	if not is_restored(self, secret) or not self.goes_on(secret) then return end
	if nobody_left then become_complete(self, secret, found) else become_alone(self, secret, found) end
end

--- Has the node join anew: it was away (kms.node.absence).
function Completeness:rejoin()
	self.complete_with, self.alone_with, self.fetched_for, self.asked, self.back_with = nil, nil, nil, false, nil
end

--- Notes that the chain confirms this node for the first time, or again after a while in which it did not. A complete
-- store lacks what others wrote meanwhile: they are asked before it counts as complete, and the node serves, again.
function Completeness:confirmed_anew()
	self.patience:listed()
	if not self:is_complete() then return end
	local secret = self.complete_with
	self:rejoin()
	self.back_with = secret
end

local function begin(self, secret)
	self.fetched_for, self.found_none, self.reached, self.found = secret, nil, nil, nil
	self.patience:begin()
	local is_here = is_back(self)
	if is_here then self.join:returned(secret) end
	local why = (is_here or self.absence.before_ms) and "this node was away" or "store lost"
	self.log:info(("%s: asking %s"):format(why, text.count(#self.peers:others(), "member")))
end

-- Whether nobody can hold records that this node lacks, or lack records that it holds.
local function needs_nobody(self)
	if not self.join or #self.peers:others() == 0 then return true end
	return self.secrets:is_fresh() and not self.absence.before_ms and not is_back(self)
end

-- Asks all members once.
local function ask(self, secret)
	if self.fetched_for ~= secret then begin(self, secret) end
	local found = self.join:round(secret)
	self.cause, self.asked, self.found = found.message, true, found
	if not self.goes_on(secret) then return end
	decide(self, secret, found)
	if self:is_enough() then self.absence:over() end
end

-- Completes the store of a node that has nobody to ask.
local function complete_alone(self, secret)
	if not is_restored(self, secret) or not self.goes_on(secret) then return end
	self.complete_with, self.alone_with, self.back_with, self.cause = secret, nil, nil, nil
	self.absence:over()
end

local function fetch(self, on_round)
	local secret, pause_ms = self.secrets.current, PAUSE_MS
	if self.snapshots then self.snapshots.restore:begin(secret) end
	while self.goes_on(secret) and not self:is_complete() do
		if needs_nobody(self) then complete_alone(self, secret) else ask(self, secret) end
		if not self.goes_on(secret) then break end
		on_round()
		if self:is_complete() then break end
		self.sleep(pause_ms)
		pause_ms = math.min(pause_ms + PAUSE_MS, MAX_PAUSE_MS)
	end
end

--- Fetches what members hold in the background, round after round, unless the store is complete or this runs already.
-- @param on_round called after each round, and at the end
function Completeness:start(on_round)
	if self:is_complete() or self.running then return end
	self.running = true
	loop.spawn(function()
		local ok = loop.try(fetch, self, on_round)
		self.running = false
		if not ok then self.cause = "fetching records threw an error" end
		on_round()
	end)
end

--- @param deps secrets (kms.node.master_secrets), peers, log, mono_ms; quiet_ms (from the start, in which a node that
--   found no complete store does not write); goes_on (function(secret) -> whether the node is still a member under this
--   secret); alone, list_ms (of kms.node.patience); absence (kms.node.absence); join (kms.sync.join; nil: there are no
--   peers); sleep (function(ms), loop.sleep); snapshots (kms.node.snapshots; nil: none)
-- @return completeness; its fields for others: asked (whether a round has ended), cause (why the last round did not
--   suffice, or nil)
function M.new(deps)
	local self = needs.take(deps, "secrets peers log mono_ms quiet_ms list_ms goes_on alone absence",
		"join sleep snapshots")
	self.sleep = self.sleep or loop.sleep
	self.patience = patience.new({ log = self.log, mono_ms = self.mono_ms, list_ms = self.list_ms, alone = self.alone })
	self.running, self.asked, self.started_ms = false, false, self.mono_ms()
	return setmetatable(self, Completeness)
end

return M
