--- The node's identity, whichever backend holds its keys.
--
-- A backend gives: name, address (canonical wallet), public_der (120 bytes), wallet and
-- p384 (handles, where the keys are in this process), random_secret() -> 32-byte secret,
-- load_master() -> secret | nil, save_master(secret) -> true. The last two only where the
-- backend keeps the master secret on disk, which only `sim` does.

local M = {}

--- Opens the backend that the configuration names.
-- @param deps config, log
-- @return backend | nil, message
function M.open(deps)
	local backend = deps.config.TEE
	if backend ~= "sim" then
		return nil, ("TEE=%s is not in this version: use TEE=sim"):format(backend)
	end
	return require("kms.tee.sim").open(deps)
end

return M
