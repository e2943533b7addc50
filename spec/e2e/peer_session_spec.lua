-- Sessions that members open with a node (docs/protocol.md section 15.6): what goes through them, and every refusal.

local apps = require("spec.support.app")
local cjson = require("cjson")
local crypto = require("spec.support.crypto")
local expect = require("spec.support.expect")
local nodes = require("spec.support.node")
local peer_sessions = require("spec.support.peer_session")
local peers = require("spec.support.peer")
local sessions = require("spec.support.session_client")
local wait = require("spec.support.wait")

local SNAPSHOT = { type = "snapshot_request" }

describe("a member's session", function()
	local node, peer, app

	local function member(name, on)
		local made = peers.new(on or node, name)
		made.node:register({ made })
		wait.until_true("the node to know " .. name, function() return made:ask_secret().status ~= 403 end)
		return made:join()
	end

	setup(function()
		node = nodes.start({ env = { MAX_SYNC_PAYLOAD_BYTES = 5500000, ALLOW_PARTIAL_REPLICATION = "true" } })
		peer = member("session peer")
		app = apps.new(node, "700", "session app")
		node:register({ app })
	end)

	teardown(function() node:stop() end)

	-- A refusal inside, which leaves the session as it is.
	local function refused(answer, status, code)
		assert.same({ status, code, "string" }, { answer.status, answer.code, type(answer.message) })
		return answer.message
	end

	describe("carries", function()
		it("deltas and snapshots, with values in base64 and a mac, and nothing of version 1", function()
			local session = peer_sessions.open(peer)
			local record = peer_sessions.record(peer, "700", "s/1", "through a session")
			local counts = session:sync({ type = "delta", data = { ["700"] = { record } } })
			assert.same({ "ok", 1, 1 }, { counts.status, counts.total, counts.merged })
			assert.equal("through a session", app:value("s/1"))
			local answer = session:sync(SNAPSHOT)
			assert.is_nil(answer.pop)
			local found
			for _, held in ipairs(answer.data["700"]) do if held.key == "s/1" then found = held end end
			assert.same(record, found)
			local named = {}
			for _, name in ipairs(answer.features) do named[name] = true end
			assert.is_true(named.session and named.pop)
			local page = session:sync({ type = "snapshot_request", since = 0, max_bytes = 1 })
			assert.is_true(page.sequence >= page["until"])
		end)

		it("the master secret, sealed, before its member can show a mac", function()
			local newcomer = peers.new(node, "session newcomer")
			node:register({ newcomer })
			wait.until_true("the node to know it", function() return peer_sessions.request(newcomer).status == 200 end)
			local session, ephemeral = peer_sessions.open(newcomer), crypto.made_up("of a newcomer")
			local answer = session:sync({ type = "master_secret_request", ecdh_pubkey = crypto.hex(ephemeral.der) },
				{ mac = false })
			assert.equal(peer.master, crypto.unseal(ephemeral.scalar, answer.sealed))
			refused(session:sync(SNAPSHOT, { mac = false }), 403, "unauthorized")
		end)

		it("no more than half again the bytes of the ciphertext", function()
			local size, count = 65536, 16
			for i = 1, count do assert.equal(200, app:put("bytes/" .. i, crypto.random(size)).status) end
			local session, since, moved, records = peer_sessions.open(peer), 0, 0, 0
			repeat
				local seq = session.seq + 1
				local body = session:seal(('{"mac":"%s","since":%d,"type":"snapshot_request"}'):format(
					peer_sessions.mac(session, seq), since))
				local response = sessions.post(peer, body)
				local page = cjson.decode((session:open_answer(response.body, seq)))
				moved, since = moved + #body + #response.body, page["until"]
				for _, list in pairs(page.data) do
					for _, record in ipairs(list) do
						if record.key:find("^bytes/") then records = records + 1 end
					end
				end
			until since >= page.sequence
			assert.equal(count, records)
			assert.is_true(moved <= 1.5 * count * (size + 28), moved / (count * (size + 28)))
		end)

		it("messages that are larger than those of applications, up to MAX_SYNC_PAYLOAD_BYTES", function()
			local session = peer_sessions.open(peer)
			local function padded(bytes)
				local json = ('{"data":{},"mac":"%s","type":"delta"}'):format(peer_sessions.mac(session, session.seq + 1))
				return (session:seal(json .. (" "):rep(bytes - #json)))
			end
			-- 12 bytes before the JSON, padding, 24 before and 16 behind all that.
			local most = (5500000 - 40) // 256 * 256 - 12
			assert.equal(200, sessions.post(peer, padded(most)).status)
			expect.refused(sessions.post(peer, padded(most + 256)), 413, "payload_too_large")
		end)

		it("no answer beyond MAX_SYNC_PAYLOAD_BYTES, but says so inside", function()
			for i = 1, 7 do assert.equal(200, app:put("large/" .. i, ("v"):rep(700000)).status) end
			refused(peer_sessions.open(peer):sync(SNAPSHOT), 413, "payload_too_large")
			for i = 1, 7 do assert.equal(200, app:delete("large/" .. i).status) end
		end)
	end)

	describe("is not opened", function()
		it("under the text of an application, for another body, twice, or by a stranger", function()
			expect.refused(peer_sessions.request(peer, { domain = "NovaKMS:AppSession" }), 403, "unauthorized")
			expect.refused(peer_sessions.request(peer, { domain = "NovaKMS:Auth" }), 403, "unauthorized")
			local response, sent = peer_sessions.request(peer)
			assert.equal(200, response.status)
			expect.refused(peer_sessions.request(peer, { headers = sent.headers, body = sent.body }), 403, "unauthorized",
				"nonce_used")
			local _, other = peer_sessions.request(peer)
			expect.refused(peer_sessions.request(peer, { body = other.body }), 403, "unauthorized")
			expect.refused(peer_sessions.request(peers.new(node, "nobody's peer")), 403, "forbidden")
			expect.refused(peer_sessions.request(app), 403, "unauthorized")
		end)

		it("to another key, suite or operation, or with an e of small order", function()
			local stranger = crypto.made_up("another sender")
			expect.refused(peer_sessions.request(peer, { sender_der = stranger.der }), 403, "forbidden")
			expect.refused(peer_sessions.request(peer, { channel_key = crypto.random(32) }), 400, "bad_request")
			for _, change in ipairs({
				{ suite = "x25519-sha256-chacha20poly1305" }, { op = "derive" }, { e = ("0"):rep(64) },
				{ e = "01" .. ("0"):rep(62) }, { ends = { "00" } }, { pop = "x" },
			}) do
				expect.refused(peer_sessions.request(peer, { change = change }), 400, "bad_request")
			end
			expect.refused(peer_sessions.request(peer, { signed_body = ("x"):rep(8193) }), 413, "payload_too_large")
		end)

		it("where PEER_SESSIONS is false, nor more often than SESSION_OPEN_PER_MINUTE", function()
			local without = nodes.start({ env = { PEER_SESSIONS = "false" } })
			finally(function() without:stop() end)
			local made = member("without", without)
			expect.refused(peer_sessions.request(made), 403, "forbidden")
			local response = made:sync({ type = "snapshot_request", features = { "pop", "session" } }, { pop = true })
			for _, name in ipairs(response.inner.features) do assert.not_equal("session", name) end
			local slow = nodes.start({ env = { SESSION_OPEN_PER_MINUTE = "2" } })
			finally(function() slow:stop() end)
			made = member("often", slow)
			for _ = 1, 2 do assert.equal(200, peer_sessions.request(made).status) end
			expect.refused(peer_sessions.request(made), 429, "rate_limited")
		end)
	end)

	describe("refuses inside", function()
		it("what shows no mac, that of another number, session or secret, or one that is none", function()
			local session, other = peer_sessions.open(peer), peer_sessions.open(peer)
			local function mac_of(o)
				return peer_sessions.mac(session, session.seq + 1, o)
			end
			for _, make in ipairs({
				function() return false end, function() return mac_of({ seq = session.seq }) end,
				function() return mac_of({ seq = session.seq + 2 }) end,
				function() return mac_of({ salt = other.opening.salt }) end,
				function() return mac_of({ master = crypto.random(32) }) end, function() return mac_of():sub(1, 63) end,
				function() return mac_of() .. "0" end, function() return ("0"):rep(64) end, function() return "x" end,
			}) do
				assert.matches("mac", refused(session:sync(SNAPSHOT, { mac = make() }), 403, "unauthorized"))
			end
			-- It is of this number: a copy of the message is none.
			assert.equal("ok", session:sync({ type = "delta", data = {} }).status)
		end)

		it("operations of applications, and in an application's session messages of members", function()
			local session = peer_sessions.open(peer)
			for _, json in ipairs({ '{"op":"list"}', '[{"op":"list"}]', "[]" }) do
				refused(session:sync({}, { json = json, mac = false }), 403, "forbidden")
			end
			local own = sessions.open(app)
			refused(own:call({ type = "delta", data = {} }), 403, "forbidden")
			refused(own:call(SNAPSHOT), 403, "forbidden")
			assert.equal(200, own:call({ op = "list" }).status)
			assert.equal("ok", session:sync({ type = "delta", data = {} }).status)
		end)

		it("a time that is off, other types, malformed JSON and content", function()
			local session = peer_sessions.open(peer)
			for _, off_ms in ipairs({ -121000, 121000 }) do
				refused(session:sync(SNAPSHOT, { time_ms = sessions.now_ms() + off_ms }), 403, "stale")
			end
			refused(session:sync({ type = "other" }), 400, "bad_request")
			refused(session:sync({}, { json = "{" }), 400, "bad_request")
			refused(session:sync({}, { json = "" }), 400, "bad_request")
			refused(session:sync({}, { content = ("\255"):rep(256) }), 400, "bad_request")
			refused(session:sync({ type = "master_secret_request" }, { mac = false }), 400, "bad_request")
			assert.equal("ok", session:sync({ type = "delta", data = {} }).status)
		end)

		it("large messages without a mac, and counts values in hexadecimal as rejected", function()
			local session = peer_sessions.open(peer)
			local json = '{"type":"master_secret_request"}'
			refused(session:sync({}, { json = json .. (" "):rep(66000), mac = false }), 403, "unauthorized")
			local hex = peer:record("700", "hex", "v")
			hex.value = hex.value .. "0"
			local counts = session:sync({ type = "delta", data = { ["700"] = { hex } } })
			assert.same({ 1, 1 }, { counts.total, counts.rejected })
		end)
	end)

	it("goes on when the table is full of members' sessions, and applications get none", function()
		local small = nodes.start({ env = { MAX_SESSIONS = "2" } })
		finally(function() small:stop() end)
		local made, other = member("full", small), apps.new(small, "700", "full app")
		small:register({ other })
		wait.until_true("the application", function() return sessions.request(other).status == 200 end)
		local own = sessions.open(other)
		local first, second = peer_sessions.open(made), peer_sessions.open(made)
		expect.refused(sessions.post(other, (own:seal('{"op":"list"}'))), 410, "session_unknown")
		expect.refused(sessions.request(other), 503, "service_unavailable")
		for _, session in ipairs({ first, second }) do assert.equal("ok", session:sync(SNAPSHOT).status) end
	end)

	it("ends when its member leaves the list, or gets another key", function()
		local leaver, rekeyed = member("leaver"), member("rekeyed")
		local other_key = crypto.hex(crypto.made_up("another key").der)
		for made, change in pairs({
			[leaver] = function(chain) chain.instances[leaver.wallet].status = 1 end,
			[rekeyed] = function(chain) chain.instances[rekeyed.wallet].tee_pubkey = other_key end,
		}) do
			local session = peer_sessions.open(made)
			node:edit_chain(change)
			local last
			wait.until_true("its end", function()
				local body, seq = session:seal(('{"data":{},"mac":"%s","type":"delta"}'):format(
					peer_sessions.mac(session, session.seq + 1)))
				local response = sessions.post(made, body)
				if response.status == 410 then return true end
				last = cjson.decode((session:open_answer(response.body, seq)))
				return last.status == 403
			end)
			expect.refused(sessions.post(made, (session:seal("{}"))), 410, "session_unknown")
			expect.refused(peer_sessions.request(made), 403, "forbidden")
		end
	end)

	it("is limited to its member and its number, whoever else has a session", function()
		local session, other = peer_sessions.open(peer), peer_sessions.open(member("another member"))
		local own = sessions.open(app)
		local body = session:seal('{"type":"delta","data":{}}')
		for _, foreign in ipairs({ other.sid, own.sid }) do
			expect.refused(sessions.post(peer, foreign .. body:sub(17)), 400, "bad_request")
		end
		assert.equal(200, sessions.post(peer, body).status)
		expect.refused(sessions.post(peer, body), 409, "session_replay")
		expect.refused(sessions.post(peer, crypto.random(16) .. body:sub(17)), 410, "session_unknown")
		for _, at in ipairs({ 17, 24, 25, 100, #body }) do
			local fresh = session:seal('{"type":"delta","data":{}}')
			local spoilt = fresh:sub(1, at - 1) .. string.char(fresh:byte(at) ~ 1) .. fresh:sub(at + 1)
			expect.refused(sessions.post(peer, spoilt), 400, "bad_request")
		end
		assert.equal("ok", session:sync({ type = "delta", data = {} }).status)
	end)

	it("gives no secret in version 1 to a member that says that it has sessions", function()
		local made = peers.new(node, "has sessions")
		node:register({ made })
		wait.until_true("the node to know it", function() return made:ask_secret().status ~= 403 end)
		local request = {
			type = "master_secret_request", ecdh_pubkey = crypto.hex(crypto.made_up("e").der), features = { "pop", "session" },
		}
		local response = expect.ok(made:sync(request, { pop = true, mac = false }))
		assert.is_nil(response.inner.sealed)
		assert.equal(response.signature, response.inner.pop)
		-- Of what was recorded before that, its sender must sign each exchange anew.
		expect.refused(made:sync(request, { mac = false }), 403, "forbidden", "pop_mismatch")
	end)
end)
