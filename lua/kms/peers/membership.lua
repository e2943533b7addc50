--- Who is a member: an active, verified instance of the KMS application whose version may be used.

local chain_api = require("kms.chain")
local native = require("kms_native")

local M = {}

local function usable_version(version)
	return version.status == chain_api.VERSION.ENROLLED or version.status == chain_api.VERSION.DEPRECATED
end

--- The instance of a wallet that is a member.
-- @param chain kms.chain; @param app_id KMS_APP_ID; @param options of the chain's methods, or nil
-- @return instance | nil: not a member now | nil, message: the chain failed
function M.read(chain, app_id, wallet, options)
	local instance, message, code = chain:instance_by_wallet(wallet, options)
	if not instance then return nil, code ~= "ERR_NOT_FOUND" and message or nil end
	if instance.app_id ~= app_id or instance.status ~= chain_api.INSTANCE.ACTIVE then return nil end
	if not instance.zk_verified or not native.peer_point(instance.tee_pubkey) then return nil end
	local version
	version, message, code = chain:version(instance.app_id, instance.version_id, options)
	if not version then return nil, code ~= "ERR_NOT_FOUND" and message or nil end
	return usable_version(version) and instance or nil
end

--- All members, in the order of the chain's list.
-- @return list of instances, these by wallet, by each wallet of that list whether it is no member's | nil, message
function M.all(chain, app_id)
	local wallets, message = chain:active_instances(app_id)
	if not wallets then return nil, message end
	local members, by_wallet, kept_out = {}, {}, {}
	for _, wallet in ipairs(wallets) do
		local instance, failure = M.read(chain, app_id, wallet)
		if failure then return nil, failure end
		kept_out[wallet] = not instance
		if instance and not by_wallet[wallet] then
			members[#members + 1] = instance
			by_wallet[wallet] = instance
		end
	end
	return members, by_wallet, kept_out
end

return M
