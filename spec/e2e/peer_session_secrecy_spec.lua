-- What is left of sessions between members: their keys are in guarded memory alone while they are open, on both sides,
-- and nowhere once they have ended; and a recorded hand-over of the master secret stays closed (docs/protocol.md
-- section 15.6).

local backend = require("spec.support.backend")
local chain_server = require("spec.support.chain_server")
local crypto = require("spec.support.crypto")
local evm_node = require("spec.support.evm_node")
local files = require("spec.support.files")
local loopback = require("spec.support.loopback")
local memory = require("spec.support.memory")
local nodes = require("spec.support.node")
local peer_sessions = require("spec.support.peer_session")
local peers = require("spec.support.peer")
local recorded = require("spec.support.recorded_session")
local session_members = require("spec.support.session_member")
local sessions = require("spec.support.session_client")
local wait = require("spec.support.wait")

local MASTER = crypto.keccak256("the master secret behind sessions of members")

local function start()
	local node = nodes.start({ env = { MASTER_SECRET_HEX = crypto.hex(MASTER) } })
	local peer = peers.new(node, "secrecy of members")
	node:register({ peer })
	wait.until_true("the node to know it", function() return peer_sessions.request(peer).status == 200 end)
	peer.master = MASTER
	return node, peer
end

-- Whether memory can be scanned here; says why not.
local function can_scan()
	local reason = memory.node_obstacle()
	if reason then print("memory scan skipped: " .. reason) end
	return reason == nil, reason
end

-- Scans until only these secrets are in guarded memory, each once; none may be elsewhere.
local function only_guarded(pid, secrets, wanted)
	local hits
	wait.until_true("the rest to be wiped", function()
		hits = memory.scan(pid, secrets)
		local guarded = memory.count(hits, "guarded")
		for name in pairs(secrets) do
			if (guarded[name] or 0) ~= (wanted[name] and 1 or 0) then return false, name end
		end
		return true
	end)
	assert.equal("", memory.leaks(hits))
end

describe("the keys of sessions between members", function()
	it("are in guarded memory of the node that was asked, until the session ends", function()
		local ok, reason = can_scan()
		if not ok then return pending(reason) end
		local node, peer = start()
		finally(function() node:stop() end)
		local open, ended = peer_sessions.open(peer), peer_sessions.open(peer)
		for _, session in ipairs({ open, ended }) do
			assert.equal("ok", session:sync({ type = "snapshot_request" }).status)
		end
		peer_sessions.open(peer, { ends = { ended.grant.sid } })
		peer:close()
		only_guarded(node.pid, {
			["open c2s"] = open.c2s, ["open s2c"] = open.s2c, ["open shared"] = open.opening.shared,
			["ended c2s"] = ended.c2s, ["ended s2c"] = ended.s2c, ["ended shared"] = ended.opening.shared,
			["sync key"] = crypto.derive(MASTER, "0", "sync_hmac_key"),
		}, { ["open c2s"] = true, ["open s2c"] = true })
	end)

	it("are in guarded memory of the node that opened it, until that gives it up", function()
		local ok, reason = can_scan()
		if not ok then return pending(reason) end
		local chain = chain_server.start()
		chain.hash = "0x" .. crypto.hex(crypto.keccak256(MASTER))
		local member = session_members.start("asked", MASTER)
		chain:register("49", member.wallet, member.identity.der, member.url)
		local node = evm_node.serve(chain, { DATA_SYNC_INTERVAL_SECONDS = "1" })
		finally(function()
			node:stop()
			loopback.close()
		end)
		local given_up = member.openings[1]
		member.sessions[given_up.sid] = nil
		wait.until_true("another session", function() return #member.openings > 1 end)
		local open = member.openings[2]
		only_guarded(node.pid, {
			["given up c2s"] = given_up.c2s, ["given up s2c"] = given_up.s2c,
			["open c2s"] = open.c2s, ["open s2c"] = open.s2c,
		}, { ["open c2s"] = true, ["open s2c"] = true })
	end)
end)

describe("the record of a hand-over of the master secret", function()
	backend.only("files", it)("does not open with both P-384 private keys", function()
		local node, peer = start()
		finally(function() node:stop() end)
		local session, ephemeral = peer_sessions.open(peer), crypto.made_up("of a recorded newcomer")
		local request, seq = session:seal(('{"ecdh_pubkey":"%s","type":"master_secret_request"}'):format(
			crypto.hex(ephemeral.der)))
		local response = sessions.post(peer, request)
		assert.truthy((session:open_answer(response.body, seq)):find('"sealed"', 1, true))
		local own = crypto.seed_identity(crypto.unhex(files.read(node.dir .. "/node.seed"):sub(1, 64)))
		assert.is_nil(recorded.attack(request, session, own, peer.identity))
		assert.truthy(recorded.with_erased(request, session, own, peer.identity))
		-- Neither half of what would unseal it is outside the messages: no envelope has one of the ephemeral keys.
		local offer, grant = recorded.envelopes(session, own, peer.identity)
		for _, opened in ipairs({ offer, grant }) do
			assert.same({}, { opened.ecdh_pubkey, opened.sealed })
		end
	end)
end)
