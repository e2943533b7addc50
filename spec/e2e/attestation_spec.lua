--- GET /attestation of running nodes, verified by the command line as anybody would.

local attest = require("kms.attest")
local backend = require("spec.support.backend")
local crypto = require("spec.support.crypto")
local exit = require("kms.cli.exit")
local expect = require("spec.support.expect")
local files = require("spec.support.files")
local http = require("spec.support.http")
local native = require("spec.support.native")
local nodes = require("spec.support.node")
local odyn = require("spec.support.odyn")

local NONCE = ("5a"):rep(32)

local function get(node, nonce)
	return assert(http.get(node.port, "/attestation?nonce=" .. nonce))
end

-- The facts of a node's document that came with a nonce, verified against a root's file.
local function verified(node, root_file, nonce)
	local response = get(node, nonce)
	assert.equal(200, response.status, response.body)
	assert.equal("application/cbor", response.headers["content-type"])
	assert.equal("no-store", response.headers["cache-control"])
	return assert(native.attest_verify(response.body, {
		roots = { native.sha256(files.read(root_file)) }, now_ms = native.wall_ms(), max_age_ms = 60000,
		max_ahead_ms = 1000, allow_debug = true, nonce = crypto.unhex((nonce:gsub("^0x", ""))),
		public_key = node.der,
		user_data = attest.user_data(node.wallet, "public", node:status().policy.hash),
	}))
end

describe("GET /attestation", function()
	local node

	setup(function() node = nodes.start() end)
	teardown(function() node:stop() end)

	backend.only("signed documents", it)("gives a fresh document over the nonce, the node's key and its wallet", function()
		local facts = verified(node, node.dir .. "/attest-root.der", NONCE)
		assert.equal("simulated", facts.module_id)
		assert.same({ wallet = node.wallet, purpose = "public", policy = node:status().policy.hash },
			attest.read_user_data(facts.user_data))
		assert.not_equal(get(node, NONCE).body, get(node, NONCE).body) -- made anew each time
		verified(node, node.dir .. "/attest-root.der", "00")
		verified(node, node.dir .. "/attest-root.der", "0x" .. ("Ff"):rep(64))
	end)

	backend.only("signed documents", it)("never counts for a request of the master secret", function()
		local list = { roots = { native.sha256(files.read(node.dir .. "/attest-root.der")) }, allow_debug = true, images = {
			{ [0] = ("\0"):rep(48) },
		} }
		local facts, _, _, failure = attest.verify_secret(get(node, NONCE).body, {
			list = list, now_ms = native.wall_ms(), max_age_ms = 60000, max_ahead_ms = 1000, nonce = crypto.unhex(NONCE),
			public_key = node.der, wallet = node.wallet,
		})
		assert.is_nil(facts)
		assert.equal("user_data", failure)
	end)

	it("refuses malformed nonces, and says what is wrong", function()
		for query, why in pairs({
			[""] = "missing", ["?"] = "missing", ["?nonce="] = "missing", ["?other=00"] = "missing", ["?Nonce=00"] = "missing",
			["?nonce=0"] = "not hexadecimal", ["?nonce=xy"] = "not hexadecimal", ["?nonce=0x"] = "not hexadecimal",
			["?nonce=%30%30"] = "not hexadecimal", ["?nonce=00&nonce=01"] = "twice", ["?nonce=00&nonce="] = "twice",
			["?nonce=" .. ("00"):rep(65)] = "too long", ["?nonce=0x" .. ("00"):rep(65)] = "too long",
			["?nonce=" .. ("0"):rep(4000)] = "too long",
		}) do
			local response = expect.refused(assert(http.get(node.port, "/attestation" .. query)), 400, "bad_request")
			assert.truthy(response.body:find(why, 1, true), query .. ": " .. response.body)
		end
		assert.equal(200, http.get(node.port, "/attestation?x=1&nonce=00&y").status)
	end)

	it("has GET and HEAD only", function()
		local response = assert(http.request(node.port, { method = "POST", target = "/attestation?nonce=00", body = "" }))
		expect.refused(response, 405, "method_not_allowed")
		assert.equal("GET, HEAD, OPTIONS", response.headers.allow)
	end)

	backend.only("signed documents", it)("is what `nova-kms attest verify --url` asks, with a nonce of its own", function()
		local url, root = "http://127.0.0.1:" .. node.port, node.dir .. "/attest-root.der"
		local code, out, err = nodes.run({
			"attest", "verify", "--url", url, "--root", root, "--allow-debug", "--max-age", "60", "--max-ahead", "1",
		})
		assert.same({ 0, "" }, { code, err })
		assert.truthy(out:find("^verified: simulated, made %d"))
		code, out, err = nodes.run({ "attest", "verify", "--url", url })
		assert.same({ exit.UNTRUSTED, "" }, { code, out })
		assert.equal("nova-kms: root: the first certificate is not a pinned root\n", err)
		code, out = nodes.run({ "attest", "show", "--url", url, "--root", root })
		assert.equal(0, code)
		assert.truthy(out:find(node.wallet, 1, true))
		code = nodes.run({ "attest", "verify", "--url", "http://127.0.0.1:1" })
		assert.equal(exit.UNREACHABLE, code)
	end)
end)

describe("GET /attestation, by restarts and limits", function()
	backend.only("files", it)("keeps its root over a restart", function()
		local dir = files.temp_dir()
		local node = nodes.start({ dir = dir })
		local root = files.read(dir .. "/attest-root.der")
		node:stop()
		node = nodes.start({ dir = dir })
		assert.equal(root, files.read(dir .. "/attest-root.der"))
		verified(node, dir .. "/attest-root.der", NONCE)
		node:stop()
		files.remove_dir(dir)
	end)

	it("is limited by address as nonces are, and beside them", function()
		local node = nodes.start({ env = { NONCE_RATE_LIMIT_PER_MINUTE = "3" } })
		for _ = 1, 3 do assert.equal(200, get(node, "00").status) end
		local response = expect.refused(get(node, "00"), 429, "rate_limited")
		assert.truthy(tonumber(response.headers["retry-after"]) > 0)
		assert.equal(200, http.get(node.port, "/nonce").status)
		node:stop()
	end)

	it("makes so many at once and a second, whoever asks; the rest is told to come again", function()
		local node = nodes.start()
		local connections, busy, good = {}, 0, 0
		for i = 1, 180 do
			connections[i] = assert(http.connect(node.port))
			connections[i]:write("GET /attestation?nonce=00 HTTP/1.1\r\nHost: x\r\n\r\n")
		end
		for _, connection in ipairs(connections) do
			local response = assert(connection:receive())
			if response.status == 200 then good = good + 1 end
			if response.status == 503 then
				busy = busy + 1
				assert.truthy(tonumber(response.headers["retry-after"]) > 0)
			end
			connection:close()
		end
		assert.equal(180, busy + good)
		-- 20 are there at once, beside what is kept for others; of those that wait, a slow machine makes few in time.
		assert.is_true(good >= 20 and busy > 0, ("%d made, %d refused"):format(good, busy))
		assert.equal(200, http.get(node.port, "/health").status)
		node:stop()
	end)
end)

describe("GET /attestation with TEE=odyn", function()
	local service, node

	setup(function()
		service = odyn.start()
		node = nodes.start({ env = { TEE = "odyn", ODYN_URL = service.url } })
	end)
	teardown(function()
		node:stop()
		service:stop()
	end)

	it("gives the service's document", function()
		verified(node, service.dir .. "/attest-root.der", NONCE)
	end)

	it("says that it cannot while the service does not answer, and no more", function()
		service:kill()
		local response = expect.refused(get(node, NONCE), 503, "service_unavailable")
		assert.is_nil(response.body:find("Odyn", 1, true))
		node:wait_log("POST /v1/attestation")
		service:run()
		verified(node, service.dir .. "/attest-root.der", NONCE)
	end)
end)
