-- The control socket of a running node, raw and by the command line: who may speak to it, what each
-- command does, and that nothing on it is a secret.

local apps = require("spec.support.app")
local backend = require("spec.support.backend")
local cjson = require("cjson")
local crypto = require("spec.support.crypto")
local expect = require("spec.support.expect")
local files = require("spec.support.files")
local http = require("spec.support.http")
local nodes = require("spec.support.node")
local uv = require("luv")
local wait = require("spec.support.wait")

local MASTER = crypto.keccak256("the master secret of the control socket")
local SEED = crypto.keccak256("the seed of the control socket")
local OTHER_USER = 12345

describe("the control socket", function()
	local node, socket, app

	setup(function()
		local dir = files.temp_dir()
		files.write(dir .. "/node.seed", crypto.hex(SEED) .. "\n")
		node = nodes.start({ dir = dir, env = { MASTER_SECRET_HEX = crypto.hex(MASTER) } })
		socket = dir .. "/control.sock"
		app = apps.new(node, "7", "control app")
		node:register({ app })
		expect.ok(app:put("confidential/key", "confidential value"))
	end)

	teardown(function()
		node:stop()
		files.remove_dir(node.dir)
	end)

	local function ask(method, target, more)
		local request = { method = method, target = target }
		for name, value in pairs(more or {}) do request[name] = value end
		local response = assert(http.request(socket, request))
		return response, cjson.decode(response.body)
	end

	local function cli(...)
		return nodes.run({ ... }, { env = { DATA_DIR = node.dir, IN_ENCLAVE = "false" } })
	end

	it("is there with mode 0600", function()
		local stat = uv.fs_lstat(socket)
		assert.equal("socket", stat.type)
		assert.equal(384, stat.mode & 4095)
	end)

	it("says how the node is", function()
		local response, page = ask("GET", "/status")
		assert.equal(200, response.status)
		assert.equal(node.wallet, page.node.tee_wallet)
		assert.equal("info", page.control.log_level)
		assert.is_false(page.control.draining)
		assert.equal(0, page.control.errors_caught)
		local code, out = cli("status", "--socket", socket)
		assert.equal(0, code)
		assert.truthy(out:find("log level info", 1, true), out)
		code, out = cli("status", "--socket", socket, "--json")
		assert.equal(0, code)
		assert.equal(node.wallet, cjson.decode(out).node.tee_wallet)
	end)

	it("lists peers", function()
		local code, out = cli("peers")
		assert.equal(0, code)
		local head = "^WALLET%s+STATE%s+ACKNOWLEDGED%s+SKIPPED%s+LATER%s+SAME AS HERE%s+REPAIRED%s+URL%s+BANS\n"
		assert.truthy(out:find(head), out)
		assert.truthy(out:find(node.wallet .. "  self ", 1, true), out)
		code, out = cli("peers", "--json")
		assert.equal(0, code)
		assert.equal("self", cjson.decode(out).peers[1].state)
	end)

	it("shows and sets the log level, and logs who did", function()
		local code, out = cli("loglevel")
		assert.same({ 0, "info\n" }, { code, out })
		code, out = cli("loglevel", "debug")
		assert.same({ 0, "debug\n" }, { code, out })
		assert.equal("debug", select(2, ask("GET", "/loglevel")).level)
		http.get(node.port, "/health")
		node:wait_log('"route":"health"')
		local line = node:log():match('[^\n]*"command":"set loglevel"[^\n]*')
		assert.truthy(line, node:log())
		local event = cjson.decode(line)
		assert.equal(uv.getuid(), tonumber(event.uid))
		assert.is_true(tonumber(event.pid) > 1)
		assert.equal("debug", event.argument)
		for _, text in ipairs({ "trace", "TRACE", "Debug" }) do
			assert.equal("debug", select(2, ask("PUT", "/loglevel/" .. text)).level)
			code, out = cli("loglevel", text)
			assert.same({ 0, "debug\n" }, { code, out })
		end
		assert.equal(0, (cli("loglevel", "info", "--json")))
		local loud, _, err = cli("loglevel", "loud")
		assert.equal(2, loud)
		assert.truthy(err:find("allowed is one of", 1, true), err)
		assert.equal(400, (ask("PUT", "/loglevel/loud")).status)
		assert.equal("info", select(2, ask("GET", "/loglevel")).level)
	end)

	it("refuses what is no command", function()
		assert.equal(404, (ask("GET", "/")).status)
		assert.equal(404, (ask("GET", "/kms/data")).status)
		assert.equal(404, (ask("GET", "/metrics")).status)
		assert.equal(405, (ask("GET", "/reload")).status)
		assert.equal(405, (ask("POST", "/status")).status)
		assert.equal(405, (ask("GET", "/bans/../status")).status)
		assert.equal(400, (ask("POST", "/reload", { body = "{}" })).status)
		assert.equal(404, http.get(node.port, "/loglevel").status)
		assert.equal(404, http.request(node.port, { method = "POST", target = "/drain" }).status)
	end)

	it("bears garbage, what is too large, and who sends nothing", function()
		local conn = assert(http.connect(socket))
		conn:write(crypto.random(3000) .. "\r\n\r\n")
		conn:wait_eof()
		conn:close()
		local long = assert(http.request(socket, { target = "/status", headers = { { "X", ("x"):rep(5000) } } }))
		assert.is_true(long.status == 431 or long.status == 400, long.status)
		conn = assert(http.connect(socket))
		conn:write(("GET /%s HTTP/1.1\r\nHost: a\r\n\r\n"):format(("x"):rep(9000)))
		local refused = assert(conn:receive())
		assert.is_true(refused.status >= 400)
		conn:close()
		conn = assert(http.connect(socket))
		conn:write("POST /reload HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n")
		assert.equal(400, conn:receive().status)
		conn:close()
		local idle = {}
		for i = 1, 40 do idle[i] = http.connect(socket) end
		assert.equal(200, (ask("GET", "/status")).status)
		for _, one in pairs(idle) do one:close() end
		assert.is_true(node:alive())
	end)

	it("answers two clients at once", function()
		local one, two = assert(http.connect(socket)), assert(http.connect(socket))
		local request = http.format({ target = "/peers" })
		one:write(request:sub(1, 10))
		two:write(request .. request)
		assert.equal(200, two:receive().status)
		assert.equal(200, two:receive().status)
		one:write(request:sub(11))
		assert.equal(200, one:receive().status)
		one:close()
		two:close()
	end)

	it("says nothing secret, whatever is asked", function()
		local texts = {}
		for _, command in ipairs({
			{ "GET", "/status" }, { "GET", "/peers" }, { "POST", "/reload" }, { "GET", "/loglevel" }, { "GET", "/x" },
		}) do
			texts[#texts + 1] = (ask(command[1], command[2])).body
		end
		local own, all = crypto.seed_identity(SEED), table.concat(texts, "\n")
		for what, secret in pairs({
			master = MASTER, seed = SEED, wallet_key = own.wallet_key, scalar = own.scalar,
			data_key = crypto.derive(MASTER, "7", "data_key"), sync_key = crypto.derive(MASTER, "0", "sync_hmac_key"),
		}) do
			for _, form in ipairs({ secret, crypto.hex(secret), crypto.hex(secret):upper(), crypto.base64(secret) }) do
				assert.is_nil(all:find(form, 1, true), what)
			end
		end
		assert.is_nil(all:find("confidential", 1, true))
	end)

	it("is for its owner and root, by its mode and by who the kernel says is there", function()
		if uv.getuid() ~= 0 then return pending("running as another user needs root") end
		local function other(...)
			return nodes.run({ ... }, { uid = OTHER_USER, env = {} })
		end
		assert(uv.fs_chmod(node.dir, 493)) -- 0755: only the socket's own mode is in the way
		local code, _, err = other("loglevel", "--socket", socket)
		assert.equal(3, code)
		assert.truthy(err:find("no node answers on " .. socket .. ": permission denied", 1, true), err)
		assert(uv.fs_chmod(socket, 438)) -- 0666
		code, _, err = other("loglevel", "error", "--socket", socket)
		assert.equal(1, code)
		assert.truthy(err:find("not for this user", 1, true), err)
		code, _, err = other("policy", "suspend", "blacklist.rules.3/invalid_url", "--for", "1h", "--socket", socket)
		assert.equal(1, code)
		assert.truthy(err:find("not for this user", 1, true), err)
		assert.same({}, node:status().policy.suspended)
		node:wait_log('"event":"control refused"')
		assert.truthy(node:log():find('"uid":"?' .. OTHER_USER), node:log())
		assert.equal("info", select(2, ask("GET", "/loglevel")).level)
		assert(uv.fs_chmod(socket, 384))
		assert(uv.fs_chmod(node.dir, 448))
	end)

	it("says clearly where no node listens", function()
		for _, words in ipairs({ { "reload" }, { "drain" }, { "peers" }, { "bans", "list" }, { "loglevel" } }) do
			table.move({ "--socket", "/nonexistent/control.sock" }, 1, 2, #words + 1, words)
			local code, out, err = nodes.run(words, { env = {} })
			assert.same({ 3, "" }, { code, out })
			assert.equal("nova-kms: no node answers on /nonexistent/control.sock: ENOENT: no such file or directory\n", err)
		end
		local code, _, err = nodes.run({ "peers" }, { env = { IN_ENCLAVE = "true" } })
		assert.equal(4, code)
		assert.truthy(err:find("has no control socket", 1, true), err)
	end)

	it("checks the wallet of a ban to lift", function()
		local code, _, err = cli("bans", "lift", "0x12")
		assert.equal(2, code)
		assert.truthy(err:find("40 hexadecimal digits", 1, true), err)
		assert.equal(400, (ask("DELETE", "/bans/0x12")).status)
	end)
end)

describe("CONTROL_SOCKET", function()
	local running = {}

	after_each(function()
		for _, node in ipairs(running) do node:stop() end
		running = {}
	end)

	local function start(options)
		running[#running + 1] = nodes.start(options)
		return running[#running]
	end

	backend.only("files", it)("is taken over from a node that was killed, and not from one that runs", function()
		local dir = files.temp_dir()
		local killed = nodes.start({ dir = dir })
		killed:kill()
		assert.equal("socket", uv.fs_lstat(dir .. "/control.sock").type)
		local node = start({ dir = dir })
		assert.equal(200, http.get(dir .. "/control.sock", "/status").status)
		local elsewhere = files.temp_dir()
		local code, _, err = nodes.serve(elsewhere, { env = { CONTROL_SOCKET = dir .. "/control.sock" } })
		assert.equal(1, code)
		assert.truthy(err:find("another process listens there", 1, true), err)
		assert.equal(node.wallet, cjson.decode(http.get(dir .. "/control.sock", "/status").body).node.tee_wallet)
		node:stop()
		assert.is_nil(uv.fs_lstat(dir .. "/control.sock"))
		files.remove_dir(dir)
		files.remove_dir(elsewhere)
	end)

	it("never removes a file that is no socket", function()
		local dir = files.temp_dir()
		files.write(dir .. "/control.sock", "a file")
		local node = start({ dir = dir })
		assert.truthy(node:log():find("exists and is not a socket; going on without", 1, true), node:log())
		node:stop()
		assert.equal("a file", files.read(dir .. "/control.sock"))
		files.remove_dir(dir)
	end)

	it("is elsewhere where it was named, and nowhere where it is off", function()
		local dir = files.temp_dir()
		local node = start({ env = { CONTROL_SOCKET = dir .. "/named" } })
		assert.equal(200, http.get(dir .. "/named", "/status").status)
		assert.is_nil(uv.fs_lstat(node.dir .. "/control.sock"))
		local off = start({ env = { CONTROL_SOCKET = "off" } })
		assert.is_nil(uv.fs_lstat(off.dir .. "/control.sock"))
		node:stop()
		assert.is_nil(uv.fs_lstat(dir .. "/named"))
		files.remove_dir(dir)
	end)

	it("is refused where its folder is everybody's", function()
		local dir = files.temp_dir()
		local code, _, err = nodes.serve(dir, { env = { CONTROL_SOCKET = "/tmp/nova-kms-spec-control.sock" } })
		assert.equal(1, code)
		assert.truthy(err:find("can be written by every user", 1, true), err)
		files.remove_dir(dir)
	end)

	it("is not told commands by the command line where a third user listens on it", function()
		if uv.getuid() ~= 0 then return pending("starting processes of other users needs root") end
		local dir = files.temp_dir()
		assert(uv.fs_chmod(dir, 511)) -- 0777
		local path = dir .. "/sock"
		local code = ("local uv = require('luv') local p = uv.new_pipe(false) assert(p:bind(%q)) uv.fs_chmod(%q, 511)"
			.. " p:listen(8, function() end) uv.run()"):format(path, path)
		local listener = uv.spawn("lua5.4", { args = { "-e", code }, uid = 1, gid = 1 }, function() end)
		finally(function()
			listener:kill("sigkill")
			http.close(listener)
			files.remove_dir(dir)
		end)
		-- It has its mode by then.
		wait.until_true("the listener", function()
			local conn = http.connect(path)
			if conn then conn:close() end
			return conn ~= nil
		end)
		local status, _, err = nodes.run({ "peers", "--socket", path }, { uid = 65534 })
		assert.is_true(status ~= 0)
		assert.truthy(err:find("belongs to user 1", 1, true), err)
	end)
end)
