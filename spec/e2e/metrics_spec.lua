-- GET /metrics of a running node: every metric is there, moves when it should, and says nothing that
-- is a secret or names anybody.

local apps = require("spec.support.app")
local backend = require("spec.support.backend")
local crypto = require("spec.support.crypto")
local expect = require("spec.support.expect")
local files = require("spec.support.files")
local http = require("spec.support.http")
local nodes = require("spec.support.node")
local peers = require("spec.support.peer")
local prometheus = require("spec.support.prometheus")
local wait = require("spec.support.wait")

local MASTER = crypto.keccak256("the master secret of the metrics")
local SEED = crypto.keccak256("the seed of the metrics")

local NAMES = {
	"kms_requests_total", "kms_request_duration_seconds", "kms_ready", "kms_verified", "kms_store_complete",
	"kms_unready_reason", "kms_draining", "kms_limit", "kms_member_ok", "kms_sync_member_lag",
	"kms_repair_member_lag_seconds", "kms_store_namespaces", "kms_store_live_keys", "kms_store_live_bytes",
	"kms_store_total_bytes", "kms_store_tombstones", "kms_store_stubs", "kms_store_evictions_total", "kms_peers",
	"kms_bans", "kms_sync_sequence", "kms_sync_peers_behind", "kms_sync_lag_max", "kms_sync_pushes_total",
	"kms_sync_push_failures_total", "kms_sync_pushed_records_total", "kms_sync_push_rejected_records_total",
	"kms_sync_skipped_records_total", "kms_sync_snapshots_fetched_total", "kms_sync_snapshot_failures_total",
	"kms_repair_exchanges_total", "kms_repair_versions_total", "kms_repair_bytes_total", "kms_repair_lag_seconds",
	"kms_sync_messages_total", "kms_sync_received_records_total", "kms_connections", "kms_requests_running",
	"kms_connections_accepted_total", "kms_http_refused_total", "kms_handler_errors_total", "kms_body_bytes",
	"kms_line_bytes",
	"kms_answer_bytes", "kms_nonces_issued_total", "kms_nonces_out", "kms_channels", "kms_sessions",
	"kms_guarded_memory_bytes",
	"kms_chain_calls_total", "kms_chain_failures_total", "kms_chain_head_age_seconds", "kms_chain_view_age_seconds",
	"kms_chain_unconfirmed", "kms_clock_writes_refused", "kms_clock_difference_seconds",
	"kms_registry_lookups_total", "kms_registry_lookups_waited_total", "kms_registry_lookups_refused_total",
	"kms_registry_lookups_waiting", "kms_tee_calls_total", "kms_tee_failures_total", "process_cpu_seconds_total",
	"process_resident_memory_bytes", "process_open_fds", "process_max_fds", "process_start_time_seconds",
	"kms_lua_memory_bytes", "kms_errors_caught_total", "kms_build_info", "kms_loop_lag_seconds",
}

describe("GET /metrics", function()
	local node, port, app, peer

	local function scrape()
		return prometheus.scrape(port)
	end

	local function value(name, labels)
		return prometheus.value((scrape()), name, labels)
	end

	-- How much a series grows over fn; a series that is not there yet counts as 0.
	local function growth(name, labels, fn)
		local before = value(name, labels) or 0
		fn()
		return (value(name, labels) or 0) - before
	end

	setup(function()
		port = nodes.free_port()
		local dir = files.temp_dir()
		files.write(dir .. "/node.seed", crypto.hex(SEED) .. "\n")
		node = nodes.start({ dir = dir, env = {
			METRICS_ADDR = "127.0.0.1:" .. port, MASTER_SECRET_HEX = crypto.hex(MASTER), MAX_APP_STORAGE_BYTES = "20000",
			MAX_KV_VALUE_SIZE_BYTES = "8000", MAX_REQUEST_BODY_BYTES = "800000", MIN_BODY_BYTES_PER_SECOND = "0",
		} })
		app = apps.new(node, "1234567", "metrics app")
		peer = peers.new(node, "metrics peer")
		node:register({ app, peer })
		wait.until_true("the node to know the peer", function() return peer:ask_secret().status ~= 403 end)
		peer:join()
	end)

	teardown(function()
		node:stop()
		files.remove_dir(node.dir)
	end)

	it("has every metric, as a strict reader takes it", function()
		app:derive({ path = "a" })
		local page, known = scrape(), {}
		for _, name in ipairs(NAMES) do
			assert.truthy(page[name], name)
			known[name] = true
		end
		for name in pairs(page) do
			assert.is_true(known[name] or name:find("^kms_policy_") ~= nil or name:find("^kms_count_") ~= nil, name)
		end
	end)

	it("has no metric that docs/operating.md does not explain", function()
		local text, families = files.read("docs/operating.md"), 0
		for name in pairs((scrape())) do
			families = families + 1
			assert.truthy(text:find("%f[%w_]" .. name .. "%f[^%w_]"), name)
		end
		assert.is_true(families >= #NAMES)
	end)

	it("counts requests by route and outcome, and their time", function()
		assert.equal(2, growth("kms_requests_total", { route = "derive", class = "2xx", code = "ok" }, function()
			expect.ok(app:derive({ path = "a" }))
			expect.ok(app:derive({ path = "b" }))
		end))
		assert.equal(1, growth("kms_requests_total", { route = "put", class = "4xx", code = "ERR_KEY_SIZE" }, function()
			app:put("", "v")
		end))
		assert.equal(1, growth("kms_requests_total", { route = "none", code = "ERR_NO_ROUTE" }, function()
			http.get(node.port, "/wallet/secret/path")
		end))
		assert.equal(1, growth("kms_request_duration_seconds_count", { route = "get" }, function() app:get("nothing") end))
		local sum = value("kms_request_duration_seconds_sum", { route = "derive" })
		assert.is_true(sum > 0 and sum < 60)
	end)

	it("moves with nonces, channels, look-ups, connections and refusals", function()
		assert.equal(1, growth("kms_nonces_issued_total", nil, function() http.get(node.port, "/nonce") end))
		assert.is_true(value("kms_nonces_out") > 0)
		assert.equal(backend.has("own keys"), value("kms_channels") >= 1)
		local stranger = apps.new(node, "5", "metrics stranger")
		assert.equal(1, growth("kms_registry_lookups_total", { lane = "unknown" }, function()
			expect.refused(stranger:derive({ path = "a" }), 403, "unauthorized")
		end))
		assert.equal(1, growth("kms_http_refused_total", { status = "400" }, function()
			local conn = assert(http.connect(node.port))
			conn:write("NOT HTTP\r\n\r\n")
			conn:wait_eof()
			conn:close()
		end))
		local conn = assert(http.connect(node.port))
		assert.equal(1, growth("kms_connections_accepted_total", nil, function() http.get(node.port, "/health") end))
		assert.is_true(value("kms_connections") >= 1)
		conn:close()
	end)

	it("counts requests and bodies that are under way", function()
		local conn = assert(http.connect(node.port))
		local headers = app:pop({})
		headers[#headers + 1] = { "Content-Length", "50000" }
		conn:write(http.format({ method = "POST", target = "/kms/derive", headers = headers }) .. ("x"):rep(40000))
		wait.until_true("the request to run", function() return value("kms_requests_running") == 1 end)
		wait.until_true("its body to be counted", function() return value("kms_body_bytes") >= 40000 end)
		conn:close()
		wait.until_true("the request to end", function() return value("kms_requests_running") == 0 end)
		assert.equal(0, value("kms_body_bytes"))
	end)

	it("moves with the store", function()
		local keys = value("kms_store_live_keys")
		expect.ok(app:put("k1", ("v"):rep(100)))
		expect.ok(app:put("k2", "w"))
		expect.ok(app:delete("k2"))
		assert.equal(keys + 1, value("kms_store_live_keys"))
		assert.is_true(value("kms_store_live_bytes") >= 100)
		assert.is_true(value("kms_store_total_bytes") > value("kms_store_live_bytes"))
		assert.equal(1, value("kms_store_namespaces"))
		assert.is_true(value("kms_store_tombstones") >= 1)
		assert.is_true(value("kms_sync_sequence") >= 3)
		assert.is_true(growth("kms_store_evictions_total", nil, function()
			for i = 1, 5 do expect.ok(app:put("big" .. i, ("x"):rep(7000))) end
		end) > 0)
		assert.is_true(value("kms_store_stubs") > 0)
	end)

	it("moves with peers and sync", function()
		assert.equal(1, value("kms_peers", { state = "self" }))
		assert.equal(1, growth("kms_sync_messages_total", { type = "delta" }, function()
			local records = { peer:record("1234567", "from/peer", "one") }
			assert.equal(200, peer:delta({ ["1234567"] = records }).status)
		end))
		assert.is_true(value("kms_sync_received_records_total", { outcome = "merged" }) >= 1)
		assert.equal(1, growth("kms_sync_messages_total", { type = "snapshot_request" }, function() peer:snapshot() end))
		assert.is_true(value("kms_sync_messages_total", { type = "master_secret_request" }) >= 1)
		local states = 0
		for _, sample in ipairs((scrape()).kms_peers.samples) do states = states + sample.value end
		assert.equal(2, states)
		local behind = 0
		for _, sample in ipairs((scrape()).kms_sync_peers_behind.samples) do behind = behind + sample.value end
		assert.equal(1, behind)
	end)

	it("says what the process uses, and how it serves", function()
		local page = scrape()
		local function of(name, labels) return prometheus.value(page, name, labels) end
		assert.equal(1, of("kms_ready"))
		assert.equal(1, of("kms_verified"))
		assert.equal(1, of("kms_store_complete"))
		assert.equal(0, of("kms_draining"))
		for _, sample in ipairs(page.kms_unready_reason.samples) do assert.equal(0, sample.value) end
		assert.equal(1, of("kms_build_info", { tee = backend.name, chain = "local" }))
		assert.is_true(of("process_cpu_seconds_total") > 0)
		assert.is_true(of("process_resident_memory_bytes") > 10 << 20)
		assert.is_true(of("process_open_fds") > 5 and of("process_open_fds") < of("process_max_fds"))
		assert.is_true(math.abs(of("process_start_time_seconds") - os.time()) < 600)
		assert.is_true(of("kms_guarded_memory_bytes", { part = "used" }) > 0)
		assert.is_true(of("kms_guarded_memory_bytes", { part = "used" }) < of("kms_guarded_memory_bytes", { part = "size" }))
		wait.until_true("the loop's lag to be measured", function()
			return prometheus.value((scrape()), "kms_loop_lag_seconds_count") > 0
		end)
		assert.is_true(of("kms_chain_view_age_seconds") < 60)
		assert.equal(0, of("kms_errors_caught_total"))
		assert.equal(0, of("kms_handler_errors_total"))
	end)

	it("says why the node does not serve, once it does not", function()
		local was
		node:edit_chain(function(chain)
			was = chain.instances[node.wallet].status
			chain.instances[node.wallet].status = 1
		end)
		wait.until_true("the reason to show", function()
			return value("kms_unready_reason", { reason = "not_a_member" }) == 1
		end)
		assert.equal(0, value("kms_ready"))
		node:edit_chain(function(chain) chain.instances[node.wallet].status = was end)
		wait.until_true("the node to serve again", function() return value("kms_ready") == 1 end)
	end)

	it("holds nothing that is secret, and nobody's name", function()
		expect.ok(app:put("confidential/key", "confidential value"))
		app:derive({ path = "confidential/path", context = "confidential context" })
		local own = crypto.seed_identity(SEED)
		local _, text = scrape()
		for what, secret in pairs({
			master = MASTER, seed = SEED, wallet_key = own.wallet_key, scalar = own.scalar,
			data_key = crypto.derive(MASTER, "1234567", "data_key"), sync_key = crypto.derive(MASTER, "0", "sync_hmac_key"),
		}) do
			for _, form in ipairs({ secret, crypto.hex(secret), crypto.hex(secret):upper(), crypto.base64(secret) }) do
				assert.is_nil(text:find(form, 1, true), what)
			end
		end
		local names = { "confidential", app.wallet, peer.wallet, node.wallet, "1234567", "from/peer", node.dir, "127.0.0.1" }
		for _, name in ipairs(names) do assert.is_nil(text:lower():find(name:lower(), 1, true), name) end
		assert.is_nil(text:find("0x", 1, true))
	end)

	it("has few series, however many requests of however many kinds come", function()
		local function size()
			local page, count = (scrape()), 0
			for _, family in pairs(page) do count = count + #family.samples end
			return count
		end
		local before = size()
		for i = 1, 300 do http.get(node.port, "/no/such/route/" .. i) end
		for i = 1, 20 do apps.new(node, tostring(100 + i), "many " .. i):derive({ path = "p" .. i }) end
		assert.is_true(size() - before < 20)
	end)

	describe("port", function()
		it("answers nothing else, and the node's port has no metrics", function()
			for _, path in ipairs({ "/", "/kms/derive", "/status", "/sync", "/nonce", "/metrics/", "//metrics" }) do
				assert.equal(404, http.get(port, path).status, path)
			end
			assert.equal(405, http.request(port, { method = "POST", target = "/metrics" }).status)
			assert.equal(404, http.get(node.port, "/metrics").status)
			assert.is_nil(http.get(node.port, "/").body:find("metrics", 1, true))
			local head = http.request(port, { method = "HEAD", target = "/metrics" })
			assert.equal(200, head.status)
			assert.equal("", head.body)
		end)

		it("keeps serving beside clients that do not behave", function()
			local idle = {}
			for i = 1, 40 do idle[i] = http.connect(port) end
			local garbage = assert(http.connect(port))
			garbage:write(("\0\255"):rep(500) .. "\r\n\r\n")
			garbage:wait_eof()
			garbage:close()
			local long = assert(http.request(port, { target = "/metrics", headers = { { "X-Long", ("x"):rep(6000) } } }))
			assert.is_true(long.status == 431 or long.status == 400, long.status)
			local large = assert(http.connect(port))
			large:write("POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999\r\n\r\n")
			assert.equal(405, large:receive().status)
			large:close()
			assert.equal(200, http.get(port, "/metrics").status)
			assert.equal(200, http.get(node.port, "/ready").status)
			local closed = 0
			for _, conn in pairs(idle) do closed = closed + (conn.eof and 1 or 0) end
			assert.is_true(closed >= 24, closed .. " were closed")
			for _, conn in pairs(idle) do conn:close() end
		end)

		it("closes a connection that sends nothing", function()
			local conn = assert(http.connect(port))
			conn:wait_eof()
			conn:close()
		end)
	end)
end)

describe("GET /metrics with policies", function()
	local node, dir

	teardown(function()
		if node then node:stop() end
		files.remove_dir(dir)
	end)

	it("shows what rules decide and policies count, constants as they are and facts as hashes", function()
		dir = files.temp_dir()
		files.write(dir .. "/access.lua", [[return { derive = function(r)
			kms.count("derived", { app = r.app_id, path = r.path, why = "asked", long = r.length > 100 })
			kms.count("by", { wallet = r.wallet })
			if r.path == "secret/path" then return false, "closed" end
		end }]])
		files.write(dir .. "/routes.lua", [[return { extra = { { path = "/about", name = "about",
			handler = function() return { about = "this node" } end } } }]])
		local port = nodes.free_port()
		node = nodes.start({ env = { METRICS_ADDR = "127.0.0.1:" .. port, POLICY_DIR = dir } })
		local app = apps.new(node, "1234567", "policy metrics app")
		node:register({ app })
		expect.ok(app:derive({ path = "open/path" }))
		expect.refused(app:derive({ path = "secret/path" }), 403, "forbidden")
		assert.equal(200, http.get(node.port, "/about").status)
		local page, text = prometheus.scrape(port)
		local function value(name, labels) return prometheus.value(page, name, labels) end
		assert.equal(1, value("kms_policy_rule_calls_total", { rule = "access.derive", outcome = "passed" }))
		assert.equal(1, value("kms_policy_rule_calls_total", { rule = "access.derive", outcome = "refused" }))
		assert.equal(1, value("kms_requests_total", { route = "derive", class = "4xx", code = "ERR_POLICY" }))
		assert.equal(1, value("kms_requests_total", { route = "extra", class = "2xx", code = "ok" }))
		local samples = page.kms_count_derived_total.samples
		assert.equal(2, #samples)
		for _, sample in ipairs(samples) do
			assert.equal("asked", sample.labels.why)
			assert.equal("false", sample.labels.long)
			assert.truthy(sample.labels.app:find("^%x+$") and #sample.labels.app == 16)
			-- "secret/path" is a constant of the policy: its author has written it down.
			local path = sample.labels.path
			assert.is_true(path == "secret/path" or path:find("^%x+$") ~= nil and #path == 16)
		end
		assert.equal(16, #page.kms_count_by_total.samples[1].labels.wallet)
		for _, name in ipairs({ "open/path", "1234567", app.wallet }) do assert.is_nil(text:find(name, 1, true), name) end
		assert.equal(0, value("kms_policy_reload_failed"))
		files.write(dir .. "/access.lua", "return 7")
		nodes.run({ "reload", "--socket", node.dir .. "/control.sock" }, { env = {} })
		assert.equal(1, prometheus.value((prometheus.scrape(port)), "kms_policy_reload_failed"))
	end)
end)

describe("METRICS_ADDR", function()
	it("that was named and is taken stops the start, as BIND_ADDR does; the default one does not", function()
		local port, running = nodes.free_port(), {}
		local function start(address)
			local node = nodes.start({ env = { METRICS_ADDR = address } })
			running[#running + 1] = node
			return node
		end
		local dir = files.temp_dir()
		finally(function()
			for _, node in ipairs(running) do node:stop() end
			files.remove_dir(dir)
		end)
		start("127.0.0.1:" .. port)
		local code, _, err = nodes.serve(dir, { env = { METRICS_ADDR = "127.0.0.1:" .. port } })
		assert.equal(1, code)
		assert.truthy(err:find("cannot listen on METRICS_ADDR 127.0.0.1:" .. port, 1, true), err)
		code, _, err = nodes.serve(dir, { env = { BIND_ADDR = "127.0.0.1:" .. port } })
		assert.equal(1, code)
		assert.truthy(err:find("cannot listen on BIND_ADDR 127.0.0.1:" .. port, 1, true), err)
		-- All nodes of this machine share the default port. The first one here goes on without, or keeps it from the second.
		local function goes_on()
			return start(false):log():find("going on without, since METRICS_ADDR is not set", 1, true) ~= nil
		end
		assert.is_true(goes_on() or goes_on())
	end)

	it("may be any free port, and warns where other machines reach it", function()
		local node = nodes.start({ env = { METRICS_ADDR = "0.0.0.0:0" } })
		local port = node:log():match('"address":"0%.0%.0%.0:(%d+)"')
		assert.truthy(prometheus.scrape(tonumber(port)).kms_ready)
		assert.truthy(node:log():find("METRICS_ADDR=0.0.0.0:0: other machines can read the metrics", 1, true))
		node:stop()
	end)

	it("is off at 0, and refused where it is none", function()
		local node = nodes.start({ env = { METRICS_ADDR = "0" } })
		assert.is_nil(node:log():find('"event":"metrics"', 1, true))
		node:stop()
		local code, _, err = nodes.run({ "config", "check" }, { env = { METRICS_ADDR = "localhost:9" } })
		assert.equal(4, code)
		assert.truthy(err:find("variable METRICS_ADDR: value 'localhost:9' is not valid", 1, true), err)
	end)
end)
