-- The application's client (lua/kms/client/init.lua, csrc/bind/client.c) against nodes that refuse,
-- break or lie, in version 1 of the protocol: these nodes have no sessions, and the client is told to do without.
-- Sessions are in spec/e2e/client_session_spec.lua.

local cjson = require("cjson.safe")
local loopback = require("spec.support.loopback")
local native = require("spec.support.native")
local client = require("kms.client")

local run, serve, reply = loopback.run, loopback.serve, loopback.reply

-- A node's public halves, taken from a seed of its own.
local function identity()
	local path = os.tmpname()
	os.remove(path)
	local seed = assert(native.seed_create(path))
	os.remove(path)
	local wallet, p384 = native.identity(seed)
	return { seed = seed, wallet = wallet:address(), pubkey = native.hex_encode(p384:public_der()) }
end

local node, app = identity(), identity()

local function status_page(wallet, pubkey)
	return reply(cjson.encode({ node = { tee_wallet = wallet, tee_pubkey = pubkey } }))
end

-- A server that answers by path (without query); the requests are in its `seen`.
local function fake_node(pages)
	return serve(function(connection, bytes)
		if not loopback.length_of(bytes) then return false end
		local path = bytes:match("^%u+ ([^ ?]+)")
		connection:write(pages[path] or reply('{"code":"not_found","message":"no such page"}', nil, "404 Not Found"))
		return true
	end)
end

local NONCE = reply('{"nonce":"AAAAAAAAAAAAAAAAAAAAAA=="}')

local function honest_pages(more)
	local pages = { ["/status"] = status_page(node.wallet, node.pubkey), ["/nonce"] = NONCE }
	for path, answer in pairs(more or {}) do pages[path] = answer end
	return pages
end

local function open(server, more)
	local options = { url = server.url, seed = app.seed, allow_v1 = true, wall_s = function() return 1700000000 end }
	for name, value in pairs(more or {}) do options[name] = value end
	return client.open(options)
end

local function refused(pattern, code, ...)
	local value, message, got = ...
	assert.is_nil(value)
	assert.truthy(message:find(pattern), message)
	assert.equal(code, got)
end

describe("client", function()
	describe("the node's identity", function()
		it("comes from /status where it is not given", function()
			run(function()
				local server = fake_node(honest_pages())
				assert.truthy(open(server))
				assert.equal(1, #server.seen)
				assert.truthy(open(server, { node_wallet = node.wallet }))
				assert.truthy(open(server, { node_wallet = node.wallet, node_pubkey = "0x" .. node.pubkey:upper() }))
				assert.equal(2, #server.seen)
			end)
		end)

		-- Under load, specs that ran before took longer than the call's whole time.
		it("has its whole time, whatever the loop waited for before the call", function()
			run(function()
				local server = fake_node(honest_pages())
				os.execute("sleep 2.5")
				assert.truthy(open(server, { timeout_ms = 2000 }))
			end)
		end)

		it("is refused where it is none", function()
			run(function()
				for _, case in ipairs({
					{ status_page("0x1234", node.pubkey), "identity: not a wallet address", "ERR_ADDRESS" },
					{ status_page(node.wallet, "00"), "identity: not a P%-384 or X25519 public key", "ERR_PEER_KEY" },
					{ status_page(node.wallet, ("00"):rep(120)), "identity: not a P%-384", "ERR_PEER_KEY" },
					{ status_page(node.wallet, ("zz"):rep(120)), "identity: not valid hex", "ERR_HEX" },
					{ status_page(node.wallet, node.pubkey .. "0"), "identity: not", "ERR_HEX" },
					{ status_page(node.wallet, nil), "does not name the node's identity", "ERR_ANSWER" },
					{ reply('{"node":null}'), "does not name the node's identity", "ERR_ANSWER" },
					{ reply("[]"), "does not name the node's identity", "ERR_ANSWER" },
					{ reply("1"), "does not give a JSON object", "ERR_ANSWER" },
					{ reply("<html>"), "is not JSON", "ERR_JSON" },
					{ reply('{"code":"x","message":"y"}', nil, "503 Busy"), "^HTTP 503 x: y$", "ERR_SESSION" },
				}) do
					refused(case[2], case[3], open(fake_node({ ["/status"] = case[1] })))
				end
				refused("127.0.0.1 port 1 ", "ERR_CONNECT", open({ url = "http://127.0.0.1:1" }))
				refused("URL", "ERR_URL", open({ url = "nonsense" }))
			end)
		end)
	end)

	describe("a call", function()
		it("sends what proves possession, and nothing confidential in the clear", function()
			run(function()
				local server = fake_node(honest_pages({ ["/kms/derive"] = reply("{}") }))
				open(server):call("derive", { path = "very/confidential", context = "hush", length = 16 })
				local sent = table.concat(server.seen)
				assert.truthy(sent:find("POST /kms/derive HTTP/1.1\r\n", 1, true))
				assert.truthy(sent:find("\r\nX%-App%-Signature: 0x" .. ("%x"):rep(130) .. "\r\n"))
				assert.truthy(sent:find("\r\nX-App-Nonce: AAAAAAAAAAAAAAAAAAAAAA==\r\n", 1, true))
				assert.truthy(sent:find("\r\nX-App-Timestamp: 1700000000\r\n", 1, true))
				assert.truthy(sent:find("\r\nX-App-Wallet: " .. app.wallet .. "\r\n", 1, true))
				assert.is_nil(sent:find("confidential", 1, true))
				assert.is_nil(sent:find("hush", 1, true))
				local envelope = cjson.decode(sent:match("\r\n\r\n({[^\r]*})$"))
				assert.equal(app.pubkey, envelope.sender_tee_pubkey)
				assert.equal(64, #envelope.nonce)
			end)
		end)

		it("percent-encodes the key of a get", function()
			run(function()
				local server = fake_node(honest_pages({ ["/kms/data"] = reply("{}") }))
				open(server):call("get", { key = "a/../b c?&=%+\xc3\xa4\n-._~" })
				assert.truthy(table.concat(server.seen):find(
					"GET /kms/data?key=a%2F..%2Fb%20c%3F%26%3D%25%2B%C3%A4%0A-._~ HTTP/1.1\r\n", 1, true))
			end)
		end)

		it("that the node refuses says why, on one bounded line", function()
			run(function()
				local body = cjson.encode({ code = "unauth\27[31m", message = "no\r\n" .. ("x"):rep(1000) })
				local server = fake_node(honest_pages({ ["/kms/data"] = reply(body, nil, "403 Forbidden") }))
				local value, message, code, status = open(server):call("list", {})
				assert.same({ nil, "ERR_REFUSED", 403 }, { value, code, status })
				assert.truthy(message:find("^HTTP 403 unauth\\x1b%[31m: no\\r\\nxxx.*xxx%.%.%.$"), message)
				assert.is_true(#message < 320)
				server = fake_node(honest_pages({ ["/kms/data"] = reply("<html>", nil, "502 Bad Gateway") }))
				refused("^HTTP 502 error: no reason given$", "ERR_REFUSED", open(server):call("list", {}))
			end)
		end)

		it("without a nonce fails", function()
			run(function()
				local pages = honest_pages({ ["/nonce"] = reply('{"code":"rate_limited","message":"later"}', nil, "429 X") })
				refused("^HTTP 429 rate_limited: later$", "ERR_SESSION", open(fake_node(pages)):call("list", {}))
				pages["/nonce"] = reply('{"nonce":1}')
				refused("does not give a nonce", "ERR_ANSWER", open(fake_node(pages)):call("list", {}))
			end)
		end)

		it("whose answer is not the node's is not believed", function()
			run(function()
				local envelope = cjson.encode({
					sender_tee_pubkey = node.pubkey, nonce = ("00"):rep(32), encrypted_data = ("00"):rep(40),
				})
				for _, answer in ipairs({
					reply(envelope), reply(envelope, "X-KMS-Response-Signature: 0x" .. ("11"):rep(65) .. "\r\n"),
					reply("{}"), reply(""), reply("plain text", nil, "204 X"),
				}) do
					local server = fake_node(honest_pages({ ["/kms/data"] = answer }))
					local value, message, code = open(server):call("list", {})
					assert.same({ nil, "ERR_UNVERIFIED" }, { value, code })
					assert.truthy(message:find("is not trusted"), message)
				end
			end)
		end)

		it("that no node takes is not sent", function()
			run(function()
				local server = fake_node(honest_pages())
				local caller = open(server)
				for _, case in ipairs({
					{ "derive", {}, "ERR_FIELD_MISSING" }, { "derive", { path = "" }, "ERR_FIELD_MISSING" },
					{ "put", { key = "\xff" }, "ERR_UTF8" }, { "delete", {}, "ERR_FIELD_MISSING" },
				}) do
					local value, _, code = caller:call(case[1], case[2])
					assert.same({ nil, case[3] }, { value, code })
				end
				assert.has_error(function() caller:call("derive", { path = "p", length = 1025 }) end)
				assert.has_error(function() caller:call("derive", { path = "p", color = 1 }) end)
				assert.has_error(function() caller:call("put", { key = "k", value = {} }) end)
				assert.has_error(function() caller:call("burn", {}) end)
			end)
		end)
	end)

	it("a value from a file is a handle that tells nothing", function()
		local path = os.tmpname()
		local file = assert(io.open(path, "wb"))
		file:write("very secret")
		file:close()
		local value = assert(native.value_read(path))
		os.remove(path)
		assert.equal("kms.value", tostring(value))
		assert.is_nil(value.data)
		value:close()
		refused("does not exist", "ERR_FILE_MISSING", native.value_read(path))
	end)
end)
