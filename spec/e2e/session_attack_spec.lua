-- What an attacker on the way, or with a session of its own, can send to POST /session/message; and how sessions end
-- (docs/protocol.md sections 15.2 and 15.3).

local apps = require("spec.support.app")
local backend = require("spec.support.backend")
local cjson = require("cjson")
local crypto = require("spec.support.crypto")
local expect = require("spec.support.expect")
local files = require("spec.support.files")
local http = require("spec.support.http")
local nodes = require("spec.support.node")
local sessions = require("spec.support.session_client")
local wait = require("spec.support.wait")

local LIST = '{"op":"list"}'
local MASTER = crypto.hex(crypto.keccak256("a made-up master secret"))

local function start(env, options)
	env.MASTER_SECRET_HEX, env.SESSION_OPEN_PER_MINUTE = MASTER, "0"
	options = options or {}
	options.env = env
	return nodes.start(options)
end

local function flipped(text, position, bit)
	local byte = text:byte(position) ~ (1 << bit)
	return text:sub(1, position - 1) .. string.char(byte) .. text:sub(position + 1)
end

-- Whether the session is there, without a use of it: what does not decrypt is none.
local function exists(session)
	local status = sessions.post(session.app, session.sid .. (">I8"):pack(1 << 32) .. ("x"):rep(272)).status
	assert.truthy(status == 400 or status == 410, status)
	return status == 400
end

describe("a message that was tampered with", function()
	local node, app, session

	setup(function()
		node = start({})
		app = apps.new(node, "400", "attacked")
		node:register({ app })
	end)
	teardown(function() node:stop() end)
	before_each(function() session = sessions.open(app) end)

	local function refused(body, status, code)
		return expect.refused(sessions.post(app, body), status, code)
	end

	it("is refused with a flipped bit at every position, and leaves its number unused", function()
		local body, seq = session:seal('{"op":"put","key":"flipped","value":""}')
		for position = 1, #body do
			for bit = 0, 7 do
				local response = sessions.post(app, flipped(body, position, bit))
				local known = position > 16
				if response.status ~= (known and 400 or 410) then
					error(("byte %d, bit %d: %d %s"):format(position, bit, response.status, response.body))
				end
			end
		end
		assert.same({ 404, "not_found" }, (function()
			local answer = session:call({ op = "get", key = "flipped" })
			return { answer.status, answer.code }
		end)())
		local response = sessions.post(app, body)
		assert.equal(200, cjson.decode((session:open_answer(response.body, seq))).status)
	end)

	it("is refused when it is cut, or longer", function()
		local body = session:seal(LIST)
		for length = 0, 23 do refused(body:sub(1, length), 400, "bad_request") end
		for _, length in ipairs({ 24, 25, 39, 40, 100, 279, 280, 294, 295 }) do
			refused(body:sub(1, length), 400, "bad_request")
		end
		refused(body .. "\0", 400, "bad_request")
		refused(body .. ("\0"):rep(256), 400, "bad_request")
		assert.equal(200, sessions.post(app, body).status)
	end)

	it("is refused under the number 0, and beyond 2^32", function()
		for _, seq in ipairs({ 0, (1 << 32) + 1, 1 << 40, -1 }) do
			refused((session:seal(LIST, { seq = seq })), 400, "bad_request")
		end
		local body, seq = session:seal(LIST, { seq = 1 << 32 })
		assert.equal(200, cjson.decode((session:open_answer(sessions.post(app, body).body, seq))).status)
	end)

	it("is served once: a copy of it is refused, also with another content, and does nothing", function()
		local body = session:seal('{"op":"put","key":"twice","value":"' .. crypto.base64("1") .. '"}')
		assert.equal(200, sessions.post(app, body).status)
		assert.equal(200, session:call({ op = "put", key = "twice", value = crypto.base64("2") }).status)
		refused(body, 409, "session_replay")
		refused((session:seal(LIST, { seq = 1 })), 409, "session_replay")
		assert.equal("2", app:value("twice"))
	end)

	it("of two copies that arrive at once one is served", function()
		local body = session:seal('{"op":"derive","path":"p"}')
		local conns, count = {}, {}
		for i = 1, 8 do conns[i] = assert(http.connect(node.port)) end
		for i = 1, 8 do
			conns[i]:write(("POST /session/message HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s"):format(#body, body))
		end
		for i = 1, 8 do
			local status = conns[i]:receive().status
			count[status] = (count[status] or 0) + 1
			conns[i]:close()
		end
		assert.same({ [200] = 1, [409] = 7 }, count)
	end)

	it("may be 1024 behind the highest number, and not 1025", function()
		assert.equal(200, sessions.post(app, (session:seal(LIST, { seq = 5000 }))).status)
		refused((session:seal(LIST, { seq = 5000 - 1025 })), 409, "session_replay")
		assert.equal(200, sessions.post(app, (session:seal(LIST, { seq = 5000 - 1024 }))).status)
		refused((session:seal(LIST, { seq = 5000 - 1024 })), 409, "session_replay")
		-- A forged higher number moves nothing.
		refused((session:seal(LIST, { seq = 1 << 31, key = crypto.random(32) })), 400, "bad_request")
		assert.equal(200, sessions.post(app, (session:seal(LIST, { seq = 4999 }))).status)
	end)

	it("is none of another session, whoever has that", function()
		local other = apps.new(node, "401", "another")
		node:register({ app, other })
		local own, foreign = sessions.open(app), sessions.open(other)
		for _, sid in ipairs({ own.sid, foreign.sid }) do
			refused((session:seal(LIST, { sid = sid })), 400, "bad_request")
		end
		local body, seq = session:seal(LIST)
		refused(foreign.sid .. body:sub(17), 400, "bad_request")
		-- Answers belong to their session and to their request.
		local first = sessions.post(app, body)
		local second, second_seq = session:seal(LIST)
		second = sessions.post(app, second)
		assert.is_nil(own:open_answer(first.body, seq))
		assert.is_nil(session:open_answer(second.body, seq))
		assert.is_nil(session:open_answer((">I8"):pack(seq) .. second.body:sub(9), seq))
		assert.truthy(session:open_answer(first.body, seq))
		assert.truthy(session:open_answer(second.body, second_seq))
		-- An answer that is sent back is no request.
		refused(session.sid .. second.body, 409, "session_replay")
		refused(session.sid .. (">I8"):pack(second_seq + 1) .. second.body:sub(9), 400, "bad_request")
	end)

	it("of an unknown session costs its sender no body: the first 24 bytes are enough", function()
		local conn = assert(http.connect(node.port))
		finally(function() conn:close() end)
		conn:write("POST /session/message HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000\r\n\r\n")
		for byte in (crypto.random(16) .. (">I8"):pack(1)):gmatch(".") do conn:write(byte) end
		expect.refused(assert(conn:receive()), 410, "session_unknown")
	end)

	it("is waited for when it arrives byte by byte, also behind an Expect", function()
		local body, seq = session:seal(LIST)
		local conn = assert(http.connect(node.port))
		finally(function() conn:close() end)
		conn:write(("POST /session/message HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n")
			:format(#body))
		wait.until_true("100 Continue", function() return conn:text():find("100 Continue\r\n\r\n", 1, true) end)
		conn.chunks, conn.size = {}, 0
		for byte in body:gmatch(".") do
			conn:write(byte)
			require("luv").run("nowait")
		end
		local response = assert(conn:receive())
		assert.equal(200, cjson.decode((session:open_answer(response.body, seq))).status)
	end)

	it("whose beginning does not come is 408, and a client that goes away meanwhile harms nothing", function()
		local own = start({ BODY_TIMEOUT_SECONDS = "1" })
		finally(function() own:stop() end)
		local head = "POST /session/message HTTP/1.1\r\nHost: x\r\nContent-Length: 4000\r\n\r\nonly a part"
		-- To the node with long timeouts goes the one that its client ends.
		local slow, gone, cut = http.connect(own.port), http.connect(own.port), http.connect(node.port)
		for _, conn in ipairs({ slow, gone, cut }) do conn:write(head) end
		cut:finish()
		expect.refused(assert(cut:receive()), 400, "bad_request")
		gone:close()
		expect.refused(assert(slow:receive()), 408, "bad_request", "request_timeout")
		slow:wait_eof()
		slow:close()
		cut:close()
		assert.equal(200, http.get(own.port, "/health").status)
		assert.is_nil(own:log():find("traceback", 1, true))
	end)

	it("is refused in plain where its head says already that it is none", function()
		expect.refused(sessions.post(app, ("x"):rep(10)), 400, "bad_request", "truncated")
		expect.refused(assert(http.request(node.port, { method = "POST", target = "/session/message" })), 400, "bad_request")
		expect.refused(assert(http.request(node.port, { target = "/session/message" })), 405, "method_not_allowed")
		local conn = assert(http.connect(node.port))
		finally(function() conn:close() end)
		conn:write("POST /session/message HTTP/1.1\r\nHost: x\r\nContent-Length: 400000000\r\n\r\n")
		expect.refused(assert(conn:receive()), 413, "payload_too_large")
	end)

	it("leaves the node as it was, however many sessions a wallet opens", function()
		local other = apps.new(node, "402", "opens one session")
		node:register({ app, other })
		local honest, opened = sessions.open(other), {}
		for count = 1, 300 do
			opened[count] = sessions.open(app)
			if count % 50 == 0 then assert.equal(200, honest:call({ op = "list" }).status) end
		end
		expect.refused(sessions.post(app, (session:seal(LIST))), 410, "session_unknown")
		-- SESSIONS_PER_WALLET is 8. `make bench-sessions` opens 16 000.
		for count = 1, 300 do assert.equal(count > 292, exists(opened[count]), count) end
		assert.equal(200, opened[300]:call({ op = "list" }).status)
	end)
end)

local function gone(session)
	expect.refused(sessions.post(session.app, (session:seal(LIST))), 410, "session_unknown")
end

describe("a session ends", function()
	local function with_app(env)
		local node = start(env)
		finally(function() node:stop() end)
		local app = apps.new(node, "400", "ending")
		node:register({ app })
		return node, app
	end

	-- Uses the session until an answer is refused, which must be sealed.
	local function last_answer(session)
		local answer
		wait.until_true("the last answer", function()
			answer = session:call({ op = "derive", path = "p" })
			return answer.status ~= 200
		end)
		return answer
	end

	it("with a sealed refusal when its caller's registration is revoked, and stays ended", function()
		local node, app = with_app({})
		local session, other = sessions.open(app), sessions.open(app)
		node:edit_chain(function(chain) chain.instances[app.wallet].status = 1 end)
		local answer = last_answer(session)
		assert.same({ 403, "unauthorized" }, { answer.status, answer.code })
		gone(session)
		node:register({ app })
		gone(session)
		assert.is_nil(answer.key)
		wait.until_true("the registration to count again", function()
			return (sessions.request(app)).status == 200
		end)
		gone(session)
		assert.truthy(other)
	end)

	it("with a sealed refusal when its caller has another registered key", function()
		local node, app = with_app({})
		local session = sessions.open(app)
		local rekeyed = crypto.made_up("a new key of the same wallet")
		node:edit_chain(function(chain) chain.instances[app.wallet].tee_pubkey = crypto.hex(rekeyed.der) end)
		local answer = last_answer(session)
		assert.same({ 403, "unauthorized" }, { answer.status, answer.code })
		assert.matches("key has changed", answer.message)
		gone(session)
	end)

	it("after SESSION_TTL_SECONDS, however often it is used", function()
		local _, app = with_app({ SESSION_TTL_SECONDS = "8" })
		local session, began = sessions.open(app), sessions.now_ms()
		local used, longest = began, 0
		assert.equal(8, session.grant.expires_s)
		wait.until_true("the end of the session", function()
			local response = sessions.post(app, (session:seal('{"op":"derive","path":"p"}')))
			local now = sessions.now_ms()
			used, longest = now, math.max(longest, now - used)
			if response.status == 200 then return false end
			expect.refused(response, 410, "session_unknown")
			return true
		end)
		-- Times are whole seconds; a machine that is busy may have left it unused for a quarter of its life.
		assert.is_true(used - began >= 7000 or longest >= 1000, ("%d ms"):format(used - began))
	end)

	it("after a quarter of that without use; a message that is not authentic is no use", function()
		local _, app = with_app({ SESSION_TTL_SECONDS = "12" })
		local session, began = sessions.open(app), sessions.now_ms()
		assert.is_true(exists(session))
		wait.until_true("the end of the idle session", function() return not exists(session) end)
		local lived_ms = sessions.now_ms() - began
		assert.is_true(lived_ms >= 2000, ("%d ms"):format(lived_ms))
		gone(session)
	end)

	backend.only("files", it)("at a restart", function()
		local dir = files.temp_dir()
		finally(function() files.remove_dir(dir) end)
		local node = start({}, { dir = dir })
		local app = apps.new(node, "400", "restarted")
		node:register({ app })
		local session = sessions.open(app)
		node:stop()
		local again = start({}, { dir = dir, port = node.port })
		app:close()
		gone(session)
		again:stop()
	end)
end)
