--- For how long a node waits for members that have not given their records, before it serves.

local needs = require("kms.base.needs")

local M = {}

local Patience = {}
Patience.__index = Patience

local OUTCOMES = {
	error = "answers with errors", incomplete = "has no complete store either", refused = "refuses connections",
	silent = "does not answer", unlisted = "does not know yet that this node is a member",
}

--- Notes that the node begins to ask for records under another secret, or anew.
function Patience:begin()
	self.since_ms = self.mono_ms()
end

--- Notes that the chain confirms this node for the first time, or again after a while in which it did not.
function Patience:listed()
	self.listed_ms = self.mono_ms()
end

local function left_ms(self, from_ms, needed_ms)
	return math.max(0, from_ms + needed_ms - self.mono_ms())
end

--- How long the node still waits, where no member changes what it does.
-- @param found of kms.sync.join; @param is_back whether the node's store was complete before, so that it may go on with
--   what it has
-- @return milliseconds until it serves | nil: it does not, however long it waits
function Patience:left_ms(found, is_back)
	if self.alone.at_once then return 0 end
	-- They read the list of members more seldom than this node does. Those that have given their records may have been
	-- cut off, and lack what the others hold.
	local lists_ms = found.unlisted > 0 and left_ms(self, self.listed_ms, self.list_ms) or 0
	if found.done > 0 then return lists_ms end
	if is_back then return found.owing > 0 and left_ms(self, self.listed_ms, self.list_ms) or lists_ms end
	-- A member that answers and does not give its records is there, and may be the only one that has them.
	if found.owing > 0 then return nil end
	local refused = found.refused > 0 and found.silent + found.error + found.unlisted == 0
	return math.max(lists_ms, left_ms(self, self.since_ms, refused and self.alone.after_ms or self.alone.silent_ms))
end

--- What the members do that have not given their records.
-- @return list of { wallet, state (text) }
function Patience.states(found)
	local list = {}
	for i, member in ipairs(found.left or {}) do
		list[i] = { wallet = member.wallet, state = OUTCOMES[member.outcome] }
	end
	return list
end

--- Says for whom the node waits, and how an operator ends that.
-- @param list as `states` returns it; @param left_s seconds until it serves, or nil: never
function Patience:report(list, left_s)
	local texts = {}
	for i, member in ipairs(list) do texts[i] = member.wallet .. " " .. member.state end
	self.log:limited("waits", 60, "warn", "not serving: these members may hold records that this node lacks", {
		members = table.concat(texts, ", "), serves_alone_in_s = left_s or "never",
		advice = "where they are gone for good, start with SERVE_ALONE=true or remove them on chain",
	})
end

--- @param deps log, mono_ms; list_ms (for how long after the chain confirmed this node other members may not know it);
--   alone { after_ms: until a node serves alone where all other members refuse connections; silent_ms: where one is
--   silent; at_once: whether it does not wait }
-- @return patience
function M.new(deps)
	return setmetatable(needs.take(deps, "log mono_ms list_ms alone"), Patience)
end

return M
