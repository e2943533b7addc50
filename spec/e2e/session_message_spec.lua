-- POST /session/message: what operations do, alone and in arrays, beside the requests of existing clients
-- (docs/protocol.md section 15.2).

local apps = require("spec.support.app")
local cjson = require("cjson")
local crypto = require("spec.support.crypto")
local expect = require("spec.support.expect")
local nodes = require("spec.support.node")
local policies = require("spec.support.policies")
local prometheus = require("spec.support.prometheus")
local sessions = require("spec.support.session_client")

local MASTER = crypto.keccak256("a made-up master secret")

local function start(env)
	env.MASTER_SECRET_HEX, env.SESSION_OPEN_PER_MINUTE = crypto.hex(MASTER), "0"
	local node = nodes.start({ env = env })
	local app = apps.new(node, "400", "messages")
	node:register({ app })
	return node, app
end

local function refusal(answer)
	return { answer.status, answer.code }
end

-- The statuses of an array of answers.
local function statuses(answers)
	local list = {}
	for i, answer in ipairs(answers) do list[i] = answer.status end
	return list
end

describe("a message of a session", function()
	local node, app, session

	setup(function() node, app = start({}) end)
	teardown(function() node:stop() end)
	before_each(function() session = sessions.open(app) end)

	it("derives the key that an existing client gets", function()
		for _, operation in ipairs({
			{ op = "derive", path = "wallet/root" }, { op = "derive", path = "a", context = "ctx", length = 64 },
			{ op = "derive", path = "grüße", context = "☃", length = "48" }, { op = "derive", path = ("p"):rep(4000) },
		}) do
			local answer = session:call(operation)
			assert.equal(crypto.base64(crypto.derive(MASTER, "400", operation.path, operation.context,
				tonumber(operation.length))), answer.key)
			assert.equal(200, answer.status)
		end
	end)

	it("reads, writes, lists and deletes the records of existing clients, and they those of sessions", function()
		expect.ok(app:put("v1/key", "old"))
		assert.equal("old", crypto.unbase64(session:call({ op = "get", key = "v1/key" }).value))
		local put = session:call({ op = "put", key = "session/key", value = crypto.base64("new"), ttl_ms = 600000 })
		assert.same({ 400, "session/key", 200, 1 }, { put.app_id, put.key, put.status, put.copies })
		assert.equal("new", app:value("session/key"))
		local list = session:call({ op = "list" })
		assert.same({ 2, { "session/key", "v1/key" }, 200 }, { list.count, list.keys, list.status })
		local deleted = session:call({ op = "delete", key = "v1/key" })
		assert.same({ true, 200 }, { deleted.deleted, deleted.status })
		assert.is_nil(app:value("v1/key"))
		assert.same({ 404, "not_found" }, refusal(session:call({ op = "get", key = "v1/key" })))
		session:call({ op = "delete", key = "session/key" })
	end)

	it("lists in pages", function()
		local puts = {}
		for i = 1, 5 do puts[i] = { op = "put", key = ("page/%d"):format(i), value = "" } end
		session:call(puts)
		local page = session:call({ op = "list", prefix = "page/", limit = 2 })
		assert.same({ 2, { "page/1", "page/2" }, "page/2" }, { page.count, page.keys, page.next })
		page = session:call({ op = "list", prefix = "page/", after = page.next })
		assert.same({ { "page/3", "page/4", "page/5" } }, { page.keys, page.next })
		for _, limit in ipairs({ 0, 10001, -1 }) do
			assert.same({ 400, "bad_request" }, refusal(session:call({ op = "list", limit = limit })))
		end
	end)

	it("answers in canonical JSON, padded, with the node's time", function()
		local body, seq = session:seal('{"op":"derive","path":"p"}')
		local response = sessions.post(app, body)
		assert.equal(0, (#response.body - 24) % 256)
		local json, time_ms = session:open_answer(response.body, seq)
		assert.matches('^{"app_id":400,"key":"[^"]+","length":32,"path":"p","status":200}$', json)
		assert.is_true(math.abs(time_ms - sessions.now_ms()) < 60000)
		-- Outside there is nothing that says what was asked, or what came of it.
		local refused = sessions.post(app, (session:seal('{"op":"get","key":"no"}')))
		assert.same({ 200, #response.body }, { refused.status, #refused.body })
		for name in pairs(refused.headers) do
			assert.truthy(response.headers[name], name)
			assert.is_nil(name:find("^x%-kms"), name)
		end
	end)

	it("runs operations in their order, each on its own", function()
		local answers = session:call({
			{ op = "get", key = "order" }, { op = "put", key = "order", value = crypto.base64("1") },
			{ op = "get", key = "order" }, { op = "put", key = "order", value = "no base64!" },
			{ op = "put", key = "order", value = crypto.base64("2") }, { op = "get", key = "order" },
			{ op = "list", prefix = "order" }, { op = "delete", key = "order" }, { op = "get", key = "order" },
			{ op = "derive", path = "p" },
		})
		assert.same({ 404, 200, 200, 400, 200, 200, 200, 200, 404, 200 }, statuses(answers))
		assert.same({ "1", "2" }, { crypto.unbase64(answers[3].value), crypto.unbase64(answers[6].value) })
		assert.equal(1, answers[7].count)
		assert.equal(crypto.base64(crypto.derive(MASTER, "400", "p")), answers[10].key)
	end)

	it("holds 1 to 256 operations", function()
		for _, count in ipairs({ 1, 2, 16, 17, 256 }) do
			local operations = {}
			for i = 1, count do operations[i] = { op = "derive", path = "many " .. i } end
			local answers = session:call(operations)
			assert.equal(count, #answers)
			for i, answer in ipairs(answers) do
				assert.equal(crypto.base64(crypto.derive(MASTER, "400", "many " .. i)), answer.key)
			end
		end
		local refused = cjson.decode(session:exchange("[]"))
		assert.same({ 400, "bad_request" }, refusal(refused))
		for _, count in ipairs({ 257, 300 }) do
			local json = "[" .. ('{"op":"put","key":"too many","value":""},'):rep(count - 1) .. '{"op":"list"}]'
			assert.same({ 400, "bad_request" }, refusal(cjson.decode(session:exchange(json))))
		end
		assert.same({ 404, "not_found" }, refusal(session:call({ op = "get", key = "too many" })))
	end)

	it("refuses single operations that are none", function()
		for _, bad in ipairs({
			"5", "null", "true", '"derive"', "[]", '[{"op":"list"}]', "{}", '{"path":"p"}', '{"op":"session"}', '{"op":"sync"}',
			'{"op":5}', '{"op":"Derive","path":"p"}', '{"op":"derive"}', '{"op":"derive","path":" "}', '{"op":"get"}',
			'{"op":"get","key":""}', '{"op":"put","key":"k"}', '{"op":"put","key":"k","value":"","ttl_ms":-1}',
			'{"op":"delete","key":"k","value":""}', '{"op":"derive","path":"p","app_id":1}',
			'{"op":"get","key":"k","strict":true,"extra":1}',
		}) do
			local answers = cjson.decode(session:exchange('[{"op":"derive","path":"p"},' .. bad .. ',{"op":"list"}]'))
			assert.same({ 200, 400, 200 }, statuses(answers), bad)
			assert.equal("bad_request", answers[2].code, bad)
			for name in pairs(answers[2]) do assert.truthy(("code message status"):find(name, 1, true), name) end
		end
	end)

	it("refuses a whole message that holds no operation, with one object", function()
		for _, json in ipairs({ "", "5", "null", '"x"', "{", "no JSON", '{"op":"list"}x', '{"op":"list","op":"list"}' }) do
			local answer = cjson.decode(session:exchange(json))
			assert.same({ 400, "bad_request" }, refusal(answer), json)
		end
		-- Lengths and padding that are not as they must be, inside an authentic message.
		local function content(len, json, padding)
			local plain = (">I8I4"):pack(sessions.now_ms(), len) .. json
			return plain .. ("\0"):rep(padding - #plain)
		end
		local LIST = '{"op":"list"}'
		for _, bad in ipairs({
			content(#LIST, LIST, 512), content(1 << 31, LIST, 256), content(245, LIST, 256),
			content(#LIST, LIST, 255) .. "x", content(#LIST - 1, LIST, 256),
		}) do
			assert.same({ 400, "bad_request" }, refusal(cjson.decode(session:exchange(nil, { content = bad }))))
		end
		assert.equal(200, cjson.decode(session:exchange(nil, { content = content(#LIST, LIST, 256) })).status)
	end)

	it("is refused as stale when its time is off by more than POP_TIMEOUT_SECONDS", function()
		for _, off_s in ipairs({ -130, 130, -1000000 }) do
			local json = '{"op":"put","key":"stale","value":""}'
			local answer = cjson.decode(session:exchange(json, { time_ms = sessions.now_ms() + off_s * 1000 }))
			assert.same({ 403, "stale" }, refusal(answer))
		end
		for _, time_ms in ipairs({ 0, -1 }) do
			assert.same({ 403, "stale" }, refusal(cjson.decode(session:exchange('{"op":"list"}', { content =
				(">i8s4"):pack(time_ms, '{"op":"list"}') .. ("\0"):rep(256 - 25) }))))
		end
		assert.same({ 404, "not_found" }, refusal(session:call({ op = "get", key = "stale" })))
		local near = { time_ms = sessions.now_ms() - 100000 }
		assert.equal(200, cjson.decode(session:exchange('{"op":"derive","path":"p"}', near)).status)
	end)

	it("may come in a chunked body", function()
		local body, seq = session:seal('{"op":"derive","path":"chunked"}')
		local conn = app:connection()
		conn:write("POST /session/message HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
		for i = 1, #body, 10 do conn:write(("%x\r\n%s\r\n"):format(#body:sub(i, i + 9), body:sub(i, i + 9))) end
		conn:write("0\r\n\r\n")
		local response = assert(conn:receive({ method = "POST" }))
		assert.equal(200, cjson.decode((session:open_answer(response.body, seq))).status)
	end)

	it("carries values up to the largest", function()
		local value = crypto.random(500000)
		assert.equal(200, session:call({ op = "put", key = "large", value = crypto.base64(value) }).status)
		assert.equal(value, crypto.unbase64(session:call({ op = "get", key = "large" }).value))
		session:call({ op = "delete", key = "large" })
	end)

	it("of many that run side by side have their own answers", function()
		local conns, sent = {}, {}
		for i = 1, 40 do
			conns[i] = assert(require("spec.support.http").connect(node.port))
			sent[i] = table.pack(session:seal(cjson.encode({ op = "derive", path = "beside " .. i })))
		end
		for i = 40, 1, -1 do
			conns[i]:write(("POST /session/message HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s"):format(
				#sent[i][1], sent[i][1]))
		end
		for i = 1, 40 do
			local answer = cjson.decode((session:open_answer(conns[i]:receive().body, sent[i][2])))
			assert.equal(crypto.base64(crypto.derive(MASTER, "400", "beside " .. i)), answer.key)
			conns[i]:close()
		end
	end)
end)

describe("features", function()
	it("say that the node has sessions, to those that ask for it", function()
		local node, app = start({})
		finally(function() node:stop() end)
		local ask = { "other", "session" }
		assert.same({ "session" }, app:derive({ path = "p", features = ask }).inner.features)
		local put = app:call({ method = "PUT", target = "/kms/data", inner = { key = "k", value = "", features = ask } })
		assert.same({ "session" }, expect.ok(put).inner.features)
		local gone = app:call({ method = "DELETE", target = "/kms/data",
			inner = { key = "k", features = ask, op = "delete", strict = true } })
		assert.same({ { "session" }, 1 }, { expect.ok(gone).inner.features, gone.inner.copies })
		assert.matches('"copies":1,"deleted":true,"features":%["session"%],"key"', gone.plain)
		for _, features in ipairs({ { "other" }, "session", { { "session" } }, false }) do
			assert.is_nil(expect.ok(app:derive({ path = "p", features = features })).inner.features)
		end
	end)
end)

describe("REQUIRE_SESSION", function()
	it("leaves applications nothing but sessions", function()
		local node, app = start({ REQUIRE_SESSION = "true" })
		finally(function() node:stop() end)
		for _, response in ipairs({
			app:derive({ path = "p" }), app:get("k"), app:put("k", "v"), app:delete("k"), app:list(),
		}) do
			expect.refused(response, 403, "forbidden", "forbidden")
			assert.matches("sessions only", response.message)
		end
		assert.equal(200, sessions.open(app):call({ op = "derive", path = "p" }).status)
	end)
end)

describe("limits and policies of messages", function()
	it("count a message as its operations", function()
		local node, app = start({ APP_RATE_LIMIT_PER_MINUTE = "10" })
		finally(function() node:stop() end)
		local session, operations = sessions.open(app), {}
		for i = 1, 12 do operations[i] = { op = "derive", path = "p" } end
		local answers = session:call(operations)
		local last = answers[12]
		assert.same({ 200, 429, "rate_limited" }, { answers[1].status, last.status, last.code })
		assert.is_true(last.retry_after_s >= 1)
		local allowed = 0
		for _, answer in ipairs(answers) do allowed = allowed + (answer.status == 200 and 1 or 0) end
		assert.is_true(allowed >= 9 and allowed <= 11, allowed)
	end)

	it("bound an answer by MAX_SESSION_ANSWER_BYTES, and run what fits", function()
		local node, app = start({ MAX_SESSION_ANSWER_BYTES = "2000000" })
		finally(function() node:stop() end)
		local session, value = sessions.open(app), crypto.base64(crypto.random(450000))
		session:call({ op = "put", key = "large", value = value })
		local get = { op = "get", key = "large" }
		local answers = session:call({ get, get, get, get, { op = "put", key = "small", value = "" }, get })
		assert.same({ 200, 200, 200, 413, 200, 413 }, statuses(answers))
		assert.equal("payload_too_large", answers[4].code)
		assert.equal(value, answers[3].value)
	end)

	it("ask the operator's policies about each operation, and heed routes.lua", function()
		local folder = policies.new()
		folder:write("access", [[return {
			request = function(r) return r.route ~= "list" or false, "no lists" end,
			derive = function(r) return r.path ~= "secret", "not this path" end,
			data = function(r) return not (r.route == "put" and r.size > 10), "too long for us" end,
		}]])
		folder:write("routes", [[return {
			{ method = "GET", path = "/ready", handler = "ready" }, { method = "GET", path = "/status", handler = "status" },
			{ method = "GET", path = "/nonce", handler = "nonce" },
			{ method = "POST", path = "/kms/derive", handler = "derive", rate = 1, burst = 2 },
			{ method = "GET", path = "/kms/data", handler = "list" },
			{ method = "PUT", path = "/kms/data", handler = "put", max_body = 60 },
			{ method = "GET", path = "/kms/data/<key>", handler = "get" },
			{ method = "POST", path = "/session", handler = "session" },
			{ method = "POST", path = "/session/message", handler = "session_message" },
		}]])
		local node, app = start({ POLICY_DIR = folder.dir })
		finally(function()
			node:stop()
			folder:remove()
		end)
		local session = sessions.open(app)
		local answers = session:call({
			{ op = "derive", path = "secret" }, { op = "derive", path = "open" }, { op = "derive", path = "open" },
			{ op = "list" }, { op = "delete", key = "k" }, { op = "put", key = "k", value = crypto.base64(("v"):rep(11)) },
			{ op = "put", key = "k", value = crypto.base64("v") }, { op = "get", key = "k" },
			{ op = "put", key = ("k"):rep(70), value = "" },
		})
		assert.same({ 403, 200, 429, 403, 404, 403, 200, 200, 413 }, statuses(answers))
		assert.same({ "forbidden", "not this path" }, { answers[1].code, answers[1].message })
		assert.same({ "no lists", "too long for us" }, { answers[4].message, answers[6].message })
		assert.is_true(answers[3].retry_after_s >= 1)
	end)

	it("are off where routes.lua leaves them out, and not announced", function()
		local folder = policies.new()
		folder:write("routes", [[return {
			{ method = "GET", path = "/ready", handler = "ready" }, { method = "GET", path = "/status", handler = "status" },
			{ method = "GET", path = "/nonce", handler = "nonce" },
			{ method = "POST", path = "/kms/derive", handler = "derive" },
		}]])
		local node, app = start({ POLICY_DIR = folder.dir })
		finally(function()
			node:stop()
			folder:remove()
		end)
		expect.refused(sessions.request(app), 404, "not_found", "no_route")
		assert.is_nil(expect.ok(app:derive({ path = "p", features = { "session" } })).inner.features)
	end)

	it("are counted and logged as those of existing clients", function()
		local port = nodes.free_port()
		local node, app = start({ METRICS_ADDR = "127.0.0.1:" .. port, LOG_NAMES = "true" })
		finally(function() node:stop() end)
		local session = sessions.open(app)
		session:call({ { op = "derive", path = "logged/path" }, { op = "get", key = "logged/key" }, 5 })
		local page = prometheus.scrape(port)
		local function count(route, class, code)
			return prometheus.value(page, "kms_requests_total", { route = route, class = class, code = code })
		end
		assert.same({ 1, 1, 1, 1, 1 }, {
			count("derive", "2xx", "ok"), count("get", "4xx", "ERR_NOT_FOUND"), count("session", "2xx", "ok"),
			count("session_message", "2xx", "ok"), count("session_message", "4xx", "ERR_JSON"),
		})
		assert.equal(1, prometheus.value(page, "kms_sessions", { kind = "app" }))
		node:wait_log("logged/key")
		local log = node:log()
		assert.matches('"route":"derive"[^\n]*"status":200', log)
		assert.truthy(log:find("logged/path", 1, true))
		assert.truthy(log:find(app.wallet, 1, true))
	end)
end)
