-- A node that joins a cluster: what it takes from peers, and from which it takes nothing.

local apps = require("spec.support.app")
local chain_server = require("spec.support.chain_server")
local crypto = require("spec.support.crypto")
local evm_node = require("spec.support.evm_node")
local expect = require("spec.support.expect")
local loopback = require("spec.support.loopback")
local members = require("spec.support.member")
local wait = require("spec.support.wait")

local SECRET = crypto.keccak256("the cluster's secret")

local function hash_of(secret) return "0x" .. crypto.hex(crypto.keccak256(secret)) end

-- A record as an existing node has it.
local function record(member, app_id, key, value)
	return {
		key = key, value = crypto.hex(crypto.record(SECRET, app_id, value)), version = { [member.wallet] = 1 },
		updated_at_ms = os.time() * 1000, ttl_ms = 0, tombstone = false,
	}
end

describe("a node that joins", function()
	local chain, node

	local function add(name)
		local member = members.start(name, SECRET)
		chain:register("49", member.wallet, member.identity.der, member.url)
		return member
	end

	local function start(env)
		local all = { DATA_SYNC_INTERVAL_SECONDS = "1", PEER_BLACKLIST_DURATION_SECONDS = "3" }
		for name, value in pairs(env or {}) do all[name] = value end
		node = evm_node.start(chain, all)
		evm_node.register(chain, node)
		return node
	end

	local function wait_reason(text)
		evm_node.wait_reason(node, text)
	end

	-- Waits for ticks of the node: each one asks the chain for the members.
	local function pass_ticks(count)
		local name = "eth_call:getActiveInstances"
		local before = chain.calls[name] or 0
		wait.until_true("ticks", function() return (chain.calls[name] or 0) >= before + count end)
	end

	local function register_app()
		local app = apps.new(node, "700", "join app")
		chain:register("700", app.wallet, app.identity.der)
		return app
	end

	before_each(function()
		chain = chain_server.start()
		chain.hash = hash_of(SECRET)
		chain.apps["700"] = { id = "700", status = 0 }
	end)

	after_each(function()
		if node then node:stop() end
		node = nil
		loopback.close()
	end)

	it("takes the secret and the records, and pushes what is written", function()
		local member = add("member")
		member.data = { ["700"] = { record(member, "700", "a", "from the snapshot") } }
		start():wait_ready()
		local app = register_app()
		assert.equal("from the snapshot", app:value("a"))
		assert.equal(crypto.base64(crypto.derive(SECRET, "700", "p")), app:derive({ path = "p" }).inner.key)
		assert.same({ state = "synced", synced_from = member.url }, node:status().node.master_secret)
		app:put("b", "pushed")
		wait.until_true("the push", function() return member.records["700/b"] end)
		assert.is_nil(member.records["700/a"])
		assert.same({}, member.failures)
		local secret_request, snapshot = member.received[1], member.received[2]
		assert.same({ "master_secret_request", "snapshot_request" }, { secret_request.inner.type, snapshot.inner.type })
		assert.is_nil(secret_request.mac)
		assert.truthy(snapshot.mac)
		for _, exchange in ipairs(member.received) do assert.equal(exchange.signature, exchange.inner.pop) end
	end)

	it("finds in the snapshot of an existing node what that node's push did not bring", function()
		local member = add("member")
		start({ SNAPSHOT_COMPARE_SECONDS = "1" }):wait_ready()
		local app = register_app()
		member.data = { ["700"] = { record(member, "700", "a", "pushed in vain") } }
		wait.until_true("the record", function() return app:value("a") == "pushed in vain" end)
		assert.same({}, member.failures)
	end)

	local function seal_to_somebody(secret)
		return { status = "ok", sealed = crypto.seal_secret(secret, crypto.hex(crypto.made_up("somebody else").der)) }
	end

	for what, give in pairs({
		["a wrong secret"] = function(inner)
			return { status = "ok", sealed = crypto.seal_secret(crypto.keccak256("wrong"), inner.ecdh_pubkey) }
		end,
		["the secret in plaintext"] = function()
			return { status = "ok", secret = crypto.hex(SECRET), sealed = crypto.hex(SECRET) }
		end,
		["the secret sealed to somebody else"] = function() return seal_to_somebody(SECRET) end,
		["nothing"] = function() return { status = "ok" } end,
		["an error inside"] = function() return { status = "error" } end,
	}) do
		it("believes no peer that hands out " .. what .. ", and asks the next one", function()
			local liar, member = add("liar"), add("member")
			liar.on_request = function(exchange)
				return exchange.inner.type == "master_secret_request" and give(exchange.inner) or nil
			end
			member.away = true
			start()
			wait_reason("master secret sync failed")
			wait.until_true("the lie", function() return liar:count("master_secret_request") > 0 end)
			assert.is_false(node:status().node.master_secret_initialized)
			member.away = false
			node:wait_ready()
			assert.equal(member.url, node:status().node.master_secret.synced_from)
		end)
	end

	for what, spoil in pairs({
		["signed by nobody"] = function(exchange) exchange.signer = crypto.made_up("nobody").wallet_key end,
		["from another key"] = function(exchange) exchange.der = crypto.made_up("nobody").der end,
		["under another key"] = function(exchange) exchange.key = crypto.keccak256("nobody") end,
		["of another exchange"] = function(exchange)
			local inner = { status = "ok", pop = "0x" .. ("1"):rep(130) }
			inner.sealed = crypto.seal_secret(SECRET, exchange.inner.ecdh_pubkey or crypto.hex(exchange.der))
			return inner
		end,
		["in plaintext"] = function() return loopback.reply('{"status":"ok"}') end,
	}) do
		it("discards an answer " .. what .. ", and after three does not call that peer for a while", function()
			local liar = add("liar")
			liar.on_request = function(exchange)
				return spoil(exchange)
			end
			start({ PEER_BLACKLIST_DURATION_SECONDS = "600" })
			wait_reason("master secret sync failed")
			local function state() return node:status().sync.peers[liar.wallet].state end
			wait.until_true("the ban", function() return state() == "banned" end)
			assert.equal(3, #liar.received)
			pass_ticks(3)
			assert.equal(3, #liar.received)
			assert.is_false(node:status().node.service_available)
		end)
	end

	it("says that nobody holds the secret when every member has answered that it is not ready", function()
		for _, name in ipairs({ "one", "other" }) do
			add(name).on_request = function() return loopback.reply("{}", nil, "503 Not Ready") end
		end
		start()
		wait_reason("master secret sync failed: reached 2 members, and none holds the secret")
	end)

	it("gets its records from another peer where the one with the secret has none to give", function()
		local giver, keeper = add("giver"), add("keeper")
		giver.on_request = function(exchange)
			if exchange.inner.type == "snapshot_request" then return loopback.reply("{}", nil, "500 Failed") end
		end
		keeper.on_request = function(exchange)
			if exchange.inner.type == "master_secret_request" then return loopback.reply("{}", nil, "403 No") end
		end
		keeper.data = { ["700"] = { record(keeper, "700", "a", "kept") } }
		start():wait_ready()
		assert.equal("kept", register_app():value("a"))
	end)

	it("merges the snapshots of all that can be reached before it serves", function()
		local one, other = add("one"), add("other")
		one.data = { ["700"] = { record(one, "700", "a", "of one") } }
		other.data = { ["700"] = { record(other, "700", "b", "of the other") } }
		start():wait_ready()
		local app = register_app()
		assert.same({ "of one", "of the other" }, { app:value("a"), app:value("b") })
	end)

	it("serves although a peer hangs", function()
		local member, hanging = add("member"), add("hanging")
		hanging.hangs = true
		start():wait_ready()
		local app = register_app()
		local before = hanging.held
		wait.until_true("a new call that hangs", function() return hanging.held ~= before end)
		app:put("a", "x")
		wait.until_true("the push to the one that replies", function() return member.records["700/a"] end)
		assert.is_false(hanging.held:is_closing()) -- that call still hangs
	end)

	it("does not serve from an empty store while the cluster's records are out of reach", function()
		local member = add("member")
		member.on_request = function(exchange)
			if exchange.inner.type == "snapshot_request" then return loopback.reply("{}", nil, "500 Failed") end
		end
		start()
		wait_reason("snapshot sync failed")
		expect.refused(register_app():list(), 503, "service_unavailable")
		member.on_request = nil
		node:wait_ready()
	end)

	it("sends again what a peer that was away has missed", function()
		local member = add("member")
		start():wait_ready()
		local app = register_app()
		member.away = true
		app:put("a", "1")
		app:put("b", "2")
		app:delete("a")
		local before = member.calls
		wait.until_true("a push that fails", function() return member.calls > before end)
		assert.same({}, member.records)
		member.away = false
		wait.until_true("the missed push", function() return member.records["700/b"] end)
		assert.is_true(member.records["700/a"].tombstone)
	end)

	it("serves on through a hash that is zero for a while, and after the owner's reset", function()
		add("member")
		start():wait_ready()
		local app = register_app()
		app:put("a", "kept")
		chain.hash = chain_server.NO_HASH
		wait.until_true("the hash to be set again", function() return chain.hash == hash_of(SECRET) end)
		wait_reason("ready")
		assert.equal("kept", app:value("a"))
	end)

	it("does not serve under a secret that the chain no longer has", function()
		add("member")
		start():wait_ready()
		chain.hash = hash_of("another")
		wait_reason("master secret sync failed")
		expect.refused(register_app():derive({ path = "p" }), 503, "service_unavailable")
		chain.hash = hash_of(SECRET)
		wait_reason("ready")
	end)
end)
