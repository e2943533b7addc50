-- Commands of the control socket that change a running node: reload, bans, drain.

local apps = require("spec.support.app")
local chain_server = require("spec.support.chain_server")
local cjson = require("cjson")
local crypto = require("spec.support.crypto")
local evm_node = require("spec.support.evm_node")
local expect = require("spec.support.expect")
local files = require("spec.support.files")
local http = require("spec.support.http")
local loopback = require("spec.support.loopback")
local members = require("spec.support.member")
local nodes = require("spec.support.node")
local uv = require("luv")
local wait = require("spec.support.wait")

local MASTER = crypto.keccak256("the master secret of the control socket")

describe("nova-kms reload", function()
	local node, dir

	teardown(function()
		node:stop()
		files.remove_dir(dir)
	end)

	it("takes changes up, and says what is wrong with those it does not take", function()
		dir = files.temp_dir()
		node = nodes.start({ env = { POLICY_DIR = dir } })
		local app = apps.new(node, "7", "reload app")
		node:register({ app })
		local function reload(...)
			return nodes.run({ "reload", "--socket", node.dir .. "/control.sock", ... }, { env = {} })
		end
		local code, out, err = reload()
		assert.equal(0, code, err)
		local shipped = out:match("^no change: (%x+)\n$")
		assert.truthy(shipped, out)
		expect.ok(app:derive({ path = "a" }))
		local tries = 0
		-- The node looks at its files by itself, and may be ahead of the command.
		local hash = wait.until_true("a reload that the command does", function()
			tries = tries + 1
			files.write(dir .. "/access.lua", ('return { derive = function() return false, "closed %d" end }\n'):format(tries))
			code, out = reload()
			assert.equal(0, code)
			return out:match("^policies in force: (%x+)\n$"), out
		end)
		assert.not_equal(shipped, hash)
		expect.refused(app:derive({ path = "a" }), 403, "forbidden")
		files.write(dir .. "/access.lua", "return {\n\tderive = 7,\n}\n")
		code, out, err = reload()
		assert.same({ 1, "" }, { code, out })
		assert.truthy(err:find("access.lua:2: ", 1, true), err)
		local answer
		code, answer = reload("--json")
		assert.equal(1, code)
		answer = cjson.decode(answer)
		assert.is_false(answer.reloaded)
		assert.equal(hash, answer.hash)
		assert.equal(hash, node:status().policy.hash)
		expect.refused(app:derive({ path = "a" }), 403, "forbidden")
	end)
end)

describe("nova-kms bans", function()
	local chain, member, node

	teardown(function()
		if node then node:stop() end
		loopback.close()
	end)

	it("lists why and until when, lifts, and the peer is called again", function()
		chain = chain_server.start()
		chain.hash = "0x" .. crypto.hex(crypto.keccak256(MASTER))
		member = members.start("control member", MASTER)
		chain:register("49", member.wallet, member.identity.der, member.url)
		node = evm_node.serve(chain, { DATA_SYNC_INTERVAL_SECONDS = "1", PEER_BLACKLIST_DURATION_SECONDS = "600" })
		local app = apps.new(node, "700", "control cluster app")
		chain:register("700", app.wallet, app.identity.der)
		local function cli(...)
			local words = { ... }
			table.move({ "--socket", node.dir .. "/control.sock" }, 1, 2, #words + 1, words)
			-- The chain and the member are on this process's loop.
			local code, out, err = nodes.run(words, { env = {} })
			assert.equal(0, code, err)
			return out
		end
		assert.equal("no bans\n", cli("bans", "list"))
		assert.equal("nothing to lift: " .. member.wallet .. "\n", cli("bans", "lift", member.wallet))
		member.on_request = function(exchange) exchange.signer = crypto.made_up("nobody").wallet_key end
		expect.ok(app:put("a", "one"))
		local out
		wait.until_true("the ban", function()
			out = cli("bans", "list")
			return out:find(member.wallet, 1, true)
		end)
		assert.truthy(out:find(member.wallet .. "  calls  bad_response_signature", 1, true), out)
		local ban = cjson.decode(cli("bans", "list", "--json")).bans[1]
		assert.equal("calls", ban.scope)
		assert.is_true(ban.left_s > 500 and ban.left_s <= 600)
		assert.is_true(math.abs(ban.until_ms / 1000 - os.time() - 600) < 60)
		assert.truthy(cli("peers"):find("banned.*calls for bad_response_signature"))
		member.on_request = nil
		local calls = member.calls
		assert.equal("lifted: " .. member.wallet .. "\n", cli("bans", "lift", member.wallet))
		assert.equal("no bans\n", cli("bans", "list"))
		wait.until_true("the peer to be called again", function() return member.calls > calls end)
		assert.truthy(node:log():find('"command":"lift"', 1, true))
	end)
end)

describe("nova-kms drain", function()
	local node

	after_each(function()
		if node then node:kill() end
		node = nil
	end)

	it("finishes what runs, accepts nothing new, ends with 0 and removes the socket", function()
		-- The body waits while programs start and end.
		node = nodes.start({ dir = files.temp_dir(), env = {
			MIN_BODY_BYTES_PER_SECOND = "0", BODY_TIMEOUT_SECONDS = "120", SHUTDOWN_TIMEOUT_SECONDS = "120",
		} })
		local socket = node.dir .. "/control.sock"
		local app = apps.new(node, "7", "drain app")
		node:register({ app })
		app:nonce()
		local headers, signature = app:pop({})
		local body = cjson.encode(crypto.seal(app:channel_key(), app.identity.der, '{"path":"slow"}'))
		headers[#headers + 1] = { "Content-Length", tostring(#body) }
		local slow = assert(http.connect(node.port))
		slow:write(http.format({ method = "POST", target = "/kms/derive", headers = headers }) .. body:sub(1, 10))
		wait.until_true("the request to run", function()
			local page = cjson.decode(http.get(socket, "/status").body)
			return page.control.requests_running == 1
		end)
		local code, out = nodes.run({ "drain", "--socket", socket }, { env = {} })
		assert.equal(0, code)
		assert.equal("draining, 1 request still running\n", out)
		wait.until_true("the port to close", function() return not http.connect(node.port) end)
		assert.is_true(cjson.decode(http.get(socket, "/status").body).control.draining)
		code = nodes.run({ "drain", "--socket", socket }, { env = {} })
		assert.equal(0, code)
		slow:write(body:sub(11))
		local response = app:receive({ conn = slow, signature = signature, method = "POST" })
		assert.equal(200, response.status, response.body)
		assert.equal(0, (node:wait_end()))
		assert.is_nil(uv.fs_lstat(socket))
		assert.truthy(node:log():find('"command":"drain"', 1, true))
		files.remove_dir(node.dir)
		node = nil
	end)

	it("takes a SIGTERM in between for the same wish", function()
		node = nodes.start()
		local conn = assert(http.connect(node.port))
		conn:write("GET /health HTTP/1.1\r\n")
		assert.equal(0, (nodes.run({ "drain", "--socket", node.dir .. "/control.sock" }, { env = {} })))
		assert.equal(0, (node:stop()))
		conn:close()
		node = nil
	end)
end)
