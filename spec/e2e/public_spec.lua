-- The routes without authentication, and how paths and methods are answered (section 2).

local apps = require("spec.support.app")
local cjson = require("cjson")
local crypto = require("spec.support.crypto")
local expect = require("spec.support.expect")
local files = require("spec.support.files")
local http = require("spec.support.http")
local nodes = require("spec.support.node")
local wait = require("spec.support.wait")

local APP_ID = "700"

describe("public routes", function()
	local node, app

	setup(function()
		node = nodes.start()
		app = apps.new(node, APP_ID, "public")
		node:register({ app })
	end)
	teardown(function() node:stop() end)

	local function get(target)
		local response = assert(http.get(node.port, target))
		assert.equal(200, response.status)
		assert.equal("application/json", response.headers["content-type"])
		return cjson.decode(response.body), response
	end

	it("GET / says what this is", function()
		local overview = get("/")
		assert.equal("nova-kms", overview.service)
		assert.truthy(overview.version:find("^%d+%.%d+%.%d+$"))
		local listed = table.concat(overview.endpoints, "\n")
		for _, endpoint in ipairs({ "GET /health", "GET /status", "POST /kms/derive", "PUT /kms/data" }) do
			assert.truthy(listed:find(endpoint, 1, true), endpoint)
		end
	end)

	it("GET /health and /ready", function()
		assert.equal('{"status":"healthy"}', select(2, get("/health")).body)
		assert.equal('{"ready":true}', select(2, get("/ready")).body)
	end)

	it("GET /nonce gives 16 fresh bytes each time", function()
		local seen = {}
		for _ = 1, 50 do
			local body = get("/nonce")
			assert.equal(24, #body.nonce)
			assert.equal(16, #crypto.unbase64(body.nonce))
			assert.is_nil(seen[body.nonce])
			seen[body.nonce] = true
			body.nonce = nil
			assert.is_nil(next(body))
		end
	end)

	it("GET /status has the members of section 2.1", function()
		local before = get("/status")
		expect.ok(app:put("k", "12345"))
		local status = get("/status")
		assert.truthy(status.node.tee_wallet:find("^0x" .. ("[0-9a-f]"):rep(40) .. "$"))
		assert.equal(240, #status.node.tee_pubkey)
		assert.equal("3076301006072a8648ce3d020106052b8104002203620004", status.node.tee_pubkey:sub(1, 48))
		assert.is_true(status.node.is_operator)
		assert.is_true(status.node.service_available)
		assert.is_nil(status.node.service_unavailable_reason)
		assert.equal("string", type(status.node.node_url))
		assert.same({ state = "generated", synced_from = cjson.null }, status.node.master_secret)
		assert.is_true(status.node.master_secret_initialized)
		assert.equal(49, status.cluster.kms_app_id)
		assert.equal(1, status.cluster.total_instances)
		assert.is_not_nil(status.cluster.registry_address)
		assert.same({ confirmations = 0, unconfirmed = false }, status.chain)
		assert.equal(before.data_store.total_keys + 1, status.data_store.total_keys)
		assert.equal(before.data_store.total_bytes + 5 + 28, status.data_store.total_bytes)
		assert.equal(before.data_store.namespaces + 1, status.data_store.namespaces)
	end)

	it("GET /nodes lists the members of the KMS application", function()
		local list = get("/nodes")
		assert.equal(1, list.count)
		local entry = list.operators[1]
		assert.equal(node.wallet, entry.operator)
		assert.equal(node.wallet, entry.instance.tee_wallet)
		for _, name in ipairs({
			"instance_id", "app_id", "version_id", "operator", "instance_url", "tee_wallet", "zk_verified",
			"instance_status", "registered_at",
		}) do assert.is_not_nil(entry.instance[name], name) end
		assert.same({ value = 0, name = "ACTIVE" }, entry.instance.instance_status)
		assert.equal(49, entry.instance.app_id)
		for _, name in ipairs({
			"in_peer_cache", "cached_status", "status_endpoint_reachable", "status_endpoint_http_code",
			"status_probe_ms", "status_checked_at_ms",
		}) do assert.is_not_nil(entry.connection[name], name) end
		assert.is_true(entry.connection.in_peer_cache)
	end)

	it("HEAD answers like GET without a body", function()
		for _, target in ipairs({ "/", "/health", "/ready", "/status", "/nonce", "/nodes" }) do
			local conn = assert(http.connect(node.port))
			local response = assert(conn:request({ method = "HEAD", target = target }))
			assert.equal(200, response.status, target)
			assert.equal("", response.body)
			assert.is_true(tonumber(response.headers["content-length"]) > 0)
			-- The connection is in step: nothing of a body is left on it.
			assert.equal('{"status":"healthy"}', assert(conn:request({ target = "/health" })).body)
			conn:close()
		end
	end)

	it("HEAD of a record shows that it is there", function()
		expect.ok(app:put("head", "v"))
		local headers = app:pop({})
		local response = assert(app:connection():request({ method = "HEAD", target = "/kms/data/head", headers = headers }))
		assert.equal(200, response.status)
		headers = app:pop({})
		response = assert(app:connection():request({ method = "HEAD", target = "/kms/data/none", headers = headers }))
		assert.equal(404, response.status)
	end)

	it("OPTIONS names the methods of a path", function()
		for target, allow in pairs({
			["/"] = "GET, HEAD, OPTIONS", ["/nonce"] = "GET, HEAD, OPTIONS", ["/kms/derive"] = "OPTIONS, POST",
			["/kms/data"] = "DELETE, GET, HEAD, OPTIONS, PUT", ["/kms/data/k"] = "GET, HEAD, OPTIONS",
		}) do
			local response = assert(http.request(node.port, { method = "OPTIONS", target = target }))
			assert.equal(204, response.status, target)
			assert.equal(allow, response.headers.allow)
		end
	end)

	it("a method that a path does not have is 405 with Allow", function()
		for _, case in ipairs({
			{ "POST", "/", "GET, HEAD, OPTIONS" }, { "DELETE", "/health", "GET, HEAD, OPTIONS" },
			{ "PUT", "/nonce", "GET, HEAD, OPTIONS" }, { "GET", "/kms/derive", "OPTIONS, POST" },
			{ "POST", "/kms/data", "DELETE, GET, HEAD, OPTIONS, PUT" }, { "PUT", "/kms/data/k", "GET, HEAD, OPTIONS" },
		}) do
			local response = assert(http.request(node.port, { method = case[1], target = case[2] }))
			expect.refused(response, 405, "method_not_allowed")
			assert.equal(case[3], response.headers.allow)
		end
	end)

	it("a path that does not exist is 404", function()
		for _, target in ipairs({
			"/nothing", "/kms", "/kms/", "/kms/derive/", "/kms/derive/x", "/health/", "//health", "/HEALTH", "/%68ealth",
			"/kms/../health", "/./health", "/kms/data/../derive/x/../..",
		}) do
			local response = assert(http.get(node.port, target))
			if target:find("^/kms/data/") then
				expect.refused(response, 403, "unauthorized") -- a key like any other
			else
				expect.refused(response, 404, "not_found")
			end
		end
	end)

	it("ignores queries where none is meant", function()
		assert.equal('{"status":"healthy"}', select(2, get("/health?x=1&key=%41")).body)
	end)
end)

describe("a node that is not what the chain says", function()
	local node, app

	setup(function()
		node = nodes.start()
		app = apps.new(node, APP_ID, "not ready")
		node:register({ app })
	end)
	teardown(function() node:stop() end)

	local function expect_reason(reason)
		wait.until_true("not ready", function() return http.get(node.port, "/ready").status == 503 end)
		local status = wait.until_true(reason, function()
			local status = node:status()
			return status.node.service_unavailable_reason == reason and status
		end)
		assert.is_false(status.node.service_available)
		expect.refused(assert(http.get(node.port, "/ready")), 503, "service_unavailable")
		for _, response in ipairs({
			app:derive({ path = "p" }), app:list(), app:get("k"), app:put("k", "v"), app:delete("k"),
			app:derive({ path = "p" }, { no_pop = true }),
		}) do expect.refused(response, 503, "service_unavailable") end
		assert.equal(200, http.get(node.port, "/health").status)
		assert.equal(200, http.get(node.port, "/nonce").status)
	end

	local function becomes_ready()
		wait.until_true("ready again", function() return http.get(node.port, "/ready").status == 200 end)
		expect.ok(app:derive({ path = "p" }))
	end

	it("serves no /kms route and says why, until it is registered again", function()
		local text = files.read(node.dir .. "/chain.lua")
		local function restore() files.write(node.dir .. "/chain.lua", text) end
		node:edit_chain(function(chain) chain.instances[node.wallet].status = 1 end)
		expect_reason("self not in KMS node list")
		restore()
		becomes_ready()
		node:edit_chain(function(chain)
			chain.instances[node.wallet].tee_pubkey = crypto.hex(crypto.made_up("other").der)
		end)
		expect_reason("local teePubkey mismatch with registry")
		restore()
		becomes_ready()
		node:edit_chain(function(chain) chain.master_secret_hash = "0x" .. ("11"):rep(32) end)
		expect_reason("master secret sync failed")
		restore()
		becomes_ready()
	end)

	it("wants its own key registered byte for byte", function()
		node:edit_chain(function(chain) chain.instances[node.wallet].tee_pubkey = crypto.hex(node.point) end)
		expect_reason("local teePubkey mismatch with registry")
	end)
end)
