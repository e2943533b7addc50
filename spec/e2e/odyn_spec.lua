-- A node whose keys are in the Odyn service: here a fake of it, a process of its own.

local apps = require("spec.support.app")
local cjson = require("cjson")
local crypto = require("spec.support.crypto")
local expect = require("spec.support.expect")
local http = require("spec.support.http")
local loopback = require("spec.support.loopback")
local memory = require("spec.support.memory")
local nodes = require("spec.support.node")
local odyn_process = require("spec.support.odyn")
local uv = require("luv")
local wait = require("spec.support.wait")

local MASTER = crypto.keccak256("the master secret of the odyn spec")
local APP_ID = "971"

local function environment(odyn, more)
	local env = { TEE = "odyn", ODYN_URL = odyn.url, MASTER_SECRET_HEX = crypto.hex(MASTER) }
	for name, value in pairs(more or {}) do env[name] = value end
	return env
end

describe("a node with TEE=odyn", function()
	local odyn, node, app

	setup(function()
		odyn = odyn_process.start()
		node = nodes.start({ env = environment(odyn) })
		app = apps.new(node, APP_ID, "odyn")
		node:register({ app })
	end)

	teardown(function()
		app:close()
		node:stop()
		odyn:stop()
	end)

	it("is who the service says", function()
		local identity = cjson.decode(http.get(odyn.port, "/v1/eth/address").body)
		assert.equal(identity.address, node.wallet)
		local key = cjson.decode(http.get(odyn.port, "/v1/encryption/public_key").body).public_key_der
		assert.equal(key, "0x" .. crypto.hex(node.der))
	end)

	it("serves every operation", function()
		local unbound = apps.new(node, "972", "never binds its bodies")
		node:register({ unbound })
		for one, pop in pairs({ [app] = true, [unbound] = false }) do
			local id = one.app_id
			local response = expect.ok(one:derive({ path = "wallet/é", context = "c", length = 64 }, { pop = pop }))
			assert.equal(crypto.base64(crypto.derive(MASTER, id, "wallet/é", "c", 64)), response.inner.key)
			assert.equal(pop and response.signature or nil, response.inner.pop)
			for _, size in ipairs({ 0, 1, 1000, 100000, 1 << 20 }) do
				local value = crypto.random(size)
				expect.ok(one:put("k/" .. size, value, { pop = pop }))
				assert.is_true(value == one:value("k/" .. size))
			end
			local keys = expect.ok(one:list()).inner.keys
			table.sort(keys)
			assert.same({ "k/0", "k/1", "k/1000", "k/100000", "k/1048576" }, keys)
			for _, key in ipairs(keys) do expect.ok(one:delete(key, { pop = pop })) end
			assert.is_nil(one:value("k/1"))
			expect.refused(one:delete("k/1", { pop = pop }), 404, "not_found")
		end
		unbound:close()
	end)

	it("refuses what any node refuses", function()
		local stranger = apps.new(node, APP_ID, "not registered")
		expect.refused(stranger:derive({ path = "a" }), 403, "unauthorized")
		stranger:close()
		local other = crypto.made_up("another sender")
		expect.refused(app:derive({ path = "a" }, { sender_der = other.der }), 403, "forbidden")
		expect.refused(app:derive({ path = "a" }, { pop = "0x00" }), 403, "forbidden")
		expect.refused(app:derive({ path = "a" }, { signature = "0x00" }), 403, "unauthorized")
		expect.refused(app:derive({ path = " " }, { pop = true }), 400, "bad_request")
		expect.refused(app:derive({ path = "a", app_id = 7 }, { pop = true }), 400, "bad_request")
		expect.refused(app:derive(nil, { plain = "no JSON", pop = true }), 400, "bad_request")
		expect.refused(app:derive(nil, { body = "{}" }), 400, "bad_request")
		expect.refused(app:derive({ path = "a" }, { channel_key = ("k"):rep(32), pop = true }), 400, "bad_request")
		expect.refused(app:derive({ path = "a" }, {
			pop = true, envelope = function(e) e.encrypted_data = "zz" .. e.encrypted_data:sub(3) end,
		}), 400, "bad_request")
		expect.refused(app:put("k", crypto.random((1 << 20) + 1), { pop = true }), 400, "bad_request")
		expect.ok(app:derive({ path = "a" }, { pop = true }))
	end)

	it("answers many at once, each with its own", function()
		local list, sent = {}, {}
		for i = 1, 24 do list[i] = apps.new(node, APP_ID, "many " .. i) end
		node:register(list)
		for round = 1, 4 do
			for i, one in ipairs(list) do
				sent[i] = one:send({ method = "POST", target = "/kms/derive", inner = { path = ("%d/%d"):format(round, i) } })
			end
			for i, one in ipairs(list) do
				local path = ("%d/%d"):format(round, i)
				local response = expect.ok(one:receive(sent[i]))
				assert.equal(path, response.inner.path)
				assert.equal(crypto.base64(crypto.derive(MASTER, APP_ID, path)), response.inner.key)
			end
		end
		for _, one in ipairs(list) do one:close() end
	end)

	it("says 503 while the service is down, and works again when it is back", function()
		expect.ok(app:put("stays", "value", { pop = true }))
		odyn:kill()
		for _ = 1, 3 do
			expect.refused(app:derive({ path = "a" }, { pop = true }), 503, "service_unavailable")
			expect.refused(app:get("stays"), 503, "service_unavailable")
			expect.refused(app:put("new", "value", { pop = true }), 503, "service_unavailable")
		end
		assert.equal(404, app:get("not there").status) -- nothing to seal
		assert.equal(200, http.get(node.port, "/health").status)
		assert.is_true(node:alive())
		odyn:run()
		assert.equal("value", app:value("stays"))
		assert.is_nil(app:value("new"))
		expect.ok(app:derive({ path = "a" }, { pop = true }))
		local log = node:log()
		assert.truthy(log:find('"call":"POST /v1/eth/sign"', 1, true))
		assert.is_nil(log:find('"level":"error"', 1, true))
	end)

	it("says 503 within its bound while the service hangs, and serves what needs no service", function()
		odyn:signal("sigstop")
		local sent = app:send({ method = "POST", target = "/kms/derive", inner = { path = "a" }, pop = true })
		assert.equal(200, http.get(node.port, "/health").status)
		assert.equal(0, sent.conn.size) -- the other request still waits
		expect.refused(app:receive(sent), 503, "service_unavailable")
		odyn:signal("sigcont")
		expect.ok(app:derive({ path = "a" }, { pop = true }))
	end)

	it("keeps no value, key or master secret outside of guarded memory", function()
		local reason = memory.node_obstacle()
		if reason then return pending(reason) end
		local gone, size = {}, 30000
		for i = 1, 40 do
			local value = crypto.random(size)
			gone["value start " .. i], gone["value middle " .. i] = value:sub(1, 48), value:sub(size // 2, size // 2 + 47)
			expect.ok(app:put("scan" .. i % 4, value, { pop = true }))
			assert.is_true(value == app:value("scan" .. i % 4))
			local path = "scan/" .. i
			gone["derived " .. i] = crypto.derive(MASTER, APP_ID, path, nil, 64)
			expect.ok(app:derive({ path = path, length = 64 }, { pop = true }))
		end
		-- libcurl of Debian 13 keeps its transfer buffers, which are guarded memory then.
		assert.equal("", memory.leaks((memory.scan(node.pid, gone))))
		local hits = memory.scan(node.pid, { master = MASTER, ["data key"] = crypto.derive(MASTER, APP_ID, "data_key") })
		assert.equal("", memory.leaks(hits))
		assert.is_true(memory.count(hits, "guarded").master > 0)
	end)
end)

describe("a node with TEE=odyn whose service is not there yet", function()
	local odyn, node

	before_each(function()
		odyn = odyn_process.start()
		odyn:kill()
		node = nodes.start({ nowait = true, env = environment(odyn, { MASTER_SECRET_HEX = false }) })
		node:wait_log("waiting for the TEE service")
	end)
	after_each(function()
		node:stop()
		odyn:stop()
	end)

	it("listens, says why it serves nobody, and serves once the service has come", function()
		assert.equal(200, http.get(node.port, "/health").status)
		assert.equal(200, http.get(node.port, "/").status)
		assert.equal(200, http.get(node.port, "/nodes").status)
		local nonce = http.get(node.port, "/nonce")
		assert.equal(200, nonce.status)
		assert.truthy(cjson.decode(nonce.body).nonce)
		local status = node:status().node
		assert.same({ cjson.null, cjson.null, false, "waiting for the TEE service" }, {
			status.tee_wallet, status.tee_pubkey, status.service_available, status.service_unavailable_reason,
		})
		local function refused(reason, message, request)
			local response = assert(http.request(node.port, request))
			expect.refused(response, 503, "service_unavailable", reason)
			assert.truthy(response.body:find(message, 1, true), response.body)
		end
		local why = "waiting for the TEE service"
		refused("not_ready", why, { target = "/ready" })
		refused("not_ready", why, { method = "POST", target = "/kms/derive", body = "{}" })
		refused("not_ready", why, { target = "/kms/data" })
		refused("not_ready", why, { target = "/kms/data/key" })
		refused("not_ready", why, { method = "PUT", target = "/kms/data", body = "{}" })
		refused("not_ready", why, { method = "DELETE", target = "/kms/data", body = "{}" })
		refused("not_ready", why, { method = "POST", target = "/sync", body = "{}" })
		refused("tee_unavailable", "", { target = "/attestation?nonce=00" })
		odyn:run()
		node:wait_ready() -- with a master secret out of the service's generator
		assert.equal("generated", node:status().node.master_secret.state)
		assert.equal(cjson.decode(http.get(odyn.port, "/v1/eth/address").body).address, node.wallet)
		assert.equal(200, http.get(node.port, "/attestation?nonce=00").status)
		local app = apps.new(node, APP_ID, "early")
		node:register({ app })
		expect.ok(app:put("k", "v"))
		odyn:kill()
		expect.refused(app:get("k"), 503, "service_unavailable")
		odyn:run()
		assert.equal("v", app:value("k"))
		app:close()
		assert.is_nil(node:log():find('"level":"error"', 1, true), node:log())
	end)

	it("obeys the control socket and SIGHUP", function()
		local status = node:control("GET", "/status")
		assert.equal("waiting for the TEE service", status.node.service_unavailable_reason)
		assert.same({}, node:control("GET", "/peers").peers)
		assert.equal("warn", node:control("PUT", "/loglevel/warn").level)
		assert.equal("info", node:control("PUT", "/loglevel/info").level)
		assert.is_true(node:control("POST", "/reload").reloaded)
		uv.kill(node.pid, "sighup")
		assert.equal("waiting for the TEE service", node:control("GET", "/status").node.service_unavailable_reason)
		assert.is_true(node:control("POST", "/drain").draining)
		assert.same({ 0, 0 }, { node:wait_end() })
	end)

	it("stops on SIGTERM", function()
		local code, signal = node:stop("sigterm")
		assert.same({ 0, 0 }, { code, signal })
	end)

	it("waits on for a service that comes, goes and returns", function()
		local calls = 0
		local brief = loopback.serve(function(client)
			calls = calls + 1
			client:close()
		end, odyn.port)
		wait.until_true("the node's calls", function() return brief.accepted > 1 and calls > 1 end)
		loopback.close()
		assert.is_true(node:alive())
		odyn:run()
		node:wait_ready()
	end)
end)

describe("the fake service", function()
	it("keeps to loopback addresses", function()
		local code, _, err = nodes.run({ "devnet-odyn", "--bind", "0.0.0.0:0" })
		assert.equal(1, code)
		assert.truthy(err:find("is not a loopback address", 1, true), err)
		code = nodes.run({ "devnet-odyn", "--bind", "somewhere" })
		assert.equal(2, code)
	end)
end)
