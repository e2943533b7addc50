--- The contracts of a devnet: both registries, applications and their instances. Functions wait and
-- throw as those of devnet.anvil do.

local anvil = require("devnet.anvil")

local M = {}

local Registry = {}
Registry.__index = Registry

local ZERO, NO_HASH = "0x" .. ("0"):rep(40), "0x" .. ("0"):rep(64)

M.SIGNATURES = {
	create = "createApp(address,bytes32,address,string,address)",
	enroll = "enrollVersion(uint256,string,bytes32,string,string,string,string)",
	register = "registerInstance(uint256,uint256,address,string,bytes,address,bool)",
	stop = "stopInstance(uint256)",
	verify = "setZkVerified(uint256,bool)",
	revoke = "revokeVersion(uint256,uint256)",
	reset = "resetMasterSecretHash()",
}

local CALLS = M.SIGNATURES

--- Creates applications, each with one version (id 1).
-- @param apps  list of { name, dapp: contract that is notified of instances, or nil }
-- @return list of application ids
function Registry:create_apps(apps)
	local count, calls, ids = self.chain:number(self.apps, "appCount()"), {}, {}
	for i, app in ipairs(apps) do
		ids[i] = count + i
		calls[#calls + 1] = anvil.call(self.apps, CALLS.create, anvil.OWNER, NO_HASH, app.dapp or ZERO, app.name, ZERO)
		calls[#calls + 1] = anvil.call(self.apps, CALLS.enroll, ids[i], "v1", NO_HASH, "", "", "", "")
	end
	self.chain:transact(calls)
	return ids
end

--- Registers verified instances of version 1.
-- @param instances  list of { app_id, wallet, tee_pubkey (bytes), url }
-- @return list of instance ids
function Registry:register(instances)
	local count, calls, ids = self.chain:number(self.apps, "instanceCount()"), {}, {}
	for i, instance in ipairs(instances) do
		ids[i] = count + i
		calls[i] = anvil.call(self.apps, CALLS.register, instance.app_id, 1, instance.wallet, instance.url,
			instance.tee_pubkey, instance.wallet, true)
	end
	self.chain:transact(calls)
	return ids
end

--- Stops an instance for good.
function Registry:stop_instance(id)
	self.chain:call(self.apps, CALLS.stop, id)
end

--- Sets whether an instance counts as verified.
function Registry:set_verified(id, verified)
	self.chain:call(self.apps, CALLS.verify, id, verified)
end

--- Revokes version 1 of an application for good.
function Registry:revoke_version(app_id)
	self.chain:call(self.apps, CALLS.revoke, app_id, 1)
end

--- Resets the hash of the master secret.
function Registry:reset_hash()
	self.chain:call(self.kms, CALLS.reset)
end

--- The hash of the master secret | nil: none is set.
function Registry:master_secret_hash()
	local hash = self.chain:rpc("eth_call", anvil.call(self.kms, "masterSecretHash()"), "latest")
	return hash ~= NO_HASH and hash or nil
end

--- The registries of an earlier run.
-- @param chain  devnet.anvil's; @param found  { apps, kms: addresses; kms_app_id }
-- @return registry
function M.open(chain, found)
	return setmetatable({ chain = chain, apps = found.apps, kms = found.kms, kms_app_id = found.kms_app_id }, Registry)
end

--- Deploys both registries and creates the KMS application.
-- @return registry
function M.deploy(chain)
	local self = M.open(chain, { apps = chain:deploy("NovaAppRegistry", "constructor(address)", anvil.OWNER) })
	self.kms = chain:deploy("KMSRegistry", "constructor(address,address)", anvil.OWNER, self.apps)
	self.kms_app_id = self:create_apps({ { name = "kms", dapp = self.kms } })[1]
	chain:call(self.kms, "setKmsAppId(uint256)", self.kms_app_id)
	return self
end

return M
