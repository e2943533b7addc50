--- Visits to peers (pushes, or a contact): at most one of a peer, and `parallel` at a time. The others wait for their
-- turn, in the order in which they were planned.

local loop = require("kms.base.loop")
local needs = require("kms.base.needs")

local M = {}

local Visits = {}
Visits.__index = Visits

local function visit_if_allowed(self, visit)
	if self.may_visit(visit.peer) then visit.run(visit.peer, visit.cursor) end
end

local function make(self, visit)
	loop.try(visit_if_allowed, self, visit)
	visit.cursor.running, self.running = false, self.running - 1
	self:start()
end

--- Plans a visit, unless one of the peer is planned or under way.
-- @param cursor the peer's (kms.sync.cursor); its field `running` says so
-- @param run function(peer, cursor), which may yield
function Visits:plan(peer, cursor, run)
	if cursor.running then return end
	cursor.running = true
	self.waiting[#self.waiting + 1] = { peer = peer, cursor = cursor, run = run }
end

--- Whether no visit is planned or under way.
function Visits:is_idle()
	return self.running == 0 and not self.waiting[1]
end

--- Begins visits that wait, as many as there are slots. Returns at once.
function Visits:start()
	if self.starting then return end -- a visit that ended without a wait
	local parallel = self.parallel()
	self.starting = true
	while self.waiting[1] and self.running < parallel do
		self.running = self.running + 1
		loop.spawn(make, self, table.remove(self.waiting, 1))
	end
	self.starting = false
end

--- @param deps parallel (function -> number of slots), may_visit (function(peer) -> whether a planned visit is
--   still to be made)
-- @return visits; its field `running` counts those under way
function M.new(deps)
	local self = setmetatable(needs.take(deps, "parallel may_visit"), Visits)
	self.waiting, self.running = {}, 0
	return self
end

return M
