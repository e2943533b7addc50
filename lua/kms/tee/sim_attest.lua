--- Attestation documents of the backend `sim`, signed under a test root that is derived from the node's seed. They
-- say "simulated", and are valid only for a verifier that trusts this root. Its certificate is attest-root.der,
-- beside the seed.

local files = require("kms.base.files")
local native = require("kms_native")

local M = {}

local Signer = {}
Signer.__index = Signer

local NAME = "attest-root.der"
local MAX_BYTES = 1024

local function read_certificate(path)
	local file = io.open(path, "rb")
	if not file then return nil end
	local der = file:read(MAX_BYTES + 1)
	file:close()
	return der
end

--- Makes a document. Yields.
-- @param nonce, user_data, public_key  bytes or nil each
-- @param options  now_ms (default: now), pcrs ({ [0] = 48 bytes, ... }; default: all zero); or nil
-- @return document | nil, message, code
function Signer:attest(nonce, user_data, public_key, options)
	options = options or {}
	return self.root:make({
		now_ms = options.now_ms or native.wall_ms(), nonce = nonce, user_data = user_data, public_key = public_key,
		pcrs = options.pcrs,
	})
end

--- The certificate of its root, in DER.
function Signer:certificate()
	return self.root:certificate()
end

--- Makes the signer of a seed, with the root's certificate of an earlier run if there is one. A certificate of
-- another seed is replaced.
-- @param dir  folder of the certificate; @param seed  handle; @param log  kms.base.log, or nil
-- @return signer | nil, message
function M.open(dir, seed, log)
	local path = dir .. "/" .. NAME
	local der = read_certificate(path)
	local root, message, code = native.attest_root(seed, der)
	if not root and code == "ERR_FILE_FORMAT" then
		der = nil
		root, message = native.attest_root(seed)
	end
	if not root then return nil, ("%s: %s"):format(NAME, message) end
	if not der then
		local ok
		ok, message = files.replace(path, root:certificate())
		if not ok then return nil, ("%s: %s"):format(NAME, message) end
		if log then
			log:info("made a root for simulated attestation", {
				sha256 = native.hex_encode(native.sha256(root:certificate())),
			})
		end
	end
	return setmetatable({ root = root }, Signer)
end

return M
