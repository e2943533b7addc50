--- An audit log that keeps what it is told, for parts of the node.

local M = {}

local Audit = {}
Audit.__index = Audit

function Audit:event(name, fields)
	self.events[#self.events + 1] = { name = name, fields = fields }
end

function Audit:counted(name, code)
	self:event(name, { code = code })
end

function Audit:of_member(name, _, fields)
	self:event(name, fields)
end

function Audit:outcome(arrived, reply)
	self.outcomes[#self.outcomes + 1] = { arrived = arrived, reply = reply }
end

function Audit:names() -- luacheck: no self
	return nil
end

--- @return audit; its fields: events (list of { name, fields }), outcomes (list of { arrived, reply })
function M.new()
	return setmetatable({ events = {}, outcomes = {} }, Audit)
end

return M
