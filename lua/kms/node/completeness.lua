--- Makes the store complete: before a node serves, it fetches the records that the cluster holds under the
-- master secret in use (docs/protocol.md section 10, step 4).
--
-- complete: the store holds what the cluster holds, and other members may rely on it. alone: nobody who may hold more
-- has answered for so long that the node serves what it has. It goes on asking, and other members do not rely on it.

local loop = require("kms.base.loop")
local needs = require("kms.base.needs")

local M = {}

local Completeness = {}
Completeness.__index = Completeness

local OUTCOMES = {
	error = "answers with errors", incomplete = "has no complete store either", refused = "refuses connections",
	silent = "does not answer",
}

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

-- Milliseconds until nobody has answered for so long that the node serves what it has; nil: never.
local function alone_in_ms(self, found)
	if self.alone.at_once then return 0 end
	-- A member that answers and does not give its records is there, and may be the only one that has them.
	if found.owing > 0 then return nil end
	local refused = found.refused > 0 and found.silent + found.error == 0
	local needed_ms = refused and self.alone.after_ms or self.alone.silent_ms
	return math.max(0, self.since_ms + needed_ms - self.mono_ms())
end

--- For whom this node waits before it serves, or, alone, before its store is complete: what the last round found.
-- @return nil: for nobody | list of { wallet, state (text) }, seconds until it serves alone (nil: it does not, however
--   long it waits)
function Completeness:waits_for()
	local found = self.found
	if not found or self:is_complete() then return nil end
	local list = {}
	for i, member in ipairs(found.left or {}) do
		list[i] = { wallet = member.wallet, state = OUTCOMES[member.outcome] }
	end
	local left_ms = self:is_alone() and 0 or alone_in_ms(self, found)
	return list, left_ms and math.ceil(left_ms / 1000)
end

-- Says for whom the node waits, and how an operator ends that.
local function report_wait(self)
	local list, left_s = self:waits_for()
	if not list or self:is_alone() then return end
	local texts = {}
	for i, member in ipairs(list) do texts[i] = member.wallet .. " " .. member.state end
	self.log:limited("waits", 60, "warn", "not serving: these members may hold records that this node lacks", {
		members = table.concat(texts, ", "), serves_alone_in_s = left_s or "never",
		advice = "where they are gone for good, start with SERVE_ALONE=true or remove them on chain",
	})
end

local function become_complete(self, secret, found)
	local left_out = found.error + found.refused + found.silent
	if left_out > 0 then
		self.log:warn("members passed over: repair brings what only they hold", { members = left_out, cause = found.message })
	end
	self.complete_with, self.alone_with, self.cause = secret, nil, nil
	self.found_none = found.done == 0
	self.reached = found.done + found.incomplete
end

local function become_alone(self, secret, found)
	if self.alone_with == secret then return end
	self.alone_with, self.found_none = secret, true
	self.log:warn("serving alone: no member with a complete store answers", {
		members = found.members, refused = found.refused, silent = found.silent, error = found.error, cause = found.message,
	})
end

-- Whether the store has what sealed snapshots have, where there are any. Before a node that found no complete member
-- counts on its own store.
local function is_restored(self, secret)
	if not self.snapshots then return true end
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
	if found.done > 0 then return become_complete(self, secret, found) end
	local is_alone = alone_in_ms(self, found) == 0
	if not nobody_left and not is_alone then return report_wait(self) end
	if not is_restored(self, secret) or not self.goes_on(secret) then return end
	if nobody_left then become_complete(self, secret, found) else become_alone(self, secret, found) end
end

--- Has the node join anew: it was away (kms.node.absence).
function Completeness:rejoin()
	self.complete_with, self.alone_with, self.fetched_for, self.asked = nil, nil, nil, false
end

local function begin(self, secret)
	self.fetched_for, self.since_ms, self.found_none, self.reached = secret, self.mono_ms(), nil, nil
	self.found = nil
	local why = self.absence.before_ms and "this node was away" or "store lost"
	self.log:info(("%s: asking %d members"):format(why, #self.peers:others()))
end

-- Whether nobody can hold records that this node lacks, or lack records that it holds.
local function needs_nobody(self)
	if not self.join or #self.peers:others() == 0 then return true end
	return self.secrets:is_fresh() and not self.absence.before_ms
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
	self.complete_with, self.alone_with, self.cause = secret, nil, nil
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
--   secret); alone { after_ms: until a node serves alone where all other members refuse connections; silent_ms: where
--   one is silent; at_once: whether it does not wait }; absence (kms.node.absence); join (kms.sync.join; nil: there are
--   no peers); sleep (function(ms), loop.sleep); snapshots (kms.node.snapshots; nil: none)
-- @return completeness; its fields for others: asked (whether a round has ended), cause (why the last round did not
--   suffice, or nil)
function M.new(deps)
	local self = needs.take(deps, "secrets peers log mono_ms quiet_ms goes_on alone absence", "join sleep snapshots")
	self.sleep = self.sleep or loop.sleep
	self.running, self.asked, self.started_ms = false, false, self.mono_ms()
	return setmetatable(self, Completeness)
end

return M
