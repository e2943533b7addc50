--- The keys of a node or an application: both follow from its seed.

local native = require("kms_native")

local M = {}

-- native.identity's values as one, its failure as it is.
local function pack(wallet, ...)
	if not wallet then return nil, ... end
	return { wallet = wallet, p384 = (...) }
end

--- Derives the keys of a seed.
-- @param seed  handle of native.seed_load or seed_create
-- @return { wallet, p384 } (handles) | nil, message, code
function M.of(seed)
	return pack(native.identity(seed))
end

return M
