--- What a node answers to its peers' requests (docs/protocol.md section 9): each function gives the
-- inner answer (kms.body) | nil, message, code. `exchange` has peer, signature and nonce of the
-- headers, secret (under which the body was checked), and stands() -> true | nil, message, code:
-- whether all that the headers were checked for still holds, to be asked after a wait.

local native = require("kms_native")
local record_counts = require("kms.sync.record_counts")

local M = {}

local function refuse(code, message)
	return nil, message, code
end

--- Merges records.
function M.delta(node, opened, exchange)
	local peer = exchange.peer
	if node.operator:accept(opened, peer) then
		local ok, why, failure = exchange.stands()
		if not ok then return nil, why, failure end
	end
	local counts, message, code = opened:apply(node.store, exchange.secret, peer.number, node.wall_ms())
	if not counts then return nil, message, code end
	record_counts.add(node.sync_counts.records, counts)
	if counts.poisoned > 0 then
		node.peers:report(peer, "poisoned_records", ("%d records that do not decrypt"):format(counts.poisoned))
	end
	local bad = counts.rejected - counts.future - counts.poisoned - counts.refused
	if bad > 0 then node.peers:record(peer, "rejected_records", ("%d records that are not acceptable"):format(bad)) end
	return native.text_body(node.writer:delta_answer(exchange.signature, counts))
end

--- Gives every record. A snapshot is under way from before it is built until it is sent or dropped:
-- one of a peer, which may read as slowly as it likes, and so many of all. As an envelope, in
-- hexadecimal, it is twice as long.
function M.snapshot_request(node, opened, exchange)
	exchange.release_snapshot = node.snapshots:take(exchange.peer.wallet)
	if not exchange.release_snapshot then return refuse("ERR_BUSY", "too many snapshots at once") end
	local before, behind = node.writer:snapshot_answer(exchange.signature, node.readiness:is_complete())
	return node.store:snapshot({
		prefix = before, suffix = behind, max_bytes = node.config.MAX_SNAPSHOT_BYTES // 2,
		stubs = opened:features().stub == true,
	})
end

-- Whether the chain says at this moment that the peer may have the secret, and the operator. Each of
-- them is waited for: what stood before is looked at when all have spoken.
local function may_have_secret(node, opened, exchange, pubkey)
	local peer = exchange.peer
	local instance, message = node.peers:fresh(peer.wallet)
	if message then return refuse("ERR_CHAIN", "the registry cannot be reached") end
	if not instance or native.peer_point(instance.tee_pubkey) ~= peer.point then
		return refuse("ERR_FORBIDDEN", "not a KMS peer")
	end
	local shown, why, code = node.evidence:check(opened:text("attestation"), exchange, instance, pubkey)
	if code then return refuse(code, why) end
	local ok, wait_s
	ok, message, code, wait_s = node.operator:release_secret(peer, instance, shown)
	if not ok then return nil, message, code, wait_s end
	return exchange.stands()
end

--- Gives the master secret, sealed.
function M.master_secret_request(node, opened, exchange)
	local peer = exchange.peer
	local pubkey = opened:text("ecdh_pubkey")
	if not pubkey then return refuse("ERR_FIELD_MISSING", "ecdh_pubkey: a required field is missing") end
	if not node.secret_limiter:take(peer.wallet:sub(11), node.mono_ms()) then
		return refuse("ERR_RATE", "too many requests for the secret")
	end
	local ok, message, code, wait_s = may_have_secret(node, opened, exchange, pubkey)
	exchange.wait_s = wait_s
	if not ok then return nil, message, code end
	local sealed
	sealed, message, code = native.master_seal(exchange.secret, pubkey)
	if not sealed then return nil, message, code end
	node.log:info("master secret handed to a peer", { peer = peer.wallet })
	return native.text_body(node.writer:secret_answer(exchange.signature, sealed))
end

return M
