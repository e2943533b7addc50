--- Methods of the backends whose keys are in this process; all work is done in C. See kms.tee for each.

local native = require("kms_native")

local M = {}

local Keys = {}
Keys.__index = Keys
M.Keys = Keys

function Keys:identify() -- luacheck: no self
	return true
end

function Keys:sign(text)
	return self.wallet:sign(text)
end

function Keys:sign_transaction(fields)
	return native.sign_transaction(self.wallet, fields)
end

-- The envelope knows its sender, whose point is not needed here.
function Keys:open(envelope, _, kind)
	return envelope:open(self.p384, self.channels, kind)
end

function Keys:seal(plain, peer_point)
	return native.seal(plain, self.p384, self.channels, peer_point)
end

-- One call of C for each half of a request, so that no key or value comes to Lua.
function Keys:open_request(service, head, operation, caller, pop_required) -- luacheck: no self
	return service:open(head, operation, caller.point, caller.signature, pop_required)
end

-- Returns the signature that binds a reply to the caller's request; nil when the caller signed nothing.
local function response_signature(self, caller)
	if caller.response or caller.signature == "" then return caller.response end
	return self:sign(("NovaKMS:Response:%s:%s"):format(caller.signature, self.address))
end

-- A write whose reply waits for other members.
local function execute_and_wait(self, service, request, caller, wall_ms, written)
	local signature, message, code = response_signature(self, caller)
	if not signature and message then return nil, message, code end
	local result
	result, message, code = service:execute(request, caller.app_id, caller.signature, wall_ms)
	if not result then return nil, message, code end
	local ok
	ok, message, code = written(result)
	if not ok then
		result:close()
		return nil, message, code
	end
	local sealed
	sealed, message, code = self:seal(result, caller.point)
	if not sealed then return nil, message, code end
	local body = sealed:slice(1, sealed:len())
	sealed:close()
	return body, signature
end

function Keys:execute(service, request, caller, wall_ms, written)
	if written then return execute_and_wait(self, service, request, caller, wall_ms, written) end
	return service:reply(request, caller.app_id, caller.point, caller.signature, wall_ms, caller.response)
end

function Keys:has_channel(service, point) -- luacheck: no self
	return service:has_channel(point)
end

--- Makes a backend.
-- @param class  its methods, which inherit those above
-- @param fields  its own fields: name, wallet, p384, channels, ...; becomes the backend
function M.new(class, fields)
	fields.address, fields.public_der = fields.wallet:address(), fields.p384:public_der()
	fields.point = assert(native.peer_point(fields.public_der))
	return setmetatable(fields, class)
end

return M
