--- TEE backend `sim`: keys from a seed file, made at the first start. For development and for
-- networks of one's own: whoever reads the file is the node. Refused in an enclave.

local files = require("kms.base.files")
local native = require("kms_native")
local own_keys = require("kms.tee.own_keys")
local sim_attest = require("kms.tee.sim_attest")

local M = {}

local Sim = setmetatable({}, own_keys.Keys)
Sim.__index = Sim

--- An attestation document that says "simulated".
function Sim:attest(nonce, user_data, public_key)
	return self.signer:attest(nonce, user_data, public_key)
end

--- 32 fresh bytes for a new cluster's master secret.
function Sim:random_secret() -- luacheck: no self
	return native.secret_random(32)
end

local CURRENT = "/master.sealed"
local EARLIER = "^master%-%x+%.sealed$"
local HASH_DIGITS = 16 -- of an earlier secret's hash, in its file's name

-- A secret in the data folder, sealed under the seed beside it; nil where there is none.
local function load(self, name)
	local secret, message, code = native.sealfile_load(self.dir .. name, self.seed)
	if secret then return secret end
	if code == "ERR_FILE_MISSING" then return nil end
	return nil, name:sub(2) .. ": " .. message
end

--- The master secrets of earlier runs, the one that was in use last before the others.
-- @return list of secrets | nil, message
function Sim:load_masters()
	local secrets = {}
	local secret, message = load(self, CURRENT)
	if message then return nil, message end
	secrets[1] = secret
	for _, name in ipairs(files.list(self.dir)) do
		if name:find(EARLIER) then
			secret, message = load(self, "/" .. name)
			if message then return nil, message end
			secrets[#secrets + 1] = secret
		end
	end
	return secrets
end

--- Seals the master secret that is in use under the seed, for the next start. One that is there
-- already stays, under another name.
-- @return true | nil, message
function Sim:save_master(secret)
	local old, message = load(self, CURRENT)
	if message then return nil, message end
	if old and old:equals(secret) then return true end
	if old then
		local ok
		local name = ("/master-%s.sealed"):format(old:keccak256():sub(3, 2 + HASH_DIGITS))
		ok, message = native.sealfile_save(self.dir .. name, old, self.seed)
		if not ok then return nil, message end
	end
	return native.sealfile_save(self.dir .. CURRENT, secret, self.seed)
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
	local signer, message = sim_attest.open(dir, seed, deps.log)
	if not signer then return nil, message end
	return own_keys.new(Sim, {
		name = "sim", dir = dir, seed = seed, signer = signer, wallet = wallet, p384 = p384, channels = deps.channels,
	})
end

return M
