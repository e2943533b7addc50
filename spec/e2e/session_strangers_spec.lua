-- What those who see a sid on its way, or none at all, can make a node spend; and who may open a session at all
-- (docs/protocol.md sections 15.1 and 15.2).

local apps = require("spec.support.app")
local crypto = require("spec.support.crypto")
local expect = require("spec.support.expect")
local http = require("spec.support.http")
local nodes = require("spec.support.node")
local policies = require("spec.support.policies")
local sessions = require("spec.support.session_client")
local wait = require("spec.support.wait")

local BODY = 800000
local HEAD = "POST /session/message HTTP/1.1\r\nHost: x\r\n"

local function start(env)
	env.MASTER_SECRET_HEX = crypto.hex(crypto.keccak256("a made-up master secret"))
	local node = nodes.start({ env = env })
	local app = apps.new(node, "400", "watched")
	node:register({ app })
	return node, app
end

describe("the body of a message", function()
	local node, app

	setup(function()
		node, app = start({
			MAX_REQUEST_BODY_BYTES = BODY, MAX_KV_VALUE_SIZE_BYTES = 4096, MAX_APP_BODY_MEMORY_BYTES = 2 * BODY + 100000,
		})
	end)
	teardown(function() node:stop() end)

	it("is not read in chunks either where its first 24 bytes name no session", function()
		local conn = assert(http.connect(node.port))
		finally(function() conn:close() end)
		conn:write(HEAD .. "Transfer-Encoding: chunked\r\n\r\n")
		for byte in (crypto.random(16) .. (">I8"):pack(1)):gmatch(".") do conn:write("1;ext=1\r\n" .. byte .. "\r\n") end
		expect.refused(assert(conn:receive()), 410, "session_unknown")
	end)

	it("in chunks is refused when it ends too early, or is malformed", function()
		for _, body in ipairs({ "0\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n", "x\r\n", "5\r\nhelloX" }) do
			local conn = assert(http.connect(node.port))
			conn:write(HEAD .. "Transfer-Encoding: chunked\r\n\r\n" .. body)
			expect.refused(assert(conn:receive()), 400, "bad_request")
			conn:close()
		end
	end)

	it("in chunks is served up to 64 KiB, and many at a time", function()
		local session, conns, sent = sessions.open(app), {}, {}
		finally(function() for _, conn in ipairs(conns) do conn:close() end end)
		for i = 1, 10 do
			sent[i], conns[i] = table.pack(session:seal('{"op":"derive","path":"p"}')), assert(http.connect(node.port))
			conns[i]:write(HEAD .. "Transfer-Encoding: chunked\r\n\r\n18\r\n" .. sent[i][1]:sub(1, 24) .. "\r\n")
		end
		for i, conn in ipairs(conns) do
			local rest = sent[i][1]:sub(25)
			conn:write(("%x\r\n%s\r\n0\r\n\r\n"):format(#rest, rest))
			assert.matches('"status":200', (session:open_answer(assert(conn:receive()).body, sent[i][2])))
		end
		local conn = assert(http.connect(node.port))
		conns[#conns + 1] = conn
		conn:write(HEAD .. "Transfer-Encoding: chunked\r\n\r\n10001\r\n")
		conn:write(session.sid .. (">I8"):pack(99) .. ("x"):rep(65536))
		expect.refused(assert(conn:receive()), 413, "payload_too_large")
	end)

	it("takes at most half of its application's memory, from one address: a stranger may have seen the sid", function()
		local session = sessions.open(app)
		local front, conns = session.sid .. (">I8"):pack(1 << 30), {}
		finally(function() for _, conn in ipairs(conns) do conn:close() end end)
		local function attack(bytes)
			local conn = assert(http.connect(node.port, { from = "127.0.0.2" }))
			conns[#conns + 1] = conn
			conn:write(("%sContent-Length: %d\r\n\r\n%s"):format(HEAD, BODY, front) .. ("x"):rep(bytes - #front))
			return conn
		end
		attack(BODY - 1)
		attack(BODY - 1)
		local conn = attack(BODY - 1)
		expect.refused(assert(conn:receive()), 429, "rate_limited")
		-- What the node would hold for it is more than would be left.
		expect.ok(app:derive({ path = "p", unknown = ("x"):rep(100000) }))
		assert.equal(200, session:call({ op = "derive", path = ("p"):rep(100000) }).status)
		for _, open in ipairs(conns) do open:close() end
		wait.until_true("the attacker's bodies to be forgotten", function()
			local response = assert(attack(BODY):receive())
			return response.status == 400 or response.status ~= 429 and error(response.body)
		end)
	end)
end)

describe("the opening of a session", function()
	it("is a request that policies are asked about, by the name `session`", function()
		local folder = policies.new()
		folder:write("access", [[return { request = function(r)
			return r.route ~= "session" or r.app_id ~= "401", "no sessions for you"
		end }]])
		local node, app = start({ POLICY_DIR = folder.dir })
		finally(function()
			node:stop()
			folder:remove()
		end)
		local other = apps.new(node, "401", "not wanted")
		node:register({ app, other })
		local refused = expect.refused(sessions.request(other), 403, "forbidden", "policy")
		assert.matches("no sessions for you", refused.body, 1, true)
		assert.is_nil(refused.headers["x-kms-session-signature"])
		expect.ok(other:derive({ path = "p" }))
		assert.equal(200, sessions.open(app):call({ op = "list" }).status)
		node:wait_log('"reason":"no sessions for you"')
	end)
end)

describe("a session", function()
	it("ends when its wallet belongs to another application: it never reaches that one's records", function()
		local node, app = start({})
		finally(function() node:stop() end)
		local other = apps.new(node, "401", "another one")
		node:register({ app, other })
		expect.ok(other:put("k", "not yours"))
		local session, answer = sessions.open(app), nil
		node:edit_chain(function(chain) chain.instances[app.wallet].app_id = "401" end)
		wait.until_true("a refusal", function()
			answer = session:call({ op = "get", key = "k" })
			return answer.code ~= "not_found"
		end)
		assert.same({ 403, "unauthorized" }, { answer.status, answer.code })
		assert.matches("registered application has changed", answer.message)
		expect.refused(sessions.post(app, (session:seal('{"op":"list"}'))), 410, "session_unknown")
	end)
end)
