--- A chain in a table, for specs of what asks a chain. The interface is that of kms.chain;
-- the same interface is exercised against real backends by the end-to-end specs.

local chain_api = require("kms.chain")

local M = {}

--- @return chain with editable tables `apps`, `versions`, `instances`, `hash`, a counter table
-- `calls`, and `down`: while true nothing answers
function M.new()
	local self = { apps = {}, versions = {}, instances = {}, hash = chain_api.NO_HASH, calls = {}, now_ms = 0 }

	local function answer(name, value)
		self.calls[name] = (self.calls[name] or 0) + 1
		if self.down then return nil, "connection refused", "ERR_CHAIN" end
		if value == nil then return nil, "not registered", "ERR_NOT_FOUND" end
		return value
	end

	function self.begin_tick() return answer("begin_tick", true) end
	function self.contents() return answer("contents", {}) end
	function self:snapshot() return self end
	function self.prefetch() return true end
	function self.close() end
	function self:head() return answer("head", { number = 1, time_ms = self.now_ms }) end
	function self:instance_by_wallet(wallet) return answer("instance", self.instances[wallet]) end
	function self:app(id) return answer("app", self.apps[id]) end
	function self.prefetch_apps() return answer("prefetch_apps", true) end
	function self:version(app, id) return answer("version", self.versions[app .. "/" .. id]) end
	function self:active_instances(app)
		local wallets = {}
		for wallet, instance in pairs(self.instances) do
			if instance.app_id == app and instance.status == 0 then wallets[#wallets + 1] = wallet end
		end
		table.sort(wallets)
		return answer("active", wallets)
	end
	function self:master_secret_hash() return answer("hash", self.hash) end
	function self:set_master_secret_hash(hash)
		local ok, message, code = answer("set", true)
		if ok and not self.mining_stopped then self.hash = hash end
		return ok, message, code
	end

	--- Registers an app with one version and an instance.
	function self:register(app, wallet, tee_pubkey)
		self.apps[app] = { id = app, status = 0 }
		self.versions[app .. "/1"] = { id = "1", status = 0 }
		self.instances[wallet] = {
			id = "9", app_id = app, version_id = "1", operator = wallet, wallet = wallet, url = "http://127.0.0.1:1",
			tee_pubkey = tee_pubkey, zk_verified = true, status = 0, registered_at = 0,
		}
		return self.instances[wallet]
	end
	return self
end

return M
