--- TEE backend `sim`: keys from a seed file, made at the first start. For development and for
-- networks of one's own: whoever reads the file is the node. Refused in an enclave.

local native = require("kms_native")
local own_keys = require("kms.tee.own_keys")

local M = {}

local Sim = setmetatable({}, own_keys.Keys)
Sim.__index = Sim

--- 32 fresh bytes for a new cluster's master secret.
function Sim:random_secret() -- luacheck: no self
	return native.secret_random(32)
end

--- The master secret of an earlier run, sealed under the seed beside it.
-- @return secret | nil (never saved) | nil, message
function Sim:load_master()
	local secret, message, code = native.sealfile_load(self.dir .. "/master.sealed", self.seed)
	if secret then return secret end
	if code == "ERR_FILE_MISSING" then return nil end
	return nil, "master.sealed: " .. message
end

--- Seals the master secret under the seed, for the next start.
-- @return true | nil, message
function Sim:save_master(secret)
	return native.sealfile_save(self.dir .. "/master.sealed", secret, self.seed)
end

--- Loads a seed file, or makes it where there is none.
-- @return seed, made | nil, message
function M.seed(path)
	local seed, message, code = native.seed_load(path)
	if seed then return seed, false end
	if code == "ERR_FILE_MISSING" then seed, message = native.seed_create(path) end
	if not seed then return nil, ("%s: %s"):format(path:match("[^/]*$"), message) end
	return seed, true
end

--- @param deps config (DATA_DIR), log, channels
-- @return backend | nil, message
function M.open(deps)
	local dir = deps.config.DATA_DIR
	local seed, made = M.seed(dir .. "/node.seed")
	if not seed then return nil, made end
	local wallet, p384 = native.identity(seed)
	if not wallet then return nil, p384 end
	if made then deps.log:info("made a new node identity", { wallet = wallet:address() }) end
	return own_keys.new(Sim, {
		name = "sim", dir = dir, seed = seed, wallet = wallet, p384 = p384, channels = deps.channels,
	})
end

return M
