-- POST /session: how a session is opened, and what is refused (docs/protocol.md section 15.1).

local apps = require("spec.support.app")
local cjson = require("cjson")
local crypto = require("spec.support.crypto")
local expect = require("spec.support.expect")
local http = require("spec.support.http")
local nodes = require("spec.support.node")
local sessions = require("spec.support.session_client")
local wait = require("spec.support.wait")

local MASTER = crypto.keccak256("a made-up master secret")

-- Encodings of points of small order, and of coordinates that are not the shortest (RFC 7748), in hex.
local SMALL = {
	("00"):rep(32), "01" .. ("00"):rep(31),
	"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
	"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
	"ec" .. ("ff"):rep(30) .. "7f", "ed" .. ("ff"):rep(30) .. "7f", "ee" .. ("ff"):rep(30) .. "7f",
	("00"):rep(31) .. "80", "01" .. ("00"):rep(30) .. "80",
	"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b880",
	"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f11d7",
	"ec" .. ("ff"):rep(31),
}

describe("the opening of a session", function()
	local node, app

	setup(function()
		node = nodes.start({ env = { MASTER_SECRET_HEX = crypto.hex(MASTER), SESSION_OPEN_PER_MINUTE = "0" } })
		app = apps.new(node, "400", "session")
		node:register({ app })
	end)
	teardown(function() node:stop() end)

	local function refused(o, status, code, reason)
		local response = sessions.request(app, o)
		if response.headers["x-kms-session-signature"] then error("a refusal is signed", 2) end
		return expect.refused(response, status, code, reason)
	end

	it("is answered with a session that serves the application", function()
		local session = sessions.open(app)
		assert.same({ 3600, 256, "x25519-sha256-aes256gcm" },
			{ session.grant.expires_s, session.grant.max_operations, session.grant.suite })
		assert.matches("^%x+$", session.grant.sid)
		assert.equal(32, #session.grant.sid)
		local answer = session:exchange('{"op":"derive","path":"wallet/root"}')
		assert.equal(('{"app_id":400,"key":"%s","length":32,"path":"wallet/root","status":200}'):format(
			crypto.base64(crypto.derive(MASTER, "400", "wallet/root"))), answer)
	end)

	it("gives each session keys of its own, and the next nonce", function()
		local first, second = sessions.open(app), sessions.open(app)
		assert.not_equal(first.sid, second.sid)
		assert.not_equal(first.c2s, second.c2s)
		assert.not_equal(first.grant.e, second.grant.e)
		assert.is_string(app.next_nonce)
		assert.equal(200, first:call({ op = "list" }).status)
		assert.equal(200, second:call({ op = "list" }).status)
	end)

	it("is refused when it is sent again", function()
		local response, sent = sessions.request(app)
		assert.equal(200, response.status)
		refused({ headers = sent.headers, signed_body = sent.body }, 403, "unauthorized", "nonce_used")
	end)

	it("is refused with a flipped bit at every position of its body, and opens nothing", function()
		local session = sessions.open(app)
		local _, sent = sessions.request(app)
		for position = 1, #sent.body do
			local byte = sent.body:byte(position) ~ (1 << position % 8)
			local body = sent.body:sub(1, position - 1) .. string.char(byte) .. sent.body:sub(position + 1)
			local response = sessions.request(app, { signed_body = sent.body, body = body })
			if response.status ~= 403 or response.headers["x-kms-session-signature"] then
				error(("byte %d: %d %s"):format(position, response.status, response.body))
			end
		end
		-- SESSIONS_PER_WALLET openings would have ended it.
		assert.equal(200, session:call({ op = "list" }).status)
	end)

	it("is refused with a body of another opening under fresh headers", function()
		local _, other = sessions.request(app)
		-- The hash is in the signed text alone: under another body the signature is another wallet's.
		expect.refused(sessions.request(app, { body = other.body }), 403, "unauthorized")
		expect.refused(sessions.request(app, { body = other.body, wallet = false }), 403, "unauthorized", "not_registered")
	end)

	it("takes no signature that was made for another purpose", function()
		for _, domain in ipairs({ "NovaKMS:AppAuth", "NovaKMS:PeerSession", "NovaKMS:Auth" }) do
			expect.refused(sessions.request(app, { domain = domain, wallet = false }), 403, "unauthorized", "not_registered")
		end
		-- And one that opens a session is none for another route.
		local body = cjson.encode(crypto.seal(app:channel_key(), app.identity.der, '{"path":"p"}'))
		local nonce, now = app:nonce(), os.time()
		local text = ("NovaKMS:AppSession:%s:%s:%s:%s"):format(nonce, node.wallet, now, crypto.hex(crypto.sha256(body)))
		expect.refused(app:call({
			method = "POST", target = "/kms/derive", body = body, nonce = nonce, timestamp = now, message = text, wallet = false,
		}), 403, "unauthorized")
	end)

	it("needs the headers, a fresh timestamp and a nonce of this node", function()
		expect.refused(sessions.request(app, { headers = {} }), 403, "unauthorized", "missing_headers")
		refused({ timestamp = os.time() - 500 }, 403, "unauthorized", "stale_timestamp")
		refused({ nonce = crypto.base64(crypto.random(16)) }, 403, "unauthorized", "nonce_unknown")
		refused({ recipient = "0x" .. ("1"):rep(40), wallet = false }, 403, "unauthorized", "not_registered")
		refused({ signer = crypto.random(32) }, 403, "unauthorized", "wallet_mismatch")
	end)

	it("refuses an e of small order, in all twelve encodings", function()
		for _, e in ipairs(SMALL) do
			local response = sessions.request(app, { change = { e = e } })
			assert.equal(400, response.status, e)
			expect.refused(response, 400, "bad_request", "bad_public_key")
		end
	end)

	it("refuses members that are missing, of another kind or unknown, and suites that it does not speak", function()
		for _, change in ipairs({
			{ suite = "p384-sha384-aes256gcm" }, { suite = "" }, { suite = false }, { suite = 1 }, { e = false }, { e = "00" },
			{ e = ("zz"):rep(32) }, { e = 5 }, { op = "derive" }, { op = false }, { ends = "x" }, { ends = { "00" } },
			{ ends = { 5 } }, { pop = "x" }, { other = true },
		}) do refused({ change = change }, 400, "bad_request") end
		local nine = {}
		for i = 1, 9 do nine[i] = ("ab"):rep(16) end
		refused({ ends = nine }, 400, "bad_request")
		for _, plain in ipairs({ "", "{}", "[]", "x", "null" }) do refused({ plain = plain }, 400, "bad_request") end
	end)

	it("refuses bodies that are no envelope, another sender's, not for this node, or too long", function()
		local stranger = crypto.made_up("a stranger")
		for _, body in ipairs({ "", "{}", "[]", "no JSON" }) do refused({ signed_body = body }, 400, "bad_request") end
		refused({ sender_der = stranger.der }, 403, "forbidden", "sender_key_mismatch")
		refused({ channel_key = crypto.random(32) }, 400, "bad_request", "cannot_decrypt")
		refused({ signed_body = ("x"):rep(8193) }, 413, "payload_too_large", "too_large")
	end)

	it("is refused for wallets that are not registered", function()
		local stranger = apps.new(node, "401", "nobody registered this one")
		expect.refused(sessions.request(stranger), 403, "unauthorized", "not_registered")
	end)

	it("has no shortcut for development: X-Tee-Wallet proves nothing", function()
		local headers = { { "X-Tee-Wallet", app.wallet } }
		expect.refused(sessions.request(app, { headers = headers }), 403, "unauthorized", "missing_headers")
	end)

	it("waits until the node serves applications, as messages do", function()
		local own = nodes.start({ env = { MASTER_SECRET_HEX = crypto.hex(MASTER) } })
		finally(function() own:stop() end)
		local caller = apps.new(own, "400", "early")
		own:register({ caller })
		local session = sessions.open(caller)
		own:edit_chain(function(chain) chain.instances[own.wallet].status = 1 end)
		wait.until_true("the node not to be ready", function() return http.get(own.port, "/ready").status == 503 end)
		expect.refused(sessions.request(caller), 503, "service_unavailable", "not_ready")
		expect.refused(sessions.post(caller, (session:seal('{"op":"list"}'))), 503, "service_unavailable", "not_ready")
		own:edit_chain(function(chain) chain.instances[own.wallet].status = 0 end)
		own:wait_ready()
		assert.equal(200, session:call({ op = "list" }).status)
	end)

	it("ends the sessions of the same wallet that it names, and no other's", function()
		local other = apps.new(node, "402", "another application")
		node:register({ app, other })
		local kept, given_up, foreign = sessions.open(app), sessions.open(app), sessions.open(other)
		local held_back = given_up:seal('{"op":"put","key":"late","value":""}')
		sessions.open(app, { ends = { given_up.grant.sid, foreign.grant.sid, ("ab"):rep(16) } })
		expect.refused(sessions.post(app, held_back), 410, "session_unknown")
		assert.equal(200, kept:call({ op = "list" }).status)
		assert.equal(200, foreign:call({ op = "list" }).status)
	end)
end)

describe("limits of openings", function()
	it("are 30 a minute and wallet, unless the operator says otherwise", function()
		local node = nodes.start({ env = { MASTER_SECRET_HEX = crypto.hex(MASTER), SESSION_OPEN_PER_MINUTE = "3" } })
		finally(function() node:stop() end)
		local app, other = apps.new(node, "400", "eager"), apps.new(node, "401", "calm")
		node:register({ app, other })
		for _ = 1, 3 do assert.equal(200, (sessions.request(app)).status) end
		local response = expect.refused(sessions.request(app), 429, "rate_limited")
		assert.truthy(tonumber(response.headers["retry-after"]))
		assert.equal(200, (sessions.request(other)).status)
	end)

	it("keep the sessions of a wallet to SESSIONS_PER_WALLET, the least recently used goes first", function()
		local node = nodes.start({ env = { MASTER_SECRET_HEX = crypto.hex(MASTER), SESSIONS_PER_WALLET = "2" } })
		finally(function() node:stop() end)
		local app = apps.new(node, "400", "many")
		node:register({ app })
		local first, second = sessions.open(app), sessions.open(app)
		assert.equal(200, first:call({ op = "list" }).status)
		sessions.open(app)
		expect.refused(sessions.post(app, (second:seal('{"op":"list"}'))), 410, "session_unknown")
		assert.equal(200, first:call({ op = "list" }).status)
	end)

	it("keep all sessions to MAX_SESSIONS: the wallet with the most gives one", function()
		local node = nodes.start({ env = { MASTER_SECRET_HEX = crypto.hex(MASTER), MAX_SESSIONS = "3" } })
		finally(function() node:stop() end)
		local greedy, calm = apps.new(node, "400", "greedy"), apps.new(node, "401", "calm")
		local late = apps.new(node, "402", "late")
		node:register({ greedy, calm, late })
		local oldest = sessions.open(calm)
		local first, second = sessions.open(greedy), sessions.open(greedy)
		local third = sessions.open(late)
		expect.refused(sessions.post(greedy, (first:seal('{"op":"list"}'))), 410, "session_unknown")
		for _, session in ipairs({ oldest, second, third }) do assert.equal(200, session:call({ op = "list" }).status) end
	end)
end)
