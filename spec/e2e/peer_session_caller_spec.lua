-- Sessions that a node opens with its peers (docs/protocol.md section 15.6): when it does, and what brings it to speak
-- version 1 again, which must not be anybody on the way.

local apps = require("spec.support.app")
local chain_server = require("spec.support.chain_server")
local crypto = require("spec.support.crypto")
local evm_node = require("spec.support.evm_node")
local loopback = require("spec.support.loopback")
local session_members = require("spec.support.session_member")
local wait = require("spec.support.wait")

local SECRET = crypto.keccak256("the secret of a cluster with sessions")
local plain = session_members.plain

describe("a node whose peer has sessions", function()
	local chain, node, member, app

	-- Starts the node with one member, and an application.
	local function start(env)
		local all = { DATA_SYNC_INTERVAL_SECONDS = "1", PEER_BLACKLIST_DURATION_SECONDS = "3" }
		for name, value in pairs(env or {}) do all[name] = value end
		node = evm_node.start(chain, all)
		evm_node.register(chain, node)
		node:wait_ready()
		app = apps.new(node, "700", "caller app")
		chain:register("700", app.wallet, app.identity.der)
	end

	before_each(function()
		chain = chain_server.start()
		chain.hash = "0x" .. crypto.hex(crypto.keccak256(SECRET))
		chain.apps["700"] = { id = "700", status = 0 }
		member = session_members.start("with sessions", SECRET)
		chain:register("49", member.wallet, member.identity.der, member.url)
	end)

	after_each(function()
		if node then node:stop() end
		node = nil
		loopback.close()
	end)

	-- What came in version 1 since number `from` of those received.
	local function in_version_1(from)
		local list = {}
		for i = from or 1, #member.received do
			if not member.received[i].session then list[#list + 1] = member.received[i] end
		end
		return list
	end

	local function written(key, value)
		assert.equal(200, app:put(key, value or "v").status)
	end

	local function wait_pushed(key)
		wait.until_true("the push of " .. key, function() return member.records["700/" .. key] end)
	end

	it("takes the secret and the records, and pushes, through one session, with proofs of it", function()
		start()
		written("a", "pushed in a session")
		wait_pushed("a")
		assert.same({}, member.failures)
		local first = in_version_1()
		-- What it has is asked once, by a request that holds nothing secret.
		assert.same({ 1, "master_secret_request" }, { #first, first[1].inner.type })
		assert.equal(1, #member.openings)
		local key = crypto.derive(SECRET, "0", "sync_hmac_key")
		local types = {}
		for _, exchange in ipairs(member.received) do
			local inner, session = exchange.inner, exchange.session
			if session then
				types[inner.type] = true
				assert.same({}, { inner.pop, inner.sender_wallet })
				local mac = crypto.hmac(key, "nova-kms:session-mac:" .. session.salt .. (">I8"):pack(exchange.seq))
				local is_secret = inner.type == "master_secret_request"
				assert.equal(not is_secret and mac or nil, inner.mac)
			end
		end
		assert.same({ master_secret_request = true, snapshot_request = true, delta = true }, types)
		local record = member.records["700/a"]
		assert.truthy(crypto.unbase64(record.value))
		assert.is_nil(record.value:find("^%x+$"))
	end)

	it("opens another one when it is told that there is none, and names the one that it gave up", function()
		start()
		local old = member.openings[1]
		for i, answer in ipairs({ plain(410, "session_unknown"), plain(409, "session_replay"), plain(400, "bad_request") }) do
			local said
			member.on_path = function(path)
				if path ~= "/session/message" or said then return nil end
				said = true
				return answer
			end
			written("k" .. i)
			wait_pushed("k" .. i)
			local latest = member.openings[#member.openings]
			assert.same({ crypto.hex(old.sid) }, latest.offer.ends)
			old = latest
		end
		assert.equal(4, #member.openings)
		assert.equal(1, #in_version_1())
		assert.same({}, member.failures)
	end)

	for name, spoil in pairs({
		["to another number"] = function(exchange)
			return session_members.seal(exchange.session, exchange.seq + 1, '{"status":"ok","total":1,"merged":1}')
		end,
		["of another session"] = function(exchange)
			local other = { sid = exchange.session.sid, s2c = crypto.random(32) }
			return session_members.seal(other, exchange.seq, '{"status":"ok","total":1,"merged":1}')
		end,
		["with a flipped bit"] = function(exchange)
			local good = session_members.seal(exchange.session, exchange.seq, '{"status":"ok","total":1,"merged":1}')
			return good:sub(1, 20) .. string.char(good:byte(21) ~ 1) .. good:sub(22)
		end,
		["that was cut"] = function(exchange)
			return session_members.seal(exchange.session, exchange.seq, '{"status":"ok"}'):sub(1, 100)
		end,
		["in plaintext"] = function() return '{"status":"ok","total":1,"merged":1}' end,
	}) do
		it("takes no answer " .. name .. " for one, and sends again in a new session", function()
			start()
			local tries, base = 0, member.on_request
			member.on_request = function(exchange)
				local spoils = exchange.session and exchange.inner.data and next(exchange.inner.data) and tries < 1
				if not spoils then return base(exchange) end
				tries = tries + 1
				return loopback.reply(spoil(exchange))
			end
			written("spoilt")
			wait_pushed("spoilt")
			wait.until_true("another session", function() return #member.openings >= 2 end)
			assert.equal(1, tries)
			assert.equal(1, #in_version_1())
		end)
	end

	for name, answer in pairs({
		["404"] = plain(404, "not_found"), ["400"] = plain(400, "bad_request"), ["403"] = plain(403, "forbidden"),
		["410"] = plain(410, "session_unknown"), ["501"] = plain(501, "not_implemented"),
	}) do
		it("does not speak version 1 again because of a " .. name .. " in plain", function()
			start()
			local before = #member.received + 1
			member.on_path = function() return answer end
			written("hidden")
			wait.until_true("its questions in version 1", function() return #in_version_1(before) >= 2 end)
			-- They hold no records.
			for _, exchange in ipairs(in_version_1(before)) do
				assert.same({ "delta", {} }, { exchange.inner.type, exchange.inner.data })
			end
			assert.is_nil(member.records["700/hidden"])
			member.on_path = nil
			wait_pushed("hidden")
			assert.truthy(member.received[#member.received].session)
		end)
	end

	it("nor because of an answer in version 1 that does not name its exchange, or is nobody's", function()
		start()
		local before = #member.received + 1
		local base = member.on_request
		member.on_path = function() return plain(404, "not_found") end
		member.features = { "pop" }
		member.on_request = function(exchange)
			local reply = base(exchange)
			reply.pop = nil
			return reply
		end
		written("hidden")
		wait.until_true("its questions", function() return #in_version_1(before) >= 1 end)
		member.on_request = function(exchange)
			exchange.signer = crypto.made_up("nobody").wallet_key
			return base(exchange)
		end
		local asked = #in_version_1(before)
		wait.until_true("more questions", function() return #in_version_1(before) > asked end)
		for _, exchange in ipairs(in_version_1(before)) do assert.same({}, exchange.inner.data) end
	end)

	it("speaks version 1 with it once its own bound answer says that it has no sessions", function()
		start()
		member.features, member.has_sessions = { "pop" }, false
		written("downgraded")
		wait_pushed("downgraded")
		local last = member.received[#member.received]
		assert.is_nil(last.session)
		assert.truthy(member.records["700/downgraded"].value:find("^%x+$"))
		-- And sessions again after it was upgraded.
		member.features, member.has_sessions = { "pop", "session" }, true
		written("upgraded")
		wait_pushed("upgraded")
		wait.until_true("a message in a session", function() return member.received[#member.received].session end)
	end)

	it("opens none on an answer that is not the peer's, or with an e of small order", function()
		start()
		local opened = #member.openings
		member.on_path = function(path) return path == "/session/message" and plain(410, "session_unknown") or nil end
		member.signer = crypto.made_up("nobody").wallet_key
		written("none")
		wait.until_true("an opening in vain", function() return #member.openings > opened end)
		member.signer, member.on_path = nil, nil
		member.on_grant = function(grant) grant.e = ("0"):rep(64) end
		opened = #member.openings
		-- crypto.x25519 of the member is on the node's e, so its own side succeeds.
		wait.until_true("another one", function() return #member.openings > opened end)
		member.on_grant = nil
		wait_pushed("none")
		assert.equal(1, #in_version_1())
	end)

	it("speaks version 1 where PEER_SESSIONS is false", function()
		start({ PEER_SESSIONS = "false" })
		written("v1")
		wait_pushed("v1")
		assert.equal(0, #member.openings)
		for _, exchange in ipairs(member.received) do
			for _, feature in ipairs(exchange.inner.features or {}) do assert.not_equal("session", feature) end
		end
	end)
end)
