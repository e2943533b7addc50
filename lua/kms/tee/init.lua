--- The node's identity, whichever backend holds its keys. Every backend has these fields and methods; each method may
-- yield:
--
--   tee.name, tee.address (canonical wallet), tee.public_der (120 bytes), tee.point (97 bytes)
--                                        nil until identify() has succeeded, but for the name
--   tee:identify()                       true | nil, message: a service does not answer; keys in this process are known
--                                        from the start
--   tee.wallet, tee.p384                 handles, only when the keys are in this process; only kms.node uses them
--   tee.calls                            kms.tee.odyn_calls, only when a service holds the keys
--   tee:random_secret()                  secret of 32 bytes
--   tee:sign(text)                       "0x" + 130 lower-case digits: EIP-191
--   tee:sign_transaction(fields)         raw, hash (hex); fields as native.sign_transaction takes them
--   tee:open(envelope, peer_point, kind) body with the plaintext; kind: "guarded" or "wiped"
--   tee:seal(plain, peer_point)          body: the envelope as canonical JSON; closes `plain`
--   tee:open_request(service, head, operation, caller, pop_required)
--                                        request; takes the collected body of `head`
--   tee:execute(service, request, caller, wall_ms, written)
--                                        body (text), its signature (nil when the caller signed nothing: development);
--                                        written(result body), which may yield, is called after a write and before its
--                                        result is sealed: true | nil, message, code; nil: there is none
--   tee:has_channel(service, point)      whether the next call needs no ECDH in this process
--   tee:attest(nonce, user_data, public_key)
--                                        attestation document; each argument is bytes or nil, user_data the JSON text
--                                        of an object
--   tee:load_masters(), tee:save_master(secret)
--                                        only when the backend saves the master secret (sim)
--
-- A failure is nil, message, code: ERR_TEE when a service failed (503, its text stays private), ERR_DECRYPT when
-- something cannot be decrypted (400), ERR_BUSY when too many calls wait for the service.
--
-- A result that cannot be signed or sealed is never sent. A service (odyn) can fail after a write: the client gets
-- 503 then, and finds the write done when it reads. The signature is made before a write begins, so that only a
-- failing encryption leads to this.

local needs = require("kms.base.needs")

local M = {}

local BACKENDS = { sim = "kms.tee.sim", odyn = "kms.tee.odyn", nitro = "kms.tee.nitro" }

--- Opens the backend that the configuration names.
-- @param deps config, log, channels (native: keeps the keys of channels)
-- @return backend | nil, message
function M.open(deps)
	deps = needs.take(deps, "config log channels")
	local backend = BACKENDS[deps.config.TEE]
	if not backend then return nil, ("TEE=%s is not in this version: use TEE=odyn"):format(deps.config.TEE) end
	return require(backend).open(deps)
end

return M
