-- What is looked at last before the master secret leaves: a request waits for the chain, for the
-- check of a document and for the operator's rule, and the node does not stand still meanwhile.

local answers = require("kms.sync.replies")
local crypto = require("spec.support.crypto")
local native = require("spec.support.native")

local WALLET = "0x" .. ("1"):rep(40)
local KEYS = crypto.made_up("who asks")

-- The answer alone, of a node of tables that lets everything pass.
-- @param where what is waited for ("chain", "evidence", "rule") when something happens that ends
--   what stood before; nil: nothing does
-- @return the sealed secret | nil, message, code
local function ask(where)
	local stands, held = true, native.secret_random(32)
	local secrets = { current = held }
	local function wait(name, ...)
		if name == where then stands, secrets.current = false, native.secret_random(32) end
		return ...
	end
	local sealed
	local node = {
		secrets = secrets, log = { info = function() end }, mono_ms = function() return 1 end,
		readiness = { is_verified = function() return true end },
		secret_limiter = { take = function() return true end },
		peers = { fresh = function() return wait("chain", { tee_pubkey = KEYS.der }) end },
		evidence = { check = function() return wait("evidence", nil) end },
		operator = { release_secret = function() return wait("rule", true) end },
		writer = { secret_answer = function(_, _, given) sealed = given return "answer" end },
	}
	local opened = {
		text = function(_, name) return name == "ecdh_pubkey" and crypto.hex(KEYS.der) or nil end,
	}
	local given, message, code = answers.master_secret_request(node, opened, {
		peer = { wallet = WALLET, point = native.peer_point(KEYS.der) }, secret = held, signature = "s",
		stands = function()
			if stands then return true end
			return nil, "ignored for misbehaviour", "ERR_FORBIDDEN"
		end,
	})
	if given then return sealed end
	return nil, message, code
end

describe("the master secret", function()
	it("goes to a peer that nothing speaks against", function()
		assert.truthy(ask())
	end)

	for _, where in ipairs({ "chain", "evidence", "rule" }) do
		it("stays where it is when what the request stood on fell while it waited: " .. where, function()
			assert.same({ nil, "ignored for misbehaviour", "ERR_FORBIDDEN" }, { ask(where) })
		end)
	end
end)
