--- Bootstrap of a newcomer: before it serves, it gets the master secret whose hash is on chain from its peers, and the
-- records of those that give them only as a whole (docs/protocol.md sections 9 and 10). Pages: kms.sync.join.

local native = require("kms_native")
local needs = require("kms.base.needs")
local record_counts = require("kms.sync.record_counts")
local text = require("kms.base.text")

local M = {}

local Bootstrap = {}
Bootstrap.__index = Bootstrap

local SECRET_TIMEOUT_MS = 5000
local SNAPSHOT_TIMEOUT_MS = 120000

-- The peers that may be called now, each time starting with another one.
local function callable(self)
	local list, others, now = {}, self.peers:others(), self.mono_ms()
	for i = 1, #others do
		local peer = others[(i + self.first) % #others + 1]
		if self.peers:callable(peer, now) then list[#list + 1] = peer end
	end
	self.first = self.first + 1
	return list
end

-- Asks one peer once. Returns the response, the key that the secret is sealed to | nil, message, code.
local function ask(self, peer)
	local key, message, code = native.p384_generate()
	if not key then return nil, message, code end
	local pubkey = native.hex_encode(key:public_der())
	local response
	response, message, code = self.exchange:call(peer, function(proof, nonce)
		local attestation = self.evidence:make(peer.wallet, nonce, pubkey)
		return native.text_body(self.writer:secret_request(proof, pubkey, attestation))
	end, { timeout_ms = SECRET_TIMEOUT_MS })
	if not response then return nil, message, code end
	return response, key
end

-- Asks one peer, and once more where it answers that it has sessions: it gives the secret in one then. Returns the
-- secret | nil, message, code.
local function secret_of(self, peer, hash, settled)
	local in_session = self.exchange:uses_session(peer)
	local response, key, code = ask(self, peer)
	if not response then
		local message = key
		return nil, message, code
	end
	local secret, message
	secret, message, code = response:unseal(key)
	if code == "ERR_FIELD_MISSING" and not in_session and self.exchange:uses_session(peer) then
		response, key, code = ask(self, peer)
		if not response then return nil, key, code end
		secret, message, code = response:unseal(key)
	end
	-- A replayed response cannot be unsealed, and says nothing about the peer's secret.
	if not secret then return nil, self.exchange:distrust(peer, "sealed secret: " .. message, code) end
	-- Until the hash on chain is settled, a peer may rightly still have the secret before it.
	if secret:keccak256() == hash then return secret end
	message = "gave a secret whose hash is not the chain's"
	if settled then self.peers:report(peer, "wrong_master_secret", message) end
	return nil, message
end

--- Asks one peer after the other for the master secret. Yields.
-- @param hash Keccak-256 of the secret, as on chain
-- @param settled whether the hash has been on chain for a while, so that a peer with another secret misbehaves
-- @return secret, the peer's URL | nil, message, what that says of the whole cluster (or nil)
function Bootstrap:secret(hash, settled)
	local messages, without, members = {}, 0, #self.peers:others()
	for _, peer in ipairs(callable(self)) do
		local secret, message, code = secret_of(self, peer, hash, settled)
		if secret then
			self.log:info("master secret received", { peer = peer.wallet, url = peer.url })
			return secret, peer.url
		end
		-- A node that has no secret is not ready.
		if code == "ERR_NOT_READY" then without = without + 1 end
		messages[#messages + 1] = peer.wallet .. ": " .. message
	end
	if members > 0 and without == members then
		return nil, table.concat(messages, "; "), ("reached %s, and none holds the secret"):format(
			text.count(members, "member"))
	end
	if #messages == 0 then return nil, "there is no peer to ask" end
	return nil, table.concat(messages, "; ")
end

-- Merges the records of a snapshot into the store.
-- @return counts | nil, message, code
local function apply(self, peer, response, secret)
	local ok, failure, failure_code = self.accept(response, peer)
	if not ok then return nil, failure, failure_code end
	local counts, message, code = response:apply(self.store, secret, peer.number, self.clock:now())
	if not counts then return nil, message, code end
	record_counts.add(self.counts, counts)
	self.log:info("snapshot applied", {
		peer = peer.wallet, records = counts.total, merged = counts.merged, rejected = counts.rejected, later = counts.later,
	})
	return counts
end

-- Fetches and applies one peer's snapshot.
-- @return { complete: whether the peer's store is complete } | nil, message, code
local function snapshot_of(self, peer, secret)
	local response, message, code = self.exchange:call(peer, function(proof)
		return native.text_body(self.writer:snapshot_request(proof))
	end, { master = secret, timeout_ms = SNAPSHOT_TIMEOUT_MS, max_bytes = self.max_snapshot_bytes })
	if not response then return nil, message, code end
	-- A replayed response to a delta has no records and must not pass for an empty store.
	if not response:flag("data") then return nil, self.exchange:distrust(peer, "a snapshot without records") end
	local counts
	counts, message, code = apply(self, peer, response, secret)
	if not counts then return nil, message, code end
	-- Records under another secret, or of another time, are not what the cluster holds. Records that are malformed
	-- or refused by the operator do not count: an application can write nothing else, and no peer has more.
	local wrong = (counts.poisoned or 0) + (counts.future or 0)
	if wrong > 0 and counts.rejected == counts.total then
		return nil, "all of its records were rejected", "ERR_UNVERIFIED"
	end
	-- Existing nodes do not say it, and never get more than they have.
	return { complete = response:flag("complete") ~= false }
end

--- Fetches and applies the whole snapshot of a peer that has no pages. Yields.
-- @param secret master secret that the records are encrypted under
-- @return { complete: whether the peer's store is complete } | nil, message, code
function Bootstrap:snapshot(peer, secret)
	return snapshot_of(self, peer, secret)
end

--- @param deps exchange (kms.sync.exchange); writer (kms.sync.message); evidence (kms.sync.evidence); peers
--   (kms.peers); store; clock (kms.base.clock); log; mono_ms; max_snapshot_bytes; accept (function(message, peer):
--   decides what may be merged, kms.sync.new_apps:before_snapshot)
-- @return bootstrap; `counts` since the start: snapshots fetched, snapshots that failed (failures), and
--   kms.sync.record_counts of their records
function M.new(deps)
	local self = needs.take(deps, "exchange writer evidence peers store clock log mono_ms max_snapshot_bytes accept")
	self.first, self.counts = 0, { fetched = 0, failures = 0 }
	return setmetatable(self, Bootstrap)
end

return M
