-- A node with RECOVERY: its custodians' shares, their rehearsals, and where the set is shown.

local cjson = require("cjson")
local crypto = require("spec.support.crypto")
local custodians = require("spec.support.custodians")
local files = require("spec.support.files")
local http = require("spec.support.http")
local native = require("spec.support.native")
local nodes = require("spec.support.node")
local ports = require("spec.support.ports")
local prometheus = require("spec.support.prometheus")
local wait = require("spec.support.wait")

local MASTER = ("\42"):rep(32)
local NONCE = ("5a"):rep(16)

describe("a node with custodians", function()
	local dir, people, node, metrics_port, master

	setup(function()
		dir = files.temp_dir()
		people = custodians.make(dir, { "alice", "bob", "carol" })
		files.write(dir .. "/custodians.lua", custodians.file(people, 2,
			{ { custodians = { people[1], people[2] }, threshold = 2 } }))
		metrics_port = ports.take(1)
		node = nodes.start({ env = {
			RECOVERY = dir .. "/custodians.lua", MASTER_SECRET_HEX = crypto.hex(MASTER),
			METRICS_ADDR = "127.0.0.1:" .. metrics_port,
		} })
		master = "0x" .. crypto.hex(crypto.keccak256(MASTER))
	end)

	teardown(function()
		node:stop()
		files.remove_dir(dir)
	end)

	local function get(path)
		local response = assert(http.get(node.port, path))
		return response, cjson.decode(response.body)
	end

	local function shares()
		local response, page = get("/recovery/shares?nonce=" .. NONCE)
		assert.equal(200, response.status, response.body)
		return page, response
	end

	local function assert_signed(response, kind, nonce)
		local text = ("NovaKMS:Recovery:%s:%s:%s:%s"):format(kind, nonce, node.wallet,
			native.hex_encode(native.sha256(response.body)))
		assert.equal(node.wallet, response.headers["x-kms-recovery-wallet"])
		assert.equal(node.wallet, crypto.recover(text, response.headers["x-kms-recovery-signature"]))
	end

	-- Proves custodian x's share as `nova-kms recovery check` does, with a change.
	local function check(x, change)
		local page = shares()
		local y = custodians.open(people[x], page.shares[x].file):sub(-32)
		local claim = { set = page.set, x = x, nonce = cjson.decode(http.get(node.port, "/nonce").body).nonce }
		claim.proof = crypto.hmac(y, "nova-kms:recovery-check:" .. claim.nonce .. node.wallet)
		if change then change(claim) end
		local response = assert(http.request(node.port, {
			method = "POST", target = "/recovery/check", body = cjson.encode(claim),
		}))
		return response, cjson.decode(response.body), claim
	end

	it("shows its set in /recovery, /status, metrics and attestation documents", function()
		local _, page = get("/recovery")
		assert.equal(2, page.threshold)
		assert.equal(master, page.secret_hash)
		for x, custodian in ipairs(people) do assert.equal(custodian.name, page.custodians[x].name) end
		assert.equal(people[2].key, page.custodians[2].key)
		assert.equal(1, #page.earlier)
		assert.equal(2, #page.earlier[1].custodians)
		assert.not_equal(page.set, page.earlier[1].set)
		assert.equal(page.set, node:status().node.recovery_set)
		local facts = native.attest_read(http.get(node.port, "/attestation?nonce=00").body)
		assert.equal(page.set, native.attest_statement(facts.user_data).recovery)
		assert.equal(1, prometheus.value(prometheus.scrape(metrics_port), "kms_recovery_set", { set = page.set }))
	end)

	it("gives each custodian a share that its age opens, signed by the node's wallet", function()
		local page, response = shares()
		assert_signed(response, "shares", NONCE)
		assert.equal(master, page.secret_hash)
		for x, custodian in ipairs(people) do
			assert.equal(custodian.name, page.shares[x].name)
			local share = custodians.open(custodian, page.shares[x].file)
			assert.equal(83, #share)
			assert.equal(page.set:sub(1, 32), crypto.hex(share:sub(5, 20)))
			assert.equal(x, share:byte(23))
		end
		-- Made once a day, which may end between two requests.
		wait.until_true("the same file twice", function() return shares().shares[1].file == shares().shares[1].file end)
	end)

	it("wants a nonce of the client for what it signs", function()
		for _, query in ipairs({ "", "?nonce=", "?nonce=ab", "?nonce=" .. ("5a"):rep(65), "?nonce=xyz" .. NONCE }) do
			assert.equal(400, (get("/recovery/shares" .. query)).status, query)
		end
	end)

	it("notes when a custodian shows its share", function()
		local before = native.wall_ms()
		local response, result, claim = check(2)
		assert.equal(200, response.status, response.body)
		assert_signed(response, "check", claim.nonce)
		assert.equal("bob", result.name)
		assert.is_true(result.checked_at_ms >= before - 1000 and result.checked_at_ms <= native.wall_ms() + 1000)
		local _, page = get("/recovery")
		assert.equal(result.checked_at_ms, page.custodians[2].checked_at_ms)
		assert.equal(cjson.null, page.custodians[3].checked_at_ms)
		local metrics = prometheus.scrape(metrics_port)
		local age = prometheus.value(metrics, "kms_recovery_checked_age_seconds", { custodian = "bob" })
		assert.is_true(age >= 0 and age < 600)
		assert.equal(math.huge, prometheus.value(metrics, "kms_recovery_checked_age_seconds", { custodian = "carol" }))
	end)

	for what, case in pairs({
		["another custodian's share"] = { 403, "custodian_unproven", function(claim) claim.x = 3 end },
		["a wrong proof"] = { 403, "custodian_unproven", function(claim) claim.proof = ("0"):rep(64) end },
		["a short proof"] = { 400, "bad_hex", function(claim) claim.proof = claim.proof:sub(3) end },
		["another set"] = { 400, "other_custodians", function(claim) claim.set = ("0"):rep(64) end },
		["a number that no custodian has"] = { 400, "other_custodian", function(claim) claim.x = 4 end },
		["a made-up nonce"] = { 403, "nonce_unknown", function(claim) claim.nonce = "AAAAAAAAAAAAAAAAAAAAAA==" end },
		["a field of another type"] = { 400, "field_type", function(claim) claim.x = "1" end },
		["a missing field"] = { 400, "field_type", function(claim) claim.proof = nil end },
	}) do
		it("notes nothing for " .. what, function()
			local _, before = get("/recovery")
			local response, result = check(1, case[3])
			assert.equal(case[1], response.status, response.body)
			assert.equal(case[2], result.reason)
			local _, page = get("/recovery")
			assert.equal(before.custodians[1].checked_at_ms, page.custodians[1].checked_at_ms)
		end)
	end

	it("takes a proof once", function()
		local _, _, claim = check(3)
		local response = assert(http.request(node.port, {
			method = "POST", target = "/recovery/check", body = cjson.encode(claim),
		}))
		assert.equal(403, response.status)
		assert.equal("nonce_used", cjson.decode(response.body).reason)
	end)

	it("writes no share to its log", function()
		local log = node:log()
		for x, custodian in ipairs(people) do
			local share = custodians.open(custodian, shares().shares[x].file)
			assert.is_nil(log:find(crypto.hex(share:sub(-32)), 1, true))
		end
	end)
end)

describe("a node without RECOVERY", function()
	it("has no custodians and no routes for them", function()
		local node = nodes.start()
		for _, path in ipairs({ "/recovery", "/recovery/shares?nonce=" .. NONCE }) do
			assert.equal(404, http.get(node.port, path).status)
		end
		assert.equal(cjson.null, node:status().node.recovery_set)
		local facts = native.attest_read(http.get(node.port, "/attestation?nonce=00").body)
		assert.is_nil(native.attest_statement(facts.user_data).recovery)
		node:stop()
	end)
end)
