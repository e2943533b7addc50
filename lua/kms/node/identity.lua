--- Learns who this node is, and names its wallet to the parts that need it. Keys in this process are known at once; a
-- service that holds them (TEE=odyn) may start after the node. Until it has answered, the node listens and serves
-- nobody (docs/protocol.md section 10).

local needs = require("kms.base.needs")

local M = {}

local Identity = {}
Identity.__index = Identity

-- Between two attempts; the interval doubles with each.
local FIRST_MS, LONGEST_MS = 1000, 10000

local function failed(self, message)
	self.next_ms = self.next_ms and math.min(2 * self.next_ms, LONGEST_MS) or FIRST_MS
	return nil, message
end

--- Learns the identity unless it is known. Yields.
-- @return true | nil, message; to be tried again after next_ms
function Identity:learn()
	if self.known then return true end
	local tee = self.tee
	local ok, message = tee:identify()
	if not ok then return failed(self, message) end
	ok, message = self.chain:introduce({ wallet = tee.address, tee_pubkey = tee.public_der, url = self.url })
	if not ok then return failed(self, message) end
	self.store:set_self(tee.address)
	self.known, self.next_ms = true, nil
	if tee.wallet then return true end -- self.service has its keys
	self.service:set_self(tee.address)
	self.log:info("the TEE service has named this node's keys", { wallet = tee.address })
	return true
end

--- @param deps tee (kms.tee); chain (kms.chain); store, service (native); url (this node's until the chain names
--   one); log
-- @return identity; its fields for others: known (whether it was learned), next_ms (after a failed attempt:
--   milliseconds until the next one, else nil)
function M.new(deps)
	local self = setmetatable(needs.take(deps, "tee chain store service url log"), Identity)
	self.known = false
	return self
end

return M
