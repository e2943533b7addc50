--- The node's identity, whichever backend holds its keys. A backend gives:
--
--   tee.name, tee.address (canonical wallet), tee.public_der (120 bytes), tee.point (97 bytes)
--   tee:random_secret()                  secret of 32 bytes
--   tee:sign(text)                       "0x" + 130 lower-case digits: EIP-191
--   tee:sign_transaction(fields)         raw, hash (hex); fields as native.sign_transaction takes them
--   tee:open(envelope, peer_point, kind) body with the plaintext; kind: "guarded" or "wiped"
--   tee:seal(plain, peer_point)          body: the envelope as canonical JSON; `plain` is closed
--   tee:open_request(service, head, kind, caller, pop_required)
--                                        request; the collected body of `head` is gone after
--   tee:answer(service, request, caller, wall_ms)
--                                        body (text), response signature (nil where the caller
--                                        sent none: development)
--   tee:has_channel(service, point)      whether the next call costs no ECDH in this process
--   tee:attest(nonce, user_data, public_key)
--                                        attestation document over them, bytes or nil each;
--                                        user_data is the JSON text of an object
--   tee:load_masters(), tee:save_master(secret)
--                                        only where the backend keeps the master secret (sim)
--
-- Each may yield; a failure is nil, message, code: ERR_TEE where a service did not answer as it
-- should (503, its text stays inside), ERR_DECRYPT for what cannot be decrypted (400), ERR_BUSY
-- where too many wait for it. `wallet` and `p384` (handles) are there where the keys are in this
-- process, and only the node's own construction looks at them.
--
-- "Not an unsigned 200": an answer that cannot be signed or sealed is none. A service (odyn) can
-- fail after a write: the client gets 503 then, and finds the write done when it asks again. The
-- signature is there before a write begins, so that only a failing encryption leads to this.

local M = {}

local BACKENDS = { sim = "kms.tee.sim", odyn = "kms.tee.odyn", nitro = "kms.tee.nitro" }

--- Opens the backend that the configuration names.
-- @param deps config, log, channels (native: keys of channels, kept)
-- @return backend | nil, message
function M.open(deps)
	local backend = BACKENDS[deps.config.TEE]
	if not backend then return nil, ("TEE=%s is not in this version: use TEE=odyn"):format(deps.config.TEE) end
	return require(backend).open(deps)
end

return M
