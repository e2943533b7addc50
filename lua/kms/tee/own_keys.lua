--- What backends have in common whose keys are in this process: everything is work in C.

local native = require("kms_native")

local M = {}

local Keys = {}
Keys.__index = Keys
M.Keys = Keys

function Keys:sign(text)
	return self.wallet:sign(text)
end

function Keys:sign_transaction(fields)
	return native.sign_transaction(self.wallet, fields)
end

-- The envelope knows its sender: who the key is shared with.
function Keys:open(envelope, _, kind)
	return envelope:open(self.p384, self.channels, kind)
end

function Keys:seal(plain, peer_point)
	return native.seal(plain, self.p384, self.channels, peer_point)
end

-- The two halves of a request are one call each: nothing of it comes to Lua.
function Keys:open_request(service, head, kind, caller, pop_required) -- luacheck: no self
	return service:open(head, kind, caller.point, caller.signature, pop_required)
end

function Keys:answer(service, request, caller, wall_ms) -- luacheck: no self
	return service:answer(request, caller.app_id, caller.point, caller.signature, wall_ms, caller.response)
end

function Keys:has_channel(service, point) -- luacheck: no self
	return service:has_channel(point)
end

--- A backend's object.
-- @param class  its methods, which inherit the ones above
-- @param fields  what it has of its own: name, wallet, p384, channels, ...
function M.new(class, fields)
	fields.address, fields.public_der = fields.wallet:address(), fields.p384:public_der()
	fields.point = assert(native.peer_point(fields.public_der))
	return setmetatable(fields, class)
end

return M
