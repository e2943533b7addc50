-- What the operator's policies say of peers: who gets the secret and the changes, when, what is taken
-- from them, and what gets them banned.

local apps = require("spec.support.app")
local chain_server = require("spec.support.chain_server")
local crypto = require("spec.support.crypto")
local evm_node = require("spec.support.evm_node")
local expect = require("spec.support.expect")
local http = require("spec.support.http")
local loopback = require("spec.support.loopback")
local members = require("spec.support.member")
local nodes = require("spec.support.node")
local peers = require("spec.support.peer")
local policies = require("spec.support.policies")
local wait = require("spec.support.wait")

describe("operator policies on /sync", function()
	local folder, node, peer, app

	setup(function()
		folder = policies.new()
		node = nodes.start({ env = { POLICY_DIR = folder.dir } })
		peer, app = peers.new(node, "policy sync peer"), apps.new(node, "700", "policy sync app")
		node:register({ peer, app })
		wait.until_true("the peer to be known", function() return peer:ask_secret().status ~= 403 end)
		peer:join()
		node:edit_chain(function(chain) chain.apps["701"] = { status = 0 } end)
	end)

	teardown(function()
		node:stop()
		folder:remove()
	end)

	before_each(function()
		for _, name in ipairs({ "sync", "blacklist" }) do folder:write(name, nil) end
		if node:status().policy.hash ~= folder.shipped then folder.shipped = folder:reload(node).hash end
	end)

	local function refusals(name)
		for _, rule in ipairs(node:status().policy.rules) do
			if rule.name == name then return rule.refused, rule.failed end
		end
	end

	it("keep the secret from a peer, with a reason or for a while, and when they fail", function()
		folder:take(node, "sync", ([[return { release_secret = function(p, attestation)
			if p.wallet ~= %q or p.app_id ~= "49" or not p.zk_verified then return false, "not the peer" end
			if not attestation then return { status = 503, reason = "show an attestation", retry_after = 9 } end
		end }]]):format(peer.wallet))
		local response = peer:ask_secret()
		expect.refused(response, 503, "service_unavailable")
		assert.same({ "show an attestation", "9" }, { response.message, response.headers["retry-after"] })
		node:wait_log("show an attestation")
		folder:take(node, "sync", "return { release_secret = function() return false, 'never' end }")
		expect.refused(peer:ask_secret(), 403, "forbidden")
		folder:take(node, "sync",
			"return { release_secret = function(p) if p.failures == 0 and p.rtt_ms == nil then error('x') end end }")
		expect.refused(peer:ask_secret(), 403, "forbidden")
		assert.equal(1, select(2, refusals("sync.release_secret")))
		expect.ok(peer:snapshot()) -- that the peer is a member stays
	end)

	it("refuse records one by one, counted as rejected, and take the others", function()
		folder:take(node, "sync", ([[return { accept = function(r)
			if r.from ~= %q then return true end
			if r.app_id == "701" then return false end
			if r.tombstone then return false, "no deletions" end
			if r.key == "large" then return r.size == 28 + 5 and r.ttl_ms == 7 and r.updated_at_ms > 1600000000000 end
			return r.key ~= "no"
		end }]]):format(peer.wallet))
		local inner = peer:delta({
			["700"] = {
				peer:record("700", "yes", "v"), peer:record("700", "no", "v"), { key = 5 },
				peer:record("700", "gone", nil, { tombstone = true }), peer:record("700", "large", "value", { ttl_ms = 7 }),
			},
			["701"] = { peer:record("701", "yes", "v") },
		}).inner
		assert.same({ 6, 2, 4, 0 }, { inner.total, inner.merged, inner.rejected, inner.future })
		assert.same({ "v", nil }, { app:value("yes"), app:value("no") })
		assert.equal(3, (refusals("sync.accept")))
	end)

	it("are asked about many records without keeping others waiting", function()
		folder:take(node, "sync", "return { accept = function(r) for _ = 1, 20000 do end return r.key ~= 'k7' end }")
		local records = {}
		for i = 1, 5000 do records[i] = peer:record("700", "k" .. i, "", { tombstone = true }) end
		local sent = peer:send({
			method = "POST", target = "/sync",
			inner = { type = "delta", sender_wallet = peer.wallet, data = { ["700"] = records } },
		})
		local served = 0
		while sent.conn.size == 0 do
			expect.ok(app:derive({ path = "p" }))
			served = served + 1
		end
		local inner = peer:receive(sent).inner
		assert.same({ 5000, 1 }, { inner.total, inner.rejected })
		assert.is_true(served > 10, served)
	end)

	it("give way to the shipped ones where they fail", function()
		folder:take(node, "sync",
			"return { accept = function(r) if kms.match('fail*', r.key) then error('x') end return false end }")
		local inner = peer:delta({ ["700"] = { peer:record("700", "fail", "v"), peer:record("700", "other", "v") } }).inner
		assert.same({ 1, 1 }, { inner.merged, inner.rejected })
		assert.equal(1, select(2, refusals("sync.accept")))
	end)

	it("ban for what they say, until they exempt", function()
		folder:take(node, "blacklist", [[return { rules = {
			{ name = "rude", event = "identity_mismatch", count = 2, within = 60, ban = 3600, scope = "all" },
			{ event = "bad_hmac", count = 1, within = 60, ban = 3000, scope = "calls" },
		} }]])
		local function state() return node:status().sync.peers[peer.wallet] end
		expect.refused(peer:delta({}, { mac = ("0"):rep(64) }), 403, "unauthorized")
		assert.same({ "banned", "bad_hmac" }, { state().state, state().banned_for })
		assert.is_true(state().banned_s > 2900)
		expect.ok(peer:snapshot())
		for _ = 1, 2 do
			expect.refused(peer:sync({ type = "snapshot_request", sender_wallet = "0x" .. ("1"):rep(40) }), 403, "unauthorized")
		end
		expect.refused(peer:snapshot(), 403, "forbidden")
		assert.equal("identity_mismatch", state().banned_for)
		assert.equal(1, (refusals("blacklist.rules.1/rude")))
		folder:take(node, "blacklist", ("return { exempt = { %q } }"):format(peer.wallet))
		expect.ok(peer:snapshot())
		for _ = 1, 3 do
			local spoiled = peer:record("701", "k", "v")
			assert.equal(1, peer:delta({ ["700"] = { spoiled } }).inner.rejected)
		end
		expect.ok(peer:snapshot())
		folder:take(node, "blacklist", "return { decide = function(e) if e.event == 'replayed_nonce' and e.count == 2 then "
			.. "return 50, 'all' end end }")
		local nonce = peer:nonce()
		for _ = 1, 3 do peer:snapshot({ nonce = nonce }) end
		assert.equal("replayed_nonce", state().banned_for)
		expect.ok(peer:snapshot()) -- anybody can have caused that
	end)

	it("can take /sync away", function()
		local other = policies.new()
		finally(function() other:remove() end)
		other:write("routes", "return { { method = 'GET', path = '/ready', handler = 'ready' }, { method = 'GET', "
			.. "path = '/status', handler = 'status' } }")
		local closed = nodes.start({ env = { POLICY_DIR = other.dir } })
		finally(function() closed:stop() end)
		assert.equal(404, http.request(closed.port, { method = "POST", target = "/sync", body = "{}" }).status)
	end)
end)

describe("operator policies on pushes", function()
	local SECRET = crypto.keccak256("the cluster's secret")
	local chain, folder, node, app, order

	local function add(name)
		local member = members.start(name, SECRET)
		chain:register("49", member.wallet, member.identity.der, member.url)
		member.on_request = function(exchange)
			if exchange.inner.type == "delta" and next(exchange.inner.data) then order[#order + 1] = member end
		end
		return member
	end

	local function start()
		node = evm_node.serve(chain, { DATA_SYNC_INTERVAL_SECONDS = "3600", POLICY_DIR = folder.dir })
		app = apps.new(node, "700", "push app")
		chain:register("700", app.wallet, app.identity.der)
	end

	before_each(function()
		order, folder = {}, policies.new()
		chain = chain_server.start()
		chain.hash = "0x" .. crypto.hex(crypto.keccak256(SECRET))
	end)

	after_each(function()
		if node then node:stop() end
		node = nil
		folder:remove()
		loopback.close()
	end)

	it("set the peers, their order, the interval and the size of pushes", function()
		-- Nobody at first: a push in the middle of the writes would give a part of them to the first one alone.
		folder:write("sync", "return { interval = 1, peers = function() return {} end }")
		local all = { add("one"), add("two"), add("three") }
		start()
		table.sort(all, function(a, b) return a.wallet > b.wallet end)
		for i = 1, 5 do expect.ok(app:put("k" .. i, "v")) end
		folder:take(node, "sync", [[return { interval = 1, parallel = 1, max_records = 2, peers = function(list)
			table.sort(list, function(a, b) return a.wallet > b.wallet end)
			return { list[1], list[2] }
		end }]])
		wait.until_true("the pushes", function() return all[2].records["700/k5"] end)
		assert.is_nil(next(all[3].records))
		local count = 0
		for _, exchange in ipairs(all[1].received) do
			local records = exchange.inner.type == "delta" and exchange.inner.data["700"] or {}
			assert.is_true(#records <= 2)
			count = count + #records
		end
		assert.equal(5, count)
		-- One after the other, the first one first.
		assert.equal(all[1], order[1])
		assert.equal(all[2], order[#order])
		-- With the shipped policy, the peer that was left out gets all changes.
		folder:take(node, "sync", "return { interval = 1 }")
		wait.until_true("the one that was left out", function() return all[3].records["700/k5"] end)
	end)

	it("say when a peer is tried again", function()
		folder:write("sync",
			"return { interval = 1, backoff = function(p, failures) return failures > 2 and 3600 or 0.1 end }")
		local member, other = add("member"), add("other")
		start()
		-- One more tick: another member has a new record.
		local ticks = 0
		local function pass_tick()
			ticks = ticks + 1
			local key = "tick" .. ticks
			expect.ok(app:put(key, "v"))
			wait.until_true("a push to the other member", function() return other.records["700/" .. key] end)
		end
		local function failures()
			for _, peer in ipairs(node:control("GET", "/peers").peers) do
				if peer.wallet == member.wallet then return peer.failures end
			end
		end
		member.away = true
		expect.ok(app:put("k", "v"))
		wait.until_true("three tries", function() return failures() == 3, failures() end)
		local before = member.calls
		for _ = 1, 3 do pass_tick() end
		assert.equal(before, member.calls)
		member.away = false
		folder:take(node, "sync", "return { interval = 1 }")
		for _ = 1, 2 do pass_tick() end
		assert.is_nil(member.records["700/k"]) -- the backoff of the old policy stays
	end)

	it("take from a snapshot only what they accept", function()
		folder:write("sync", "return { accept = function(r) return r.key ~= 'no' end }")
		local member, records = add("member"), {}
		for i, key in ipairs({ "yes", "no" }) do
			records[i] = {
				key = key, value = crypto.hex(crypto.record(SECRET, "700", "v")), version = { [member.wallet] = 1 },
				updated_at_ms = os.time() * 1000, ttl_ms = 0, tombstone = false,
			}
		end
		member.data = { ["700"] = records }
		chain.apps["700"] = { id = "700", status = 0 }
		start()
		assert.same({ "v", nil }, { app:value("yes"), app:value("no") })
	end)
end)
