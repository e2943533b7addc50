--- Rate limits that an operator may switch off.

local native = require("kms_native")

local M = {}

local function always() return true end

-- What a limit of 0 a minute gives: take as native.limiter's methods, without a limit.
local UNLIMITED = { take = always, take_address = always }

--- Allows so many a minute of each key; all of them may come at once.
-- @param per_minute 1 or more; 0: no limit
-- @param max_keys keys that are remembered
-- @return limiter with the methods of native.limiter: take(key, mono_ms) and take_address(address,
--   mono_ms) -> true | false, seconds until the next one
function M.per_minute(per_minute, max_keys)
	if per_minute == 0 then return UNLIMITED end
	return assert(native.limiter(per_minute, per_minute, max_keys))
end

return M
