-- Start, restart and stop of a node; its master secret from the environment; the process's protection.

local apps = require("spec.support.app")
local backend = require("spec.support.backend")
local crypto = require("spec.support.crypto")
local expect = require("spec.support.expect")
local files = require("spec.support.files")
local http = require("spec.support.http")
local nodes = require("spec.support.node")
local uv = require("luv")
local wait = require("spec.support.wait")

local MASTER = crypto.hex(crypto.keccak256("a made-up master secret"))

describe("a start", function()
	backend.only("files", it)("makes an identity and a local chain with modes that keep others out", function()
		local node = nodes.start()
		finally(function() node:stop() end)
		for _, name in ipairs({ "node.seed", "demo-app.seed", "master.sealed" }) do
			local stat = assert(uv.fs_stat(node.dir .. "/" .. name), name)
			assert.equal(384, stat.mode & 511, name) -- 0600
		end
		local demo = crypto.seed_identity(crypto.unhex(files.read(node.dir .. "/demo-app.seed"):sub(1, 64)))
		local app = apps.with_identity(node, "1000", demo)
		expect.ok(app:derive({ path = "p" }))
		local own = crypto.seed_identity(crypto.unhex(files.read(node.dir .. "/node.seed"):sub(1, 64)))
		assert.equal(own.wallet, node.wallet)
		assert.equal(crypto.hex(own.der), crypto.hex(node.der))
	end)

	it("is on the backend that the specs are run for", function()
		local node = nodes.start()
		finally(function() node:stop() end)
		assert.truthy(node:log():find(('"tee":"%s"'):format(backend.name), 1, true), node:log())
	end)

	it("says that it is ready in a line of its own", function()
		local node = nodes.start({ env = { LOG_FORMAT = "text" } })
		finally(function() node:stop() end)
		node:wait_log("ready")
		local url = "http://127.0.0.1:" .. node.port
		local said = wait.until_true("the line", function()
			local output = node:output()
			return output:find("\n.*\n") and output
		end)
		assert.truthy(said:find("ready on " .. url, 1, true), said)
		assert.truthy(said:find("call derive --url " .. url, 1, true), said)
	end)
end)

backend.only("files", describe)("a restart", function()
	it("keeps identity, secret and derived keys; records live in memory", function()
		local dir = files.temp_dir()
		finally(function() files.remove_dir(dir) end)
		local node = nodes.start({ dir = dir })
		local app = apps.new(node, "900", "restart")
		node:register({ app })
		local key = expect.ok(app:derive({ path = "p" })).inner.key
		expect.ok(app:put("k", "v"))
		local nonce = app:nonce()
		assert.equal(0, (node:stop()))
		local again = nodes.start({ dir = dir })
		finally(function() again:stop() files.remove_dir(dir) end)
		assert.equal(node.wallet, again.wallet)
		assert.equal(node.der, again.der)
		app = apps.new(again, "900", "restart")
		assert.equal(key, expect.ok(app:derive({ path = "p" })).inner.key)
		expect.refused(app:get("k"), 404, "not_found")
		expect.refused(app:derive({ path = "p" }, { nonce = nonce }), 403, "unauthorized")
	end)

	it("keeps a secret that came from the environment once", function()
		local dir = files.temp_dir()
		local node = nodes.start({ dir = dir, env = { MASTER_SECRET_HEX = MASTER } })
		finally(function() node:stop() files.remove_dir(dir) end)
		assert.equal(0, (node:stop()))
		node = nodes.start({ dir = dir })
		local app = apps.new(node, "901", "kept secret")
		node:register({ app })
		assert.equal(crypto.base64(crypto.derive(crypto.unhex(MASTER), "901", "p")),
			expect.ok(app:derive({ path = "p" })).inner.key)
	end)

	it("does not serve with a secret that is not the chain's", function()
		local dir = files.temp_dir()
		local node = nodes.start({ dir = dir })
		finally(function() node:stop() files.remove_dir(dir) end)
		assert.equal(0, (node:stop()))
		assert(uv.fs_unlink(dir .. "/master.sealed"))
		node = nodes.start({ dir = dir, nowait = true, env = { MASTER_SECRET_HEX = MASTER } })
		node:wait_log("master secret sync failed")
		expect.refused(http.get(node.port, "/ready"), 503, "service_unavailable")
	end)
end)

describe("a stop", function()
	-- A node that waits for the body of a request as long as a test needs, and at its stop `shutdown_s` seconds.
	local function start_patient(shutdown_s)
		return nodes.start({ env = {
			BODY_TIMEOUT_SECONDS = 600, MIN_BODY_BYTES_PER_SECOND = 0, SHUTDOWN_TIMEOUT_SECONDS = shutdown_s,
		} })
	end

	-- Has a request run whose body never comes.
	local function hold(node, app_id)
		local app = apps.new(node, app_id, "never ends")
		node:register({ app })
		local conn, headers = app:connection(), app:pop({})
		headers[#headers + 1] = { "Content-Length", "1000" }
		headers[#headers + 1] = { "Expect", "100-continue" }
		conn:write(http.format({ method = "POST", target = "/kms/derive", headers = headers }))
		assert.equal(100, conn:receive().status) -- its handler waits for the body
	end

	for _, signal in ipairs({ "sigterm", "sigint" }) do
		it("on " .. signal .. " ends with status 0 and closes idle connections", function()
			local node = nodes.start()
			finally(function() node:kill() end)
			local conn = assert(http.connect(node.port))
			assert.equal(200, conn:request({ target = "/health" }).status)
			local code, by_signal = node:stop(signal)
			assert.equal(0, code)
			assert.equal(0, by_signal)
			conn:wait_eof()
		end)
	end

	it("lets a running request finish", function()
		local node = start_patient(600)
		finally(function() node:kill() end)
		local app = apps.new(node, "902", "last words")
		node:register({ app })
		local headers, signature = app:pop({})
		local body = require("cjson").encode(crypto.seal(app:channel_key(), app.identity.der, '{"path":"p"}'))
		headers[#headers + 1] = { "Content-Length", #body }
		headers[#headers + 1] = { "Expect", "100-continue" }
		local conn = assert(http.connect(node.port))
		conn:write(http.format({ method = "POST", target = "/kms/derive", headers = headers }))
		assert.equal(100, conn:receive().status)
		uv.kill(node.pid, "sigterm")
		wait.until_true("no more connections", function()
			local late = http.connect(node.port)
			if late then late:close() end
			return not late
		end)
		conn:write(body)
		expect.ok(app:receive({ conn = conn, signature = signature }))
		assert.equal(0, (node:wait_end()))
	end)

	it("at its deadline drops jobs that wait for the pool, in order", function()
		local node = nodes.start({ env = { THREADS = 1, SHUTDOWN_TIMEOUT_SECONDS = 1, LOG_LEVEL = "warn" } })
		finally(function() node:kill() end)
		local app = apps.new(node, "906", "many jobs")
		node:register({ app })
		expect.ok(app:put("large", ("v"):rep(1 << 20)))
		-- Far more than one thread answers within the deadline.
		local nonces, conns = {}, {}
		for i = 1, 1200 do nonces[i] = app:nonce() end
		for i = 1, #nonces do conns[i] = assert(http.connect(node.port)) end
		for i, conn in ipairs(conns) do
			app:send({ conn = conn, method = "GET", target = "/kms/data/large", nonce = nonces[i] })
		end
		uv.kill(node.pid, "sigterm")
		assert.equal(0, (node:wait_end())) -- a sanitizer's report is another status
		for _, conn in ipairs(conns) do conn:close() end
	end)

	it("ends at once on a signal that comes later than the first", function()
		local node = start_patient(600)
		finally(function() node:kill() end)
		hold(node, "905")
		uv.kill(node.pid, "sigint")
		node:wait_log("stopping")
		wait.sleep(2000) -- longer than the second in which another signal belongs to the first
		local code = node:stop("sigint")
		assert.is_true(code ~= nil and code ~= 0)
	end)

	it("waits for a request no longer than SHUTDOWN_TIMEOUT_SECONDS", function()
		local node
		finally(function() node:kill() end)
		-- The default is ten seconds. A machine that is busy may take as long, but not each time.
		wait.until_true("an end within eight seconds", function()
			node = start_patient(1)
			hold(node, "903")
			local begun_ns = uv.hrtime()
			assert.equal(0, (node:stop()))
			local took_s = (uv.hrtime() - begun_ns) / 1e9
			return took_s < 8, took_s
		end)
	end)
end)

describe("MASTER_SECRET_HEX", function()
	it("is taken out of the environment that the kernel shows, and never printed", function()
		local node = nodes.start({ env = { MASTER_SECRET_HEX = MASTER, LOG_LEVEL = "debug" } })
		finally(function() node:stop() end)
		local environ = files.read("/proc/" .. node.pid .. "/environ")
		if not environ then return pending("/proc/<pid>/environ is not readable for this user") end
		assert.truthy(environ:find("BIND_ADDR", 1, true))
		assert.is_nil(environ:lower():find(MASTER:sub(1, 16), 1, true))
		assert.is_nil(environ:lower():find(MASTER:sub(-16), 1, true))
		assert.is_nil(node:log():lower():find(MASTER:sub(1, 16), 1, true))
	end)

	it("takes hex in any case with or without 0x", function()
		for _, text in ipairs({ MASTER:upper(), "0x" .. MASTER }) do
			local node = nodes.start({ env = { MASTER_SECRET_HEX = text } })
			finally(function() node:stop() end)
			local app = apps.new(node, "904", "hex")
			node:register({ app })
			assert.equal(crypto.base64(crypto.derive(crypto.unhex(MASTER), "904", "p")),
				expect.ok(app:derive({ path = "p" })).inner.key)
			node:stop()
		end
	end)

	it("stops the start when it is no secret, without showing it", function()
		for _, text in ipairs({ MASTER:sub(1, 62), MASTER .. "00", ("zz"):rep(32), "secret" }) do
			local said = nodes.refused({ MASTER_SECRET_HEX = text })
			expect.named_once(said, "MASTER_SECRET_HEX")
			assert.is_nil(said:find(text, 1, true), said)
		end
	end)

	it("is refused in an enclave without ALLOW_OPERATOR_SECRET", function()
		local said = nodes.refused({
			IN_ENCLAVE = "true", TEE = "odyn", CHAIN = "evm", MASTER_SECRET_HEX = MASTER,
			NOVA_APP_REGISTRY_ADDRESS = "0x" .. ("11"):rep(20), KMS_REGISTRY_ADDRESS = "0x" .. ("22"):rep(20),
		})
		assert.truthy(said:find("ALLOW_OPERATOR_SECRET", 1, true), said)
		assert.is_nil(said:find(MASTER, 1, true))
	end)
end)

describe("the process", function()
	it("dumps no core and gains no privileges", function()
		local node = nodes.start()
		finally(function() node:stop() end)
		local status = files.read("/proc/" .. node.pid .. "/status")
		assert.truthy(status:find("NoNewPrivs:%s*1"))
		local limits = files.read("/proc/" .. node.pid .. "/limits")
		assert.truthy(limits:find("Max core file size%s+0%s+0%s"))
	end)

	-- What belongs to root in /proc/<pid> shows that a process is not dumpable: only another user can see it.
	it("is not dumpable, hence closed to other processes of its user", function()
		local dir, uid = files.temp_dir(), uv.getuid()
		if uid == 0 then uid = 65534 end
		assert(uv.fs_chown(dir, uid, uv.getuid() == 0 and uid or -1))
		local node = nodes.start({ dir = dir, uid = uv.getuid() == 0 and uid or nil })
		finally(function() node:stop() files.remove_dir(dir) end)
		assert.truthy(files.read("/proc/" .. node.pid .. "/status"):find(("Uid:%%s+%d"):format(uid)))
		assert.equal(0, uv.fs_stat("/proc/" .. node.pid .. "/mem").uid)
	end)

	it("says what to do when it may not lock enough memory", function()
		if uv.getuid() ~= 0 then return pending("needs root, to start a node as another user") end
		if nodes.build:find("asan") then return pending("AddressSanitizer makes mlock do nothing") end
		local dir = files.temp_dir()
		assert(uv.fs_chown(dir, 65534, 65534))
		local code, out, err = nodes.serve(dir, { uid = 65534, memlock = 65536 })
		files.remove_dir(dir)
		assert.is_true(code ~= nil and code ~= 0)
		assert.truthy((out .. err):find("memlock", 1, true), out .. err)
	end)
end)
