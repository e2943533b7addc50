--- Rate limits that an operator can switch off.

local native = require("kms_native")

local M = {}

local function always() return true end

-- The limiter of 0 per minute: it has the methods of native.limiter and always allows.
local UNLIMITED = { take = always, take_address = always }

--- Allows `per_minute` events of each key per minute, in bursts of as many.
-- @param per_minute  0: no limit
-- @param max_keys  most keys that are tracked
-- @return limiter with the methods of native.limiter: take(key, mono_ms) and take_address(address,
--   mono_ms) -> true | false, seconds until the next one
function M.per_minute(per_minute, max_keys)
	if per_minute == 0 then return UNLIMITED end
	return assert(native.limiter(per_minute, per_minute, max_keys))
end

return M
