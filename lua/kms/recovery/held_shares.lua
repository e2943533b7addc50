--- The shares that custodians have given to a node that waits for them, of each set by itself.

local M = {}

local Held = {}
Held.__index = Held

local KEEP_MS = 24 * 3600000 -- how long a share stays

--- Wipes all shares.
function Held:drop_all()
	for _, set in ipairs(self.sets) do
		for _, entry in pairs(self.given[set.id]) do entry.share:close() end
		self.given[set.id] = {}
	end
end

--- Wipes shares that have been here for a day.
function Held:drop_old(now_ms)
	for _, given in pairs(self.given) do
		for x, entry in pairs(given) do
			if now_ms - entry.mono_ms > KEEP_MS then
				entry.share:close()
				given[x] = nil
			end
		end
	end
end

--- Keeps a custodian's share, instead of an earlier one.
-- @param body  the age file that it came in
function Held:put(set, x, share, body, now_ms)
	local given = self.given[set.id]
	if given[x] then given[x].share:close() end
	given[x] = { share = share, body = body, mono_ms = now_ms }
end

--- Whether the share that is here came in this age file: then it was sent again, by whomever.
function Held:came_in(set, x, body)
	local entry = self.given[set.id][x]
	return entry ~= nil and entry.body == body
end

--- Whose shares of a set are here: their numbers, ascending.
function Held:places(set)
	local places = {}
	for x in ipairs(set.custodians) do
		if self.given[set.id][x] then places[#places + 1] = x end
	end
	return places
end

--- A set's shares (native), in the order of places().
function Held:shares(set)
	local shares = {}
	for i, x in ipairs(self:places(set)) do shares[i] = self.given[set.id][x].share end
	return shares
end

--- The set that lacks fewest shares.
-- @return have, need, set
function Held:progress()
	local have, need, best
	for _, set in ipairs(self.sets) do
		local n = #self:places(set)
		if not best or set.threshold - n < need - have then have, need, best = n, set.threshold, set end
	end
	return have, need, best
end

--- @param sets kms.recovery.custodians
function M.new(sets)
	local self = setmetatable({ sets = sets, given = {} }, Held)
	for _, set in ipairs(sets) do self.given[set.id] = {} end
	return self
end

return M
