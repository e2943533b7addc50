--- What a node asks of its peers before it serves: the master secret that the chain's hash belongs
-- to, and the records that the cluster holds (docs/protocol.md sections 9 and 10).

local loop = require("kms.base.loop")
local native = require("kms_native")
local record_counts = require("kms.sync.record_counts")
local wakeup = require("kms.async.wakeup")

local M = {}

local Join = {}
Join.__index = Join

local SECRET_TIMEOUT_MS = 5000
local SNAPSHOT_TIMEOUT_MS = 120000
local AT_ONCE = 4 -- snapshots: each can be large
-- After the first complete one, so many times what it took, and this long at least, for the others.
local PATIENCE, PATIENCE_MS = 3, 5000

-- The peers to call now, beginning with another one each time.
local function callable(self)
	local list, others, now = {}, self.peers:others(), self.mono_ms()
	for i = 1, #others do
		local peer = others[(i + self.first) % #others + 1]
		if self.peers:callable(peer, now) then list[#list + 1] = peer end
	end
	self.first = self.first + 1
	return list
end

local function secret_of(self, peer, hash, settled)
	local key, message, code = native.p384_generate()
	if not key then return nil, message, code end
	local pubkey = native.hex_encode(key:public_der())
	local answer
	answer, message, code = self.caller:exchange(peer, function(signature, nonce)
		local attestation = self.evidence:make(peer.wallet, nonce, pubkey)
		return native.text_body(self.writer:secret_request(signature, pubkey, attestation))
	end, { timeout_ms = SECRET_TIMEOUT_MS })
	if not answer then return nil, message, code end
	local secret
	secret, message, code = answer:unseal(key)
	-- An old answer in this one's place cannot be unsealed: it shows nothing of the peer's secret.
	if not secret then return nil, self.caller:distrust(peer, "sealed secret: " .. message, code) end
	-- Checked before it replaces anything. A peer may still have the secret of the hash before.
	if secret:keccak256() == hash then return secret end
	message = "gave a secret whose hash is not the chain's"
	if settled then self.peers:report(peer, "wrong_master_secret", message) end
	return nil, message
end

--- Asks peers in turn for the secret that a hash belongs to.
-- @param hash what the chain shows; @param settled whether it has shown it for a while, so that
--   another secret is a fault of the peer's
-- @return secret, the peer's URL | nil, message
function Join:secret(hash, settled)
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

-- Merges records that an answer holds into the store.
-- @return counts | nil, message, code
local function apply(self, peer, answer, secret)
	self.accept(answer, peer)
	local counts, message, code = answer:apply(self.store, secret, peer.number, self.clock:now())
	if not counts then return nil, message, code end
	record_counts.add(self.counts, counts)
	self.log:info("snapshot applied", {
		peer = peer.wallet, records = counts.total, merged = counts.merged, rejected = counts.rejected,
	})
	return counts
end

-- One peer's snapshot, applied. Returns whether it was complete | nil, message, code.
local function snapshot_of(self, peer, secret)
	local answer, message, code = self.caller:exchange(peer, function(signature)
		return native.text_body(self.writer:snapshot_request(signature))
	end, { master = secret, timeout_ms = SNAPSHOT_TIMEOUT_MS, max_bytes = self.max_snapshot_bytes })
	if not answer then return nil, message, code end
	-- An old answer to a delta in this one's place is no empty store.
	if not answer:flag("data") then return nil, self.caller:distrust(peer, "a snapshot without records") end
	local counts
	counts, message, code = apply(self, peer, answer, secret)
	if not counts then return nil, message, code end
	if counts.total > 0 and counts.rejected == counts.total then
		return nil, "all of its records were rejected", "ERR_UNVERIFIED"
	end
	-- Existing nodes do not say it: what they have is all they will ever have.
	return answer:flag("complete") ~= false
end

-- What one peer's outcome adds to what was found. A refusal is nothing that the peer has provably
-- said, and may only mean that it has yet to see that this node is a member.
local function note(found, peer, whole, message, code)
	if whole ~= nil then found.reached = found.reached + 1 end
	if code == "ERR_NOT_READY" or code == "ERR_REFUSED" then found.unready = found.unready + 1 end
	if whole then found.complete = found.complete + 1 end
	if whole == nil then found.messages[#found.messages + 1] = peer.wallet .. ": " .. tostring(message) end
end

--- Fetches the snapshots of all peers that can be reached and merges them. After the first complete
-- one the others are waited for as long as they may reasonably take; what comes later is merged, too.
-- A write of this node that only one of them has seen would otherwise be written over unseen.
-- @return { members (others than this node), reached (they answered), unready (they are there, and gave
-- none), complete (numbers), message (what failed) }
function Join:snapshots(secret)
	local list, started = callable(self), self.mono_ms()
	local found = { members = #self.peers:others(), reached = 0, unready = 0, complete = 0, messages = {} }
	local left, at, waiter = #list, 0, wakeup.new()
	local function work()
		while at < #list do
			at = at + 1
			local peer = list[at]
			local ok, whole, message, code = loop.try(snapshot_of, self, peer, secret)
			local outcome = ok and whole ~= nil and "fetched" or "failures"
			self.counts[outcome] = self.counts[outcome] + 1
			if ok then note(found, peer, whole, message, code) else note(found, peer, nil, "broke down") end
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

--- Fetches what existing nodes have, beside everything else: they push each change once, and this node
-- has taken nothing for a while. Ours send again. Returns at once.
function Join:catch_up(secret)
	if self.catching_up then return end
	self.catching_up = true
	loop.spawn(function()
		for _, peer in ipairs(callable(self)) do
			if not self.peers:understands(peer, "store") then loop.try(snapshot_of, self, peer, secret) end
		end
		self.catching_up = false
	end)
end

--- @param deps caller (kms.sync.exchange), writer (kms.sync.message), peers, store, clock, log, mono_ms,
-- max_snapshot_bytes; evidence (kms.sync.evidence); accept (function(message, peer): marks records that
-- the operator refuses)
function M.new(deps)
	return setmetatable({
		caller = deps.caller, writer = deps.writer, peers = deps.peers, store = deps.store, clock = deps.clock,
		log = deps.log, mono_ms = deps.mono_ms, max_snapshot_bytes = deps.max_snapshot_bytes,
		accept = deps.accept, evidence = deps.evidence, first = 0,
		counts = { fetched = 0, failures = 0 }, -- snapshots since the start, and what became of their records
	}, Join)
end

return M
