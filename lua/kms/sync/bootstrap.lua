--- Bootstrap of a newcomer: before it serves, it gets the master secret whose hash is on chain, and the records
-- of the cluster, from its peers (docs/protocol.md sections 9 and 10).

local loop = require("kms.base.loop")
local native = require("kms_native")
local needs = require("kms.base.needs")
local record_counts = require("kms.sync.record_counts")
local wakeup = require("kms.async.wakeup")

local M = {}

local Bootstrap = {}
Bootstrap.__index = Bootstrap

local SECRET_TIMEOUT_MS = 5000
local SNAPSHOT_TIMEOUT_MS = 120000
local AT_ONCE = 4 -- snapshots at a time: each can be large
-- After the first complete snapshot, wait PATIENCE times its duration (at least PATIENCE_MS) for the rest.
local PATIENCE, PATIENCE_MS = 3, 5000

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

-- Asks one peer. Returns the secret | nil, message, code.
local function secret_of(self, peer, hash, settled)
	local key, message, code = native.p384_generate()
	if not key then return nil, message, code end
	local pubkey = native.hex_encode(key:public_der())
	local response
	response, message, code = self.exchange:call(peer, function(signature, nonce)
		local attestation = self.evidence:make(peer.wallet, nonce, pubkey)
		return native.text_body(self.writer:secret_request(signature, pubkey, attestation))
	end, { timeout_ms = SECRET_TIMEOUT_MS })
	if not response then return nil, message, code end
	local secret
	secret, message, code = response:unseal(key)
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
-- @return secret, the peer's URL | nil, message
function Bootstrap:secret(hash, settled)
	local messages = {}
	for _, peer in ipairs(callable(self)) do
		local secret, message = secret_of(self, peer, hash, settled)
		if secret then
			self.log:info("master secret received", { peer = peer.wallet, url = peer.url })
			return secret, peer.url
		end
		messages[#messages + 1] = peer.wallet .. ": " .. message
	end
	if #messages == 0 then return nil, "there is no peer to ask" end
	return nil, table.concat(messages, "; ")
end

-- Merges the records of a snapshot into the store.
-- @return counts | nil, message, code
local function apply(self, peer, response, secret)
	self.accept(response, peer)
	local counts, message, code = response:apply(self.store, secret, peer.number, self.clock:now())
	if not counts then return nil, message, code end
	record_counts.add(self.counts, counts)
	self.log:info("snapshot applied", {
		peer = peer.wallet, records = counts.total, merged = counts.merged, rejected = counts.rejected,
	})
	return counts
end

-- Fetches and applies one peer's snapshot.
-- @return { complete: whether the peer's store is complete } | nil, message, code
local function snapshot_of(self, peer, secret)
	local response, message, code = self.exchange:call(peer, function(signature)
		return native.text_body(self.writer:snapshot_request(signature))
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

-- Whether a peer broke off its snapshot, as existing nodes do under load: it had just given a nonce.
local function was_broken_off(peer, code)
	return peer.probe_status == 200 and (code == "ERR_CONNECT" or code == "ERR_HTTP")
end

-- Adds the outcome of one peer to what was found. A refusal is not authenticated, and may only mean that the
-- peer does not know yet that this node is a member: it counts as not ready.
local function add_outcome(found, peer, snapshot, message, code)
	if not snapshot then
		if code == "ERR_NOT_READY" or code == "ERR_REFUSED" then found.unready = found.unready + 1 end
		found.messages[#found.messages + 1] = peer.wallet .. ": " .. tostring(message)
		return
	end
	found.reached = found.reached + 1
	if snapshot.complete then found.complete = found.complete + 1 end
end

--- Fetches the snapshots of all peers that can be reached, and merges them. After the first complete one, waits
-- for the others for a limited time; later ones are merged as they come. All are fetched because an earlier write
-- of this node may have reached only one peer, and must not be overwritten unseen. Yields.
-- @param secret master secret that the records are encrypted under
-- @return { members: number of other members; reached: of peers that gave a snapshot; unready: of peers that
--   replied but gave none; complete: of complete snapshots; message: what failed, or nil }
function Bootstrap:snapshots(secret)
	local list, started = callable(self), self.mono_ms()
	local found = { members = #self.peers:others(), reached = 0, unready = 0, complete = 0, messages = {} }
	local left, next_index, waiter, again = #list, 1, wakeup.new(), {}
	local function work()
		while next_index <= #list do
			local peer = list[next_index]
			next_index = next_index + 1
			local ok, snapshot, message, code = loop.try(snapshot_of, self, peer, secret)
			if not ok then snapshot, message, code = nil, "broke down", nil end
			local outcome = snapshot and "fetched" or "failures"
			self.counts[outcome] = self.counts[outcome] + 1
			if not snapshot and was_broken_off(peer, code) and not again[peer] then
				again[peer], list[#list + 1], left = true, peer, left + 1 -- once more, after the others
			else
				add_outcome(found, peer, snapshot, message, code)
			end
			left = left - 1
			waiter:wake()
		end
	end
	for _ = 1, math.min(AT_ONCE, #list) do loop.spawn(work) end
	while left > 0 and found.complete == 0 do waiter:wait() end
	local deadline = self.mono_ms() + math.max(PATIENCE_MS, PATIENCE * (self.mono_ms() - started))
	while left > 0 and self.mono_ms() < deadline do waiter:wait(deadline - self.mono_ms() + 1) end
	found.message = #found.messages > 0 and table.concat(found.messages, "; ") or nil
	return found
end

--- Fetches the snapshots of existing nodes in the background: they push each change only once, so this node has
-- missed those of the time when it was not ready. Nodes of this version push again. Returns at once.
function Bootstrap:catch_up(secret)
	if self.catching_up then return end
	self.catching_up = true
	loop.spawn(function()
		for _, peer in ipairs(callable(self)) do
			if not self.peers:understands(peer, "store") then loop.try(snapshot_of, self, peer, secret) end
		end
		self.catching_up = false
	end)
end

--- @param deps exchange (kms.sync.exchange); writer (kms.sync.message); evidence (kms.sync.evidence); peers
--   (kms.peers); store; clock (kms.base.clock); log; mono_ms; max_snapshot_bytes; accept (function(message, peer):
--   marks the records that the operator's policy refuses)
-- @return bootstrap; `counts` since the start: snapshots fetched, snapshots that failed (failures), and
--   kms.sync.record_counts of their records
function M.new(deps)
	local self = needs.take(deps, "exchange writer evidence peers store clock log mono_ms max_snapshot_bytes accept")
	self.first, self.counts = 0, { fetched = 0, failures = 0 }
	return setmetatable(self, Bootstrap)
end

return M
