--- Where a node gets a master secret that it does not hold: custodians who have given it back, members, and where
-- neither has it, custodians again, for whom it then waits.

local needs = require("kms.base.needs")

local M = {}

local Sources = {}
Sources.__index = Sources

-- Puts the secret that custodians have given into use. Returns as fetch() | nil: they have given none.
local function use_recovered(self, hash)
	local recovered = self.custodians and self.custodians:take(hash)
	if not recovered then return nil end
	local ok, message = self.secrets:use(recovered, "recovered")
	-- Nobody else has it: the next tick tries again.
	if not ok then self.custodians:keep(recovered) end
	return ok, message
end

--- Gets the secret of the chain's hash and puts it into use. Yields.
-- @param settled  as for kms.sync.bootstrap's secret()
-- @return true | nil, cause, what this says of the whole cluster (or nil), the reason while custodians are waited for
function Sources:fetch(hash, settled)
	local ok, message = use_recovered(self, hash)
	if ok or message then return ok, message end
	if not self.bootstrap then return nil, "no peer to ask" end
	local secret, from, of_all = self.bootstrap:secret(hash, settled)
	if secret then return self.secrets:use(secret, "synced", from) end
	-- Custodians may have completed it while members were asked.
	ok, message = use_recovered(self, hash)
	if ok or message then return ok, message end
	local cause, reason = from, nil
	if self.custodians then
		reason, message = self.custodians:wait(hash)
		cause = reason and cause or message
	end
	return nil, cause, of_all, reason
end

--- @param deps secrets (kms.node.master_secrets); optional: bootstrap (kms.sync.bootstrap; nil: there are no peers),
--   custodians (kms.recovery.waiting; nil: there are none)
function M.new(deps)
	return setmetatable(needs.take(deps, "secrets", "bootstrap custodians"), Sources)
end

return M
