--- TEE backend `sim`: keys from a seed file that the first start makes. For development and private networks:
-- a reader of the file has the node's keys. Refused in an enclave.

local files = require("kms.base.files")
local native = require("kms_native")
local own_keys = require("kms.tee.own_keys")
local sim_attest = require("kms.tee.sim_attest")

local M = {}

local Sim = setmetatable({}, own_keys.Keys)
Sim.__index = Sim

--- Makes an attestation document that says "simulated".
-- @return document | nil, message, code
function Sim:attest(nonce, user_data, public_key)
	return self.signer:attest(nonce, user_data, public_key)
end

--- Makes 32 random bytes for a new cluster's master secret.
function Sim:random_secret() -- luacheck: no self
	return native.secret_random(32)
end

local CURRENT = "/master.sealed"
local EARLIER = "^master%-%x+%.sealed$"
local HASH_DIGITS = 16 -- of a secret's hash in its file's name

-- Loads a secret from the data folder, where it is sealed under the seed.
-- Returns secret | nil: there is no such file | nil, message.
local function load(self, name)
	local secret, message, code = native.sealfile_load(self.dir .. name, self.seed)
	if secret then return secret end
	if code == "ERR_FILE_MISSING" then return nil end
	return nil, name:sub(2) .. ": " .. message
end

--- Loads the master secrets of earlier runs, the one that was used last first.
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

--- Saves the master secret in use for the next start, sealed under the seed. An earlier one is kept under another
-- name.
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

--- Loads a seed file, or makes it if there is none.
-- @return seed, whether it was made | nil, message
function M.seed(path)
	local seed, message, code = native.seed_load(path)
	if seed then return seed, false end
	if code == "ERR_FILE_MISSING" then seed, message = native.seed_create(path) end
	if not seed then return nil, ("%s: %s"):format(path:match("[^/]*$"), message) end
	return seed, true
end

--- Opens the keys of the seed file, which the first start makes.
-- @param deps config (DATA_DIR), log, channels
-- @return backend | nil, message
function M.open(deps)
	local dir = deps.config.DATA_DIR
	local message
	local seed, made = M.seed(dir .. "/node.seed")
	if not seed then
		message = made
		return nil, message
	end
	local wallet, p384 = native.identity(seed)
	if not wallet then
		message = p384
		return nil, message
	end
	if made then deps.log:info("made a new node identity", { wallet = wallet:address() }) end
	local signer
	signer, message = sim_attest.open(dir, seed, deps.log)
	if not signer then return nil, message end
	return own_keys.new(Sim, {
		name = "sim", dir = dir, seed = seed, signer = signer, wallet = wallet, p384 = p384, channels = deps.channels,
	})
end

return M
