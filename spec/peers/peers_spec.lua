local audits = require("spec.support.audit")
local bans = require("kms.peers.bans")
local outbound = require("kms.peers.outbound")
local fake_chain = require("spec.support.fake_chain")
local native = require("spec.support.native")
local peers = require("kms.peers")
local policy = require("kms.policy")

local function wallet(n) return ("0x%040x"):format(n) end

local function key()
	local _, p384 = native.identity(native.secret_random(32))
	return p384:public_der()
end

describe("peers", function()
	local audit, chain, list, now, step, warnings
	local OWN, OTHER, THIRD = wallet(1), wallet(2), wallet(3)

	before_each(function()
		now, step, warnings, audit = 1000, 0, {}, audits.new()
		local function clock()
			now = now + step
			return now
		end
		local shipped = assert(policy.open({ native = native, shipped = "config/policy", wall_ms = clock, mono_ms = clock }))
		chain = fake_chain.new()
		for _, w in ipairs({ OWN, OTHER, THIRD }) do chain:register("49", w, key()) end
		list = peers.new({
			chain = chain, app_id = "49", tee = { address = OWN }, mono_ms = clock, wall_ms = clock,
			bans = bans.new({ policy = shipped, ban_ms = 600000, wall_ms = clock }),
			backoff_ms = function(peer) return peer.failures * 1000 end, interval_ms = function() return 10000 end,
			outbound = outbound.new({ config = { IN_ENCLAVE = true, ALLOW_PRIVATE_PEERS = false }, env = function() end }),
			log = { warn = function(_, _, fields) warnings[#warnings + 1] = fields end }, audit = audit,
		})
		chain.instances[OTHER].url = "https://other.example/"
		chain.instances[THIRD].url = "http://third.example" -- not for an enclave
		assert.is_true(list:refresh())
	end)

	it("reads the members again where the chain's contents have changed, or the last time failed", function()
		local contents = {}
		chain.contents = function() return contents end
		local function reads()
			chain.calls = {}
			local ok = list:refresh()
			return ok, chain.calls.active or 0
		end
		assert.same({ true, 1 }, { reads() })
		chain.instances[THIRD] = nil
		assert.same({ true, 0 }, { reads() })
		assert.equal(3, #list:list())
		contents = {}
		assert.same({ true, 1 }, { reads() })
		assert.equal(2, #list:list())
		contents, chain.down = {}, true
		assert.same({ nil, 1 }, { reads() })
		chain.down = false
		assert.same({ true, 1 }, { reads() })
		assert.same({ true, 0 }, { reads() })
		chain.contents = function() return nil, "connection refused", "ERR_CHAIN" end
		assert.same({ nil, "connection refused" }, { list:refresh() })
		assert.equal(2, #list:list())
	end)

	it("lists every member, and the others as those to deal with", function()
		assert.equal(3, #list:list())
		local others = list:others()
		assert.same({ OTHER, THIRD }, { others[1].wallet, others[2].wallet })
		assert.equal(97, #others[1].point)
		assert.equal("https://other.example", others[1].url)
		assert.is_nil(list:peer(OWN))
		assert.equal(others[1], list:peer(OTHER))
	end)

	it("tells those that the chain keeps out from members and strangers", function()
		chain.instances[OTHER].zk_verified = false
		chain.versions["49/2"] = { status = 2 }
		chain:register("49", wallet(4), key())
		chain.instances[wallet(4)].version_id = "2" -- revoked before this node had seen it
		chain.instances[THIRD] = nil -- left
		assert.is_true(list:refresh())
		for _, kept_out in ipairs({ OTHER, THIRD, wallet(4) }) do assert.is_true(list:is_kept_out(kept_out)) end
		for _, other in ipairs({ OWN, wallet(5) }) do assert.is_false(list:is_kept_out(other)) end
		chain.instances[OTHER].zk_verified = true
		assert.is_true(list:refresh())
		assert.is_false(list:is_kept_out(OTHER))
	end)

	it("does not call a peer whose URL is not allowed, and logs that once", function()
		assert.is_false(list:callable(list:peer(THIRD), now))
		assert.is_true(list:callable(list:peer(OTHER), now))
		list:refresh()
		assert.equal(1, #warnings)
		assert.equal("invalid_url", warnings[1].what)
		chain.instances[THIRD].url = "https://third.example"
		list:refresh()
		now = now + 600000
		assert.is_true(list:callable(list:peer(THIRD), now))
	end)

	it("forgets a member that the chain no longer has, and knows it again by its number", function()
		local number = list:peer(OTHER).number
		local row = chain.instances[OTHER]
		chain.instances[OTHER] = nil
		list:refresh()
		assert.is_nil(list:peer(OTHER))
		chain.instances[OTHER] = row
		list:refresh()
		assert.equal(number, list:peer(OTHER).number)
		assert.are_not.equal(number, list:peer(THIRD).number)
	end)

	it("bounds what it remembers of former members", function()
		local first = list:peer(OTHER)
		for i = 1, 1001 do
			chain.instances = { [OWN] = chain.instances[OWN] }
			chain:register("49", wallet(100 + i), first.instance.tee_pubkey)
			list:refresh()
		end
		assert.is_true(list.known_count <= 1002)
		chain.instances[OTHER] = first.instance
		list:refresh()
		assert.are_not.equal(first.number, list:peer(OTHER).number)
	end)

	it("keeps its list when the chain does not answer", function()
		chain.down = true
		assert.same({ nil, "connection refused" }, { list:refresh() })
		assert.equal(3, #list:list())
	end)

	it("waits for backoff_ms after a failure, and not after a success", function()
		local peer = list:peer(OTHER)
		for i = 1, 3 do
			list:unreachable(peer)
			assert.equal(now + i * 1000, peer.retry_ms)
		end
		assert.same({}, { list.bans:calls(OTHER, now) })
		assert.equal(1, #warnings) -- about the URL: being away is no misbehaviour
		assert.equal("unreachable", (list:state(OTHER)))
		list:answered(peer)
		assert.same({ 0, now }, { peer.retry_ms, peer.last_ok_ms })
		assert.equal("ok", (list:state(OTHER)))
	end)

	it("does not count as ok who has not answered for three sync intervals", function()
		local peer = list:peer(OTHER)
		list:answered(peer)
		now = now + 29999
		assert.equal("ok", (list:state(OTHER)))
		now = now + 1
		assert.equal("unknown", (list:state(OTHER)))
		list:unreachable(peer)
		assert.equal("unreachable", (list:state(OTHER)))
		list:answered(peer)
		assert.equal("ok", (list:state(OTHER)))
	end)

	it("calls a peer again that shows a sign of life, which is no answer", function()
		local peer = list:peer(OTHER)
		list:unreachable(peer)
		list:alive(peer)
		assert.same({ 0, 0, "unknown" }, { peer.retry_ms, peer.failures, (list:state(OTHER)) })
		list:answered(peer)
		now = now + 29000
		list:alive(peer)
		assert.equal("ok", (list:state(OTHER)))
		now = now + 1000
		assert.equal("unknown", (list:state(OTHER)))
	end)

	it("tells that a peer is unreachable that calls this node, and is not reached by calls", function()
		local peer = list:peer(OTHER)
		list:unreachable(peer)
		list:has_called(peer)
		assert.same({ 0, 0, "unreachable" }, { peer.retry_ms, peer.failures, (list:state(OTHER)) })
		list:alive(peer) -- it refuses a call
		assert.equal("unknown", (list:state(OTHER)))
		list:answered(peer)
		list:has_called(peer)
		assert.equal("ok", (list:state(OTHER)))
	end)

	it("tells states, and of a ban why and how long", function()
		assert.equal("self", (list:state(OWN)))
		assert.equal("unknown", (list:state(OTHER)))
		for _ = 1, 3 do list:report(list:peer(OTHER), "bad_response_signature", "forged") end
		assert.same({ "banned", "bad_response_signature", 600 }, { list:state(OTHER) })
		assert.is_false(list:callable(list:peer(OTHER), now))
		now = now + 599999
		assert.is_false(list:callable(list:peer(OTHER), now))
		now = now + 1
		assert.is_true(list:callable(list:peer(OTHER), now))
	end)

	it("has a ban stand in the audit log once", function()
		for _ = 1, 4 do list:report(list:peer(OTHER), "bad_response_signature", "forged") end
		local bans_of_other = {}
		for _, event in ipairs(audit.events) do
			if event.fields.peer == OTHER then bans_of_other[#bans_of_other + 1] = event end
		end
		assert.same({ {
			name = "ban", fields = {
				peer = OTHER, cause = "bad_response_signature", scope = "calls", rule = "bad_response_signature", seconds = 600,
			},
		} }, bans_of_other)
	end)

	it("has a ban stand in the audit log, however long its line in the log takes", function()
		step = 1
		for _, way in ipairs({ "report", "record" }) do
			local peer = list:peer(way == "report" and OTHER or THIRD)
			for _ = 1, 4 do list[way](list, peer, "bad_response_signature", "forged") end
		end
		local banned = {}
		for _, event in ipairs(audit.events) do
			if event.fields.cause == "bad_response_signature" then banned[#banned + 1] = event.fields.peer end
		end
		assert.same({ OTHER, THIRD }, banned)
	end)

	it("remembers for a day what a peer understands", function()
		local peer = list:peer(OTHER)
		assert.is_false(list:understands(peer, "pop"))
		assert.is_false(list:has_existing())
		list:announced(peer, { pop = true }, "aa")
		assert.is_true(list:understands(peer, "pop"))
		assert.is_false(list:understands(peer, "stub"))
		assert.is_true(list:has_existing())
		now = now + 24 * 3600000
		assert.is_false(list:understands(peer, "pop"))
	end)

	it("holds a peer that had a session to them until it says otherwise in an answer of this exchange", function()
		local peer = list:peer(OTHER)
		assert.is_false(list:has_sessions(peer))
		list:announced(peer, { pop = true, session = true }, "aa", true)
		assert.is_true(list:has_sessions(peer))
		peer.had_session = true
		now = now + 24 * 3600000
		list:announced(peer, {}, "aa", true) -- a short message says nothing of features
		assert.is_true(list:has_sessions(peer))
		list:announced(peer, { pop = true }, "aa", false) -- may be an old one
		assert.is_true(list:has_sessions(peer))
		list:announced(peer, {}, nil, false)
		assert.is_true(list:has_sessions(peer))
		list:announced(peer, { pop = true, session = true }, "aa", true)
		assert.is_true(list:has_sessions(peer))
		list:announced(peer, { pop = true }, "aa", true)
		assert.is_false(list:has_sessions(peer))
	end)

	it("does not hold a peer to the sessions that it had under another registered key", function()
		local peer = list:peer(OTHER)
		peer.had_session = true
		assert.is_true(list:refresh())
		assert.is_true(list:has_sessions(peer))
		chain.instances[OTHER].tee_pubkey = key()
		assert.is_true(list:refresh())
		assert.equal(peer, list:peer(OTHER))
		assert.is_false(list:has_sessions(peer))
	end)

	-- Forgotten, it would be taken for an existing node: what is too large for those would never reach it.
	it("asks a peer for its features again before it forgets them", function()
		local peer = list:peer(OTHER)
		assert.is_false(list:is_known(peer))
		list:announced(peer, { store = true }, "aa")
		assert.is_true(list:is_known(peer))
		now = now + 23 * 3600000
		assert.is_false(list:is_known(peer))
		assert.is_true(list:understands(peer, "store"))
		list:announced(peer, { store = true }, "aa")
		assert.is_true(list:is_known(peer))
	end)

	-- A node that had restarted took a member for an existing node whose contact came before any answer: it joined by
	-- a snapshot of up to two minutes, and served without what that member held.
	it("takes no peer for an existing node because of a message that names a store and no features", function()
		local peer = list:peer(OTHER)
		assert.is_false(list:announced(peer, {}, "aa"))
		assert.is_false(list:is_known(peer))
		assert.is_false(list:has_existing())
		assert.is_true(list:announced(peer, {}, "bb"))
		assert.is_false(list:announced(peer, { store = true }, "bb"))
		assert.is_true(list:is_known(peer))
		now = now + 24 * 3600000
		assert.is_false(list:announced(peer, {}, "bb"))
		assert.is_false(list:is_known(peer))
		assert.is_false(list:has_existing())
	end)

	it("takes one for an existing node that has not said anything else for a day", function()
		local peer = list:peer(OTHER)
		list:announced(peer, { store = true }, "aa")
		now = now + 23 * 3600000
		list:announced(peer, {}, nil)
		assert.is_false(list:is_known(peer))
		now = now + 3600000
		list:announced(peer, {}, nil)
		assert.is_true(list:is_known(peer))
		assert.is_false(list:understands(peer, "store"))
	end)

	it("sees by the name of its store that a peer has restarted", function()
		local peer = list:peer(OTHER)
		assert.is_false(list:announced(peer, { store = true }, "aa"))
		assert.is_false(list:announced(peer, { store = true }, "aa"))
		assert.is_false(list:announced(peer, {}, nil))
		assert.is_true(list:announced(peer, { store = true }, "bb"))
	end)

	it("sees that an existing node has been replaced by one of ours", function()
		local peer = list:peer(OTHER)
		assert.is_false(list:announced(peer, {}, nil))
		assert.is_true(list:announced(peer, { store = true }, "aa"))
		assert.is_false(list:announced(peer, { store = true }, "aa"))
	end)

	it("reads from the chain again whether a wallet is a member", function()
		assert.equal(OTHER, list:fresh(OTHER).wallet)
		chain.instances[OTHER].status = 1
		assert.same({ nil, nil }, { list:fresh(OTHER) })
		chain.down = true
		assert.same({ nil, "connection refused" }, { list:fresh(OTHER) })
	end)
end)
