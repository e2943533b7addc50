--- The peer cache: members of the KMS application as the chain lists them.

local chain_api = require("kms.chain")
local native = require("kms_native")

local M = {}

local Peers = {}
Peers.__index = Peers

local function usable_version(version)
	return version.status == chain_api.VERSION.ENROLLED or version.status == chain_api.VERSION.DEPRECATED
end

-- A member that counts, or nil: not now a member. A failure of the chain is nil, message.
local function member(self, wallet)
	local instance, message, code = self.chain:instance_by_wallet(wallet)
	if not instance then return nil, code ~= "ERR_NOT_FOUND" and message or nil end
	if instance.app_id ~= self.app_id or instance.status ~= chain_api.INSTANCE.ACTIVE then return nil end
	if not instance.zk_verified or not native.peer_point(instance.tee_pubkey) then return nil end
	local version
	version, message, code = self.chain:version(instance.app_id, instance.version_id)
	if not version then return nil, code ~= "ERR_NOT_FOUND" and message or nil end
	return usable_version(version) and instance or nil
end

--- Reads the members anew; on failure the old list stays.
-- @return true | nil, message
function Peers:refresh()
	local wallets, message = self.chain:active_instances(self.app_id)
	if not wallets then return nil, message end
	local members, by_wallet = {}, {}
	for _, wallet in ipairs(wallets) do
		local instance, failure = member(self, wallet)
		if failure then return nil, failure end
		if instance then
			members[#members + 1] = instance
			by_wallet[wallet] = instance
		end
	end
	self.members, self.by_wallet = members, by_wallet
	return true
end

--- Members in the order of the chain's list.
function Peers:list()
	return self.members
end

--- A member by wallet, or nil.
function Peers:get(wallet)
	return self.by_wallet[wallet]
end

--- @param chain a backend (kms.chain)
-- @param app_id KMS_APP_ID as decimal text
function M.new(chain, app_id)
	return setmetatable({ chain = chain, app_id = app_id, members = {}, by_wallet = {} }, Peers)
end

return M
