-- The operator's policies on a running node: what they refuse, what they cannot widen, and how they
-- are reported. Reloads and starts: policy_reload_spec.lua; peers: policy_sync_spec.lua.

local apps = require("spec.support.app")
local cjson = require("cjson")
local expect = require("spec.support.expect")
local files = require("spec.support.files")
local http = require("spec.support.http")
local nodes = require("spec.support.node")
local peers = require("spec.support.peer")
local policies = require("spec.support.policies")
local uv = require("luv")
local wait = require("spec.support.wait")

local ALLOW_EVERYTHING = {
	access = "return { request = function() return true end, derive = function() return true end, "
		.. "data = function() return true end }",
	sync = "return { accept = function() return true end, release_secret = function() return true end }",
	blacklist = "return { rules = {}, decide = function() return 0, 'calls' end }",
	routes = files.read("config/policy/routes.lua"):gsub('"MAX_[A-Z_]+"', "1 << 32")
		:gsub('handler = "nonce"', "%0, rate = 1000000000"),
}

describe("operator policies", function()
	local folder, node, app, other

	setup(function()
		folder = policies.new()
		node = nodes.start({ env = { POLICY_DIR = folder.dir, MAX_REQUEST_BODY_BYTES = 3000000 } })
		app, other = apps.new(node, "700", "policy app"), apps.new(node, "701", "other app")
		node:register({ app, other })
	end)

	teardown(function()
		node:stop()
		folder:remove()
	end)

	before_each(function()
		for _, name in ipairs({ "access", "sync", "blacklist", "routes" }) do folder:write(name, nil) end
		if node:status().policy.hash ~= folder.shipped then folder.shipped = folder:reload(node).hash end
	end)

	local function forbidden(response, message)
		expect.refused(response, 403, "forbidden")
		if message then assert.equal(message, response.message) end
	end

	describe("that allow everything", function()
		before_each(function()
			for name, text in pairs(ALLOW_EVERYTHING) do folder:write(name, text) end
			assert.is_nil(folder:reload(node).last_error)
		end)

		it("admit no application to another namespace", function()
			expect.ok(app:put("secret/1", "mine"))
			expect.refused(other:get("secret/1"), 404, "not_found")
			assert.equal(0, other:list().inner.count)
			expect.refused(other:delete("secret/1"), 404, "not_found")
			assert.not_equal(app:derive({ path = "p" }).inner.key, other:derive({ path = "p" }).inner.key)
			expect.refused(other:derive({ path = "p", app_id = 700 }), 400, "bad_request")
			assert.equal("mine", app:value("secret/1"))
		end)

		it("accept no request without a proof, or with the proof of another", function()
			for _, o in ipairs({ { no_pop = true }, { signature = false }, { timestamp = os.time() - 130 },
				{ recipient = "0x" .. ("1"):rep(40) }, { wallet = other.wallet }, { nonce = "AAAAAAAAAAAAAAAAAAAAAA==" } }) do
				expect.refused(app:derive({ path = "p" }, o), 403, "unauthorized")
			end
			forbidden(app:derive({ path = "p" }, { sender_der = other.identity.der, channel_key = other:channel_key() }))
		end)

		it("admit no application that is not registered", function()
			expect.refused(apps.new(node, "700", "stranger"):derive({ path = "p" }), 403, "unauthorized")
			local stopped = apps.new(node, "703", "stopped")
			node:register({ { identity = stopped.identity, app_id = "703", status = 1 } })
			expect.refused(stopped:derive({ path = "p" }), 403, "unauthorized")
		end)

		it("take no message of a peer without its HMAC, and no record that is not the cluster's", function()
			local peer = peers.new(node, "policy peer")
			node:register({ peer })
			wait.until_true("the peer to be known", function() return peer:ask_secret().status ~= 403 end)
			peer:join()
			local record = peer:record("700", "from/peer", "v")
			expect.refused(peer:delta({ ["700"] = { record } }, { mac = false }), 403, "unauthorized")
			local foreign = peer:delta({ ["701"] = { record } }).inner
			assert.same({ 1, 0 }, { foreign.rejected, foreign.merged })
			assert.is_nil(app:value("from/peer"))
			local stranger = peers.new(node, "policy stranger")
			stranger.master = peer.master
			forbidden(stranger:delta({ ["700"] = { record } }))
			forbidden(stranger:ask_secret())
		end)

		it("lift no limit", function()
			local response = app:put("big", ("v"):rep(1200000))
			expect.refused(response, 413, "payload_too_large")
			local limited = nodes.start({ env = {
				POLICY_DIR = folder.dir, APP_RATE_LIMIT_PER_MINUTE = 3, RATE_LIMIT_PER_MINUTE = 100,
				NONCE_RATE_LIMIT_PER_MINUTE = 5,
			} })
			finally(function() limited:stop() end)
			local eager = apps.new(limited, "700", "eager")
			limited:register({ eager })
			for _ = 1, 3 do expect.ok(eager:derive({ path = "p" })) end
			expect.refused(eager:derive({ path = "p" }), 429, "rate_limited")
			local nonces, all, began_ns = 0, 0, uv.hrtime()
			for _ = 1, 120 do
				nonces = nonces + (http.get(limited.port, "/nonce").status == 200 and 1 or 0)
				all = all + (http.get(limited.port, "/nodes").status == 200 and 1 or 0)
			end
			local minutes = (uv.hrtime() - began_ns) / 60e9
			assert.is_true(nonces <= 5 + 5 * minutes, nonces)
			assert.is_true(all <= 100 + 100 * minutes, all)
		end)
	end)

	describe("access", function()
		it("sees the facts of each request, and refuses with its reason", function()
			folder:take(node, "access", [[return {
				request = function(r) if r.app_id == "701" then return false, "no " .. r.route end end,
				derive = function(r)
					if r.path == "no" then return false end
					return false, table.concat({ r.path, r.context, r.length, r.app_id, r.version_id, r.instance_id, r.wallet,
						r.remote, r.route }, " ")
				end,
				data = function(r)
					if r.route == "put" and r.key == "ok" then return end
					return false, table.concat({ r.route, tostring(r.key), tostring(r.size), tostring(r.ttl_ms) }, " ")
				end }]])
			local whole = " 700 1 77 " .. app.wallet .. " 127.0.0.1 derive"
			forbidden(app:derive({ path = "a/b", context = "c", length = 16 }), "a/b c 16" .. whole)
			forbidden(app:derive({ path = "a" }), "a  32" .. whole)
			forbidden(app:derive({ path = "no" }), "forbidden")
			expect.ok(app:put("ok", "v"))
			forbidden(app:put("k", "four", { more = { ttl_ms = 5 } }), "put k 4 5")
			forbidden(app:put("k", ""), "put k 0 0")
			forbidden(app:get("ok"), "get ok nil nil")
			forbidden(app:call({ method = "GET", target = "/kms/data?key=ok" }), "get ok nil nil")
			forbidden(app:list(), "list nil nil nil")
			forbidden(app:delete("ok"), "delete ok nil nil")
			for call, response in pairs({
				derive = other:derive({ path = "p" }), put = other:put("k", "v"), get = other:get("k"), list = other:list(),
				delete = other:delete("k"),
			}) do
				forbidden(response, "no " .. call)
				assert.truthy(response.headers["x-kms-next-nonce"])
			end
		end)

		it("asks before the body is read what needs none", function()
			folder:take(node, "access", "return { request = function(r) return { status = 503, retry_after = 7 } end }")
			local conn = assert(http.connect(node.port))
			finally(function() conn:close() end)
			local headers = app:pop({})
			headers[#headers + 1] = { "Content-Length", "200000" }
			conn:write(http.format({ method = "PUT", target = "/kms/data", headers = headers }))
			local response = assert(conn:receive({ method = "PUT" }))
			assert.same({ 503, "7" }, { response.status, response.headers["retry-after"] })
		end)

		it("refuses for a time, and for good, by the names of its rules", function()
			local status = folder:take(node, "access", [[return { derive = {
				{ name = "quota", description = "two", decide = function(r)
					if not kms.limit(r.app_id, 1 / 60, 2) then return { status = 429, reason = "quota", retry_after = 1.5 } end
				end },
				{ name = "closed", decide = function(r) if r.path == "x" then return { status = 503, retry_after = 60 } end end },
			} }]])
			expect.ok(app:derive({ path = "p" }))
			local closed = app:derive({ path = "x" })
			expect.refused(closed, 503, "service_unavailable")
			assert.equal("60", closed.headers["retry-after"])
			local limited = app:derive({ path = "p" })
			expect.refused(limited, 429, "rate_limited")
			assert.equal("quota", limited.message)
			assert.equal("2", limited.headers["retry-after"])
			local hits = {}
			for _, rule in ipairs(node:status().policy.rules) do hits[rule.name] = rule.refused end
			assert.same({ 1, 1 }, { hits["access.derive/quota"], hits["access.derive/closed"] })
			node:wait_log('"rule":"access.derive/quota"')
			assert.equal(64, #status.hash)
		end)

		it("keeps names out of the log where a reason repeats them", function()
			folder:take(node, "access", "return { derive = function(r) return false, 'no ' .. r.path end }")
			forbidden(app:derive({ path = "very/private" }), "no very/private")
			folder:take(node, "access", "return { derive = function(r) return false, 'plainly no' end }")
			forbidden(app:derive({ path = "very/private" }), "plainly no")
			node:wait_log("plainly no")
			assert.is_nil(node:log():find("very/private", 1, true))
		end)

		it("that fails refuses, others go on, and the log says where", function()
			folder:take(node, "access", "return {\n\tderive = function(r)\n\t\tif r.path == 'bad' then local x = nil; x() end\n"
				.. "\t\tif r.path == 'slow' then while true do end end\n"
				.. "\t\tif r.path == 'big' then local s = ('x'):rep(1 << 30) end\n\tend }")
			for _, path in ipairs({ "bad", "slow", "big" }) do forbidden(app:derive({ path = path }), "forbidden") end
			expect.ok(other:derive({ path = "p" }))
			node:wait_log("access.lua:3: ")
			assert.equal(3, node:status().policy.failures)
			-- Only the application that made it run long is refused, until it has rested.
			wait.until_true("the hook to have rested", function() return app:derive({ path = "p" }).status == 200 end)
		end)

		it("derives for a path of any length without a hook, and refuses a long one with a hook", function()
			local long = ("p"):rep(70000)
			expect.ok(app:derive({ path = long }))
			folder:take(node, "access", "return { derive = function(r) return true end }")
			forbidden(app:derive({ path = long }))
			expect.ok(other:derive({ path = long:sub(1, 65536) }))
		end)
	end)

	describe("routes", function()
		it("that are disabled or left out are not there, by no method and in no list", function()
			folder:take(node, "routes", [[return {
				{ method = "GET", path = "/", handler = "overview" },
				{ method = "GET", path = "/status", handler = "status" },
				{ method = "GET", path = "/nonce", handler = "nonce" },
				{ method = "GET", path = "/kms/data/<key>", handler = "get", enabled = false },
				{ method = "GET", path = "/kms/data", handler = "list" },
				{ method = "PUT", path = "/kms/data", handler = "put" },
			}]])
			for _, path in ipairs({ "/health", "/ready", "/nodes", "/attestation?nonce=00" }) do
				for _, method in ipairs({ "GET", "HEAD", "POST", "OPTIONS" }) do
					assert.equal(404, http.request(node.port, { method = method, target = path }).status, method .. " " .. path)
				end
			end
			expect.ok(app:put("here", "v"))
			expect.ok(app:list())
			expect.refused(app:get("here"), 404, "not_found")
			expect.refused(app:call({ method = "GET", target = "/kms/data?key=here" }), 404, "not_found")
			expect.refused(app:delete("here"), 404, "not_found")
			local response = http.request(node.port, { method = "POST", target = "/kms/data" })
			assert.same({ 405, "GET, HEAD, OPTIONS, PUT" }, { response.status, response.headers.allow })
			expect.refused(app:derive({ path = "p" }), 404, "not_found")
			assert.same({ "GET /status", "GET /nonce", "GET /kms/data", "PUT /kms/data" },
				cjson.decode(http.get(node.port, "/").body).endpoints)
		end)

		it("that list no records still read one", function()
			expect.ok(app:put("here", "v"))
			folder:take(node, "routes", [[return {
				{ method = "GET", path = "/status", handler = "status" }, { method = "GET", path = "/nonce", handler = "nonce" },
				{ method = "GET", path = "/kms/data/<key>", handler = "get" },
			}]])
			expect.refused(app:list(), 404, "not_found")
			expect.ok(app:get("here"))
			expect.ok(app:call({ method = "GET", target = "/kms/data?key=here" }))
		end)

		it("have rates and sizes of their own", function()
			folder:take(node, "routes", [[return {
				{ method = "GET", path = "/status", handler = "status" },
				{ method = "GET", path = "/nonce", handler = "nonce" },
				{ method = "GET", path = "/nodes", handler = "nodes", rate = 1, burst = 3 },
				{ method = "PUT", path = "/kms/data", handler = "put", max_body = 2000 },
				{ method = "POST", path = "/kms/derive", handler = "derive" },
			}]])
			for _ = 1, 3 do assert.equal(200, http.get(node.port, "/nodes").status) end
			local refusal = http.get(node.port, "/nodes")
			local wait_s = tonumber(refusal.headers["retry-after"])
			assert.is_true(refusal.status == 429 and wait_s > 30 and wait_s <= 60, wait_s)
			-- A reload that does not change a limit keeps its counts.
			folder:take(node, "access", "return { derive = function() return true end }")
			assert.equal(429, http.get(node.port, "/nodes").status)
			expect.ok(app:put("small", ("v"):rep(100)))
			expect.refused(app:put("large", ("v"):rep(2000)), 413, "payload_too_large")
			expect.ok(app:derive({ path = ("p"):rep(2000) }))
		end)

		it("can be extra ones, which see the node's public facts", function()
			folder:take(node, "routes", [[return { extra = {
				{ name = "about", path = "/about", rate = 1, burst = 2, handler = function(f)
					local page = {}
					for name, value in pairs(f) do page[name] = value end
					return page
				end },
				{ name = "odd", path = "/odd", handler = function() return { 1 / 0 } end },
				{ name = "bad", path = "/bad", handler = function(f) if f.nodes ~= 3 then error("x") end return {} end },
				{ name = "off", path = "/off", enabled = false, handler = function() return {} end },
			} }]])
			local response = http.get(node.port, "/about")
			assert.same({ 200, "application/json" }, { response.status, response.headers["content-type"] })
			local facts, status = cjson.decode(response.body), node:status()
			assert.same({ "nova-kms", node.wallet, true, "49", status.node.node_url }, {
				facts.service, facts.wallet, facts.ready, facts.app_id, facts.url,
			})
			assert.same({ status.cluster.total_instances, status.policy.hash }, { facts.nodes, facts.policy })
			assert.equal(200, http.request(node.port, { method = "HEAD", target = "/about" }).status)
			assert.equal(429, http.get(node.port, "/about").status)
			expect.refused(http.get(node.port, "/odd"), 500, "internal_error")
			expect.refused(http.get(node.port, "/bad"), 500, "internal_error")
			expect.refused(http.get(node.port, "/off"), 404, "not_found")
			expect.ok(app:derive({ path = "p" })) -- the protocol's own are still there
			local listed = cjson.decode(http.get(node.port, "/").body).endpoints
			assert.same({ "GET /about", "GET /odd", "GET /bad" }, table.move(listed, #listed - 2, #listed, 1, {}))
		end)
	end)
end)
