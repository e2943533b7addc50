-- A node that lost its master secret gets it back from custodians, who use nothing but Debian's age.

local apps = require("spec.support.app")
local cjson = require("cjson")
local crypto = require("spec.support.crypto")
local custodians = require("spec.support.custodians")
local expect = require("spec.support.expect")
local files = require("spec.support.files")
local http = require("spec.support.http")
local memory = require("spec.support.memory")
local nodes = require("spec.support.node")
local wait = require("spec.support.wait")
local backend = require("spec.support.backend")

local NAMES = { "alice", "bob", "carol", "dave", "erin" }
local RATE = 200 -- requests of an address a minute that the node takes where it has a limit: more than this spec makes
local NONCE = ("5a"):rep(16)
local MASTER = crypto.keccak256("the master secret of waiting_spec")

-- Only TEE=sim keeps its identity over a restart, with which the local chain knows it.
backend.only("files", describe)("a node that lost its master secret", function()
	local dir, people, node, app, files_before, key_before, shares

	local function shares_of(port)
		return cjson.decode(assert(http.get(port, "/recovery/shares?nonce=" .. NONCE)).body)
	end

	-- Where secrets are in the node's memory: how often each in guarded pages; none elsewhere.
	local function scan()
		local secrets = { master = MASTER }
		for x, share in ipairs(shares) do secrets["share " .. x] = share:sub(-32) end
		local hits = memory.scan(node.pid, secrets)
		assert.equal("", memory.leaks(hits))
		return memory.count(hits, "guarded")
	end

	local scanned = memory.node_obstacle() and pending or it

	local function page()
		return cjson.decode(assert(http.get(node.port, "/recovery")).body)
	end

	-- Starts the node of the folder again without the secret, as if no machine had it any more.
	local function lose()
		node:stop()
		assert(os.remove(node.dir .. "/master.sealed"))
		node = nodes.start({ dir = node.dir, port = node.port, nowait = true, env = {
			RECOVERY = dir .. "/custodians.lua", NONCE_RATE_LIMIT_PER_MINUTE = tostring(RATE),
		} })
		wait.until_true("the node to wait for custodians", function()
			local response = http.get(node.port, "/ready")
			return response and response.body:find("waiting for custodians (0 of 3)", 1, true)
		end)
		node.wallet = node:status().node.tee_wallet
	end

	setup(function()
		dir = files.temp_dir()
		people = custodians.make(dir, NAMES)
		files.write(dir .. "/custodians.lua", custodians.file(people, 3))
		node = nodes.start({ dir = files.temp_dir(), env = {
			RECOVERY = dir .. "/custodians.lua", MASTER_SECRET_HEX = crypto.hex(MASTER),
		} })
		app = apps.new(node, "4242", "recovered app")
		node:register({ app })
		key_before = expect.ok(app:derive({ path = "wallet" })).key
		files_before = shares_of(node.port)
		shares = {}
		for x, custodian in ipairs(people) do shares[x] = custodians.open(custodian, files_before.shares[x].file) end
		lose()
	end)

	teardown(function()
		node:stop()
		files.remove_dir(node.dir)
		files.remove_dir(dir)
	end)

	it("shows a fresh recovery key, and no secret", function()
		assert.truthy(custodians.recovery_key(node):find("^age1"))
		assert.equal(cjson.null, page().secret_hash)
		assert.same({ 0, 3 }, { page().waiting.have, page().waiting.need })
		assert.equal(503, http.get(node.port, "/recovery/shares?nonce=" .. NONCE).status)
	end)

	it("takes nothing without a right proof", function()
		local c = custodians.challenge(node, people[1], 1)
		local body = custodians.seal(dir, { custodians.recovery_key(node) }, shares[1])
		local function refused(headers, sent)
			local response = assert(http.request(node.port, {
				method = "POST", target = "/recovery/share", body = sent or body, headers = headers,
			}))
			assert.equal(403, response.status, response.body)
			assert.equal("custodian_unproven", cjson.decode(response.body).reason)
		end
		local mac = crypto.hmac(c, crypto.native.sha256(body))
		refused({})
		refused({ { "X-KMS-Recovery", "1:" .. ("0"):rep(64) } })
		refused({ { "X-KMS-Recovery", "2:" .. mac } })
		refused({ { "X-KMS-Recovery", "0:" .. mac } })
		refused({ { "X-KMS-Recovery", "17:" .. mac } })
		refused({ { "X-KMS-Recovery", "1:" .. mac } }, body .. "\n")
		assert.equal(0, page().waiting.have)
	end)

	for what, case in pairs({
		["a cut share"] = { "bad_share", function(share) return share:sub(1, -2) end },
		["a share of another set"] = { "other_custodians", function(share)
			return share:sub(1, 4) .. ("\0"):rep(16) .. share:sub(21)
		end },
		["a share of another threshold"] = { "other_custodians", function(share)
			return share:sub(1, 20) .. "\2" .. share:sub(22)
		end },
		["a share of another secret"] = { "other_secret", function(share)
			return share:sub(1, 27) .. ("\0"):rep(24) .. share:sub(52)
		end },
		["another custodian's share"] = { "other_custodian", function() return shares[2] end },
	}) do
		it("refuses " .. what .. " by name, and keeps nothing", function()
			local response = custodians.give(node, people[1], 1, case[2](shares[1]))
			assert.equal(400, response.status, response.body)
			assert.equal(case[1], response.result.reason)
			assert.equal(0, page().waiting.have)
		end)
	end

	it("refuses a file to another key, and one that is no age file", function()
		local c = custodians.challenge(node, people[1], 1)
		for _, body in ipairs({ custodians.seal(dir, { people[2].key }, shares[1]), "share" }) do
			assert.equal("bad_age_file", custodians.post(node, 1, c, body).result.reason)
		end
	end)

	it("has no challenge for a custodian or a set that there is not", function()
		assert.equal(400, http.get(node.port, "/recovery/challenge?x=6").status)
		assert.equal(400, http.get(node.port, "/recovery/challenge?x=0").status)
		assert.equal(400, http.get(node.port, "/recovery/challenge").status)
		assert.equal(400, http.get(node.port, "/recovery/challenge?x=1&set=" .. ("0"):rep(64)).status)
	end)

	it("gives challenges to an honest custodian whatever strangers at its proxy's address ask for", function()
		for _ = 1, RATE + 60 do
			assert.equal(200, http.get(node.port, "/recovery/challenge?x=1").status)
		end
	end)

	it("is not restored by two custodians, also when one gives twice", function()
		assert.same({ 1, 3 }, { custodians.give(node, people[1], 1, shares[1]).result.have, 3 })
		local response = custodians.give(node, people[2], 2, shares[2])
		assert.same({ 2, 3, false }, { response.result.have, response.result.need, response.result.complete })
		assert.equal(2, custodians.give(node, people[2], 2, shares[2]).result.have)
		assert.same({ "alice", "bob" }, page().waiting.given)
		wait.until_true("/ready to say how many", function()
			return http.get(node.port, "/ready").body:find("waiting for custodians (2 of 3)", 1, true)
		end)
	end)

	scanned("holds what it was given in guarded memory only, and nothing else", function()
		local found = scan()
		assert.is_true(found["share 1"] > 0 and found["share 2"] > 0)
		assert.is_nil(found["share 3"])
		assert.is_nil(found.master)
	end)

	it("says that a forged third does not fit, names it when there is one to spare, and is whole then", function()
		local forged = shares[3]:sub(1, -33) .. ("\7"):rep(32)
		local response = custodians.give(node, people[3], 3, forged)
		assert.equal(200, response.status, response.body)
		assert.is_false(response.result.complete)
		assert.truthy(response.result.problem:find("do not fit together", 1, true))
		assert.equal(cjson.null, page().secret_hash)
		response = custodians.give(node, people[4], 4, shares[4])
		assert.is_true(response.result.complete, response.body)
		assert.same({ "carol" }, response.result.misfits)
		node:wait_ready()
		assert.equal("recovered", node:status().node.master_secret.state)
		assert.same({ "carol" }, page().misfits)
		assert.truthy(node:log():find('"custodian":"carol"', 1, true))
		app = apps.new(node, "4242", "recovered app")
		wait.until_true("the application", function() return app:derive({ path = "wallet" }).status == 200 end)
		assert.equal(key_before, expect.ok(app:derive({ path = "wallet" })).key)
	end)

	scanned("has wiped the shares once it has the secret, which is in guarded memory only", function()
		local found = scan()
		for x = 1, 5 do assert.is_nil(found["share " .. x]) end
		assert.is_true(found.master > 0)
	end)

	it("takes no share any more once it has the secret", function()
		assert.is_nil((custodians.recovery_key(node)))
		assert.equal(403, http.get(node.port, "/recovery/challenge?x=1").status)
		local response = custodians.post(node, 1, ("c"):rep(32), "body")
		assert.equal(403, response.status)
		assert.equal("not_waiting", response.result.reason)
		assert.equal(cjson.null, page().waiting)
	end)

	it("makes the same shares again", function()
		local again = shares_of(node.port)
		for x, custodian in ipairs(people) do
			assert.equal(crypto.hex(shares[x]:sub(28)), crypto.hex(custodians.open(custodian, again.shares[x].file):sub(28)))
		end
	end)

	it("is restored by the true share of the custodian whose first one was forged", function()
		lose()
		local function give(x, share) return custodians.give(node, people[x], x, share or shares[x]).result end
		assert.is_false(give(1).complete)
		assert.is_false(give(5).complete)
		assert.is_false(give(3, shares[3]:sub(1, -33) .. ("\7"):rep(32)).complete)
		assert.is_true(give(3).complete)
		node:wait_ready()
	end)

	it("never has a share or the secret in its log", function()
		for _, share in ipairs(shares) do assert.is_nil(node:log():find(crypto.hex(share:sub(-32)), 1, true)) end
	end)
end)
