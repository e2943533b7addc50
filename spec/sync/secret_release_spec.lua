-- What is looked at last before the master secret leaves: a request waits for the chain, for the
-- check of a document and for the operator's rule, and the node does not stand still meanwhile.

local audits = require("spec.support.audit")
local crypto = require("spec.support.crypto")
local native = require("spec.support.native")
local replies = require("kms.sync.replies")

local WALLET = "0x" .. ("1"):rep(40)
local KEYS = crypto.made_up("who asks")

-- The reply alone, of parts that let everything pass.
-- @param where the wait ("chain", "evidence", "rule") during which the conditions of the exchange change; nil: they
--   do not
-- @param malformed so many requests with a key that is none come before
-- @param sessions announced (whether the request does), had (whether this node has them), is_sealed (whether it came in
--   one)
-- @return the sealed secret, the audit log, the reply's length | nil, message, code, the audit log
local function ask(where, malformed, sessions)
	sessions = sessions or {}
	local stands, held, sealed = true, native.secret_random(32), nil
	local audit = audits.new()
	local function wait(name, ...)
		if name == where then stands = false end
		return ...
	end
	local part = replies.new({
		store = {}, log = { info = function() end }, config = {}, readiness = {},
		mono_ms = function() return 1 end, wall_ms = function() return 1 end,
		peers = { fresh = function() return wait("chain", { tee_pubkey = KEYS.der }) end },
		evidence = { check = function() return wait("evidence", nil) end },
		gateway = { release_secret = function() return wait("rule", true) end },
		new_apps = {}, existing = { fetch_later = function() end }, absence = {}, audit = audit,
		writer = {
			secret_reply = function(_, _, given) sealed = given return "reply" end,
			secret_in_session = function() return "ask in a session" end,
		},
		has_sessions = function() return sessions.had == true end,
	})
	local function opened(key)
		return {
			text = function(_, name) return name == "ecdh_pubkey" and key or nil end,
			features = function() return { session = sessions.announced } end,
		}
	end
	for _ = 1, malformed or 0 do
		local _, _, refused = part:reply("master_secret_request", opened("00"), { peer = { wallet = WALLET } })
		assert.equal("ERR_PEER_KEY", refused)
	end
	local plain, message, code = part:reply("master_secret_request", opened(crypto.hex(KEYS.der)), {
		peer = { wallet = WALLET, point = native.peer_point(KEYS.der) }, secret = held, proof = { pop = "s" },
		is_sealed = sessions.is_sealed,
		stands = function()
			if stands then return true end
			return nil, "ignored for misbehaviour", "ERR_FORBIDDEN"
		end,
	})
	if plain then return sealed, audit, plain:len() end
	return nil, message, code, audit
end

describe("the master secret", function()
	it("goes to a peer that nothing speaks against", function()
		local sealed, audit = ask()
		assert.truthy(sealed)
		assert.same({ { name = "secret_handed", fields = { peer = WALLET, attested = false } } }, audit.events)
	end)

	it("goes to a peer that has sent malformed keys before: their form is checked before the rate", function()
		assert.truthy(ask(nil, 100))
	end)

	it("goes in version 1 to no member that has sessions, where this node has them", function()
		for _, case in ipairs({
			{ { announced = true, had = true, is_sealed = true }, true }, { { announced = true, had = true }, false },
			{ { announced = true, had = false }, true }, { { announced = nil, had = true }, true },
		}) do
			local sealed, audit, length = ask(nil, nil, case[1])
			assert.equal(case[2], sealed ~= nil)
			assert.equal(case[2] and 1 or 0, #audit.events)
			assert.equal(case[2] and #"reply" or #"ask in a session", length)
		end
	end)

	for _, where in ipairs({ "chain", "evidence", "rule" }) do
		it("stays where it is when what the request stood on fell while it waited: " .. where, function()
			local sealed, message, code, audit = ask(where)
			assert.same({ nil, "ignored for misbehaviour", "ERR_FORBIDDEN" }, { sealed, message, code })
			assert.same({}, audit.events)
		end)
	end
end)
