local authenticate = require("kms.auth.authenticate")
local authorize = require("kms.auth.authorize")
local fake_chain = require("spec.support.fake_chain")
local files = require("spec.support.files")
local loop = require("kms.base.loop")
local loopback = require("spec.support.loopback")
local native = require("spec.support.native")
local remembered = require("kms.auth.remembered")
local wait = require("spec.support.wait")

local WALLET = "0x" .. ("ab"):rep(20)
local _, p384 = native.identity(native.secret_random(32))
local KEY = p384:public_der()

describe("kms.auth.authorize", function()
	local chain, authorizer

	before_each(function()
		chain = fake_chain.new()
		chain:register("7", WALLET, KEY)
		authorizer = authorize.new({ chain = chain, ttl_ms = 180000 })
	end)

	it("gives the facts of an instance in good standing", function()
		local facts = assert(authorizer:authorize(WALLET, 0))
		assert.same({ "7", "1", "9", WALLET }, { facts.app_id, facts.version_id, facts.instance_id, facts.wallet })
		assert.equal(native.peer_point(KEY), facts.point)
	end)

	local refusals = {
		{ "unknown wallet", function(c) c.instances[WALLET] = nil end, "wallet is not a registered instance",
			"ERR_NOT_REGISTERED" },
		{ "stopped instance", function(c) c.instances[WALLET].status = 1 end, "instance is not active",
			"ERR_INSTANCE_INACTIVE" },
		{ "failed instance", function(c) c.instances[WALLET].status = 2 end, "instance is not active",
			"ERR_INSTANCE_INACTIVE" },
		{ "unverified instance", function(c) c.instances[WALLET].zk_verified = false end, "instance is not verified",
			"ERR_INSTANCE_UNVERIFIED" },
		{ "inactive app", function(c) c.apps["7"].status = 1 end, "app is not active",
			"ERR_APP_INACTIVE" },
		{ "revoked app", function(c) c.apps["7"].status = 2 end, "app is not active",
			"ERR_APP_INACTIVE" },
		{ "missing app", function(c) c.apps["7"] = nil end, "app is not registered",
			"ERR_NOT_REGISTERED" },
		{ "app id 0", function(c) c:register("0", WALLET, KEY) end, "app id is not in the range of app ids",
			"ERR_NOT_REGISTERED" },
		{ "app id beyond 64 bits", function(c) c:register("18446744073709551616", WALLET, KEY) end,
			"app id is not in the range of app ids",
			"ERR_NOT_REGISTERED" },
		{ "revoked version", function(c) c.versions["7/1"].status = 2 end, "version is revoked",
			"ERR_VERSION_REVOKED" },
		{ "version of no known status", function(c) c.versions["7/1"].status = 3 end, "version is revoked",
			"ERR_VERSION_REVOKED" },
		{ "missing version", function(c) c.versions["7/1"] = nil end, "version is not registered",
			"ERR_NOT_REGISTERED" },
		{ "teePubkey that is no key", function(c) c.instances[WALLET].tee_pubkey = ("x"):rep(120) end,
			"registered teePubkey is not a P-384 key",
			"ERR_NOT_REGISTERED" },
	}
	for _, case in ipairs(refusals) do
		it("refuses: " .. case[1], function()
			case[2](chain)
			local facts, message, code, _, app_id = authorizer:authorize(WALLET, 0)
			assert.is_nil(facts)
			assert.equal(case[3], message)
			assert.equal(case[4], code)
			assert.equal(case[4], (select(3, authorizer:authorize(WALLET, 1)))) -- from the cache
			-- Whose instance it is, where one is registered with an id that an application can have.
			local known = not case[1]:find("unknown wallet") and not case[1]:find("app id") and "7" or nil
			assert.same({ known, known }, { app_id, (select(5, authorizer:authorize(WALLET, 1))) })
		end)
	end

	it("accepts a deprecated version", function()
		chain.versions["7/1"].status = 1
		assert.truthy(authorizer:authorize(WALLET, 0))
	end)

	it("asks again only when the answer is as old as the cache time", function()
		authorizer:authorize(WALLET, 0)
		chain.instances[WALLET].status = 1
		assert.truthy(authorizer:authorize(WALLET, 179999))
		assert.is_nil((authorizer:authorize(WALLET, 180000)))
	end)

	it("keeps a refusal for ten seconds at the most", function()
		chain.instances[WALLET].zk_verified = false
		assert.is_nil((authorizer:authorize(WALLET, 0)))
		chain.instances[WALLET].zk_verified = true
		assert.is_nil((authorizer:authorize(WALLET, 9999)))
		assert.truthy(authorizer:authorize(WALLET, 10000))
	end)

	it("refuses without caching when the chain does not answer", function()
		chain.down = true
		local facts, _, code = authorizer:authorize(WALLET, 0)
		assert.is_nil(facts)
		assert.equal("ERR_CHAIN", code)
		chain.down = false
		assert.truthy(authorizer:authorize(WALLET, 0))
	end)

	it("goes on with an unexpired answer while the chain is down, and not with an expired one", function()
		authorizer:authorize(WALLET, 0)
		chain.down = true
		assert.truthy(authorizer:authorize(WALLET, 179999))
		local facts, _, code = authorizer:authorize(WALLET, 180000)
		assert.is_nil(facts)
		assert.equal("ERR_CHAIN", code)
	end)
end)

local function stranger(i) return ("0x%040x"):format(i) end

describe("look-ups of wallets", function()
	local chain, authorizer

	before_each(function()
		chain = fake_chain.new()
		chain:register("7", WALLET, KEY)
		authorizer = authorize.new({ chain = chain, ttl_ms = 180000 })
	end)

	-- Each answer takes a while.
	local function slow(ms)
		local ask = chain.instance_by_wallet
		function chain.instance_by_wallet(...)
			wait.sleep(ms)
			return ask(...)
		end
	end

	it("happen once for all who ask for a wallet at the same time", function()
		loopback.run(function()
			slow(30)
			local outcomes = {}
			for i = 1, 10 do
				local wallet = i % 2 == 0 and WALLET or stranger(1)
				loop.spawn(function() outcomes[i] = table.pack(authorizer:authorize(wallet, 0)) end)
			end
			wait.until_true("the outcomes", function() return #outcomes == 10 end)
			assert.equal(2, chain.calls.instance)
			for i = 1, 10 do
				if i % 2 == 0 then
					assert.equal("7", outcomes[i][1].app_id)
				else
					assert.same({ n = 5, nil, "wallet is not a registered instance", "ERR_NOT_REGISTERED" }, outcomes[i])
				end
			end
			assert.is_false(authorizer.look_ups:is_running(WALLET))
		end)
	end)

	it("give nobody the refusal that another address has earned", function()
		loopback.run(function()
			-- Strangers at one address keep the look-ups that are not kept for others, and the wallet waits behind them.
			local ask, ended = chain.instance_by_wallet, false
			function chain.instance_by_wallet(view, wallet)
				if wallet ~= WALLET then wait.until_true("the end", function() return ended end) end
				return ask(view, wallet)
			end
			authorizer.unknown_queue.wait_ms = 50
			for i = 1, 30 do loop.spawn(authorizer.authorize, authorizer, stranger(i), 0, "10.0.0.1") end
			local first
			loop.spawn(function() first = table.pack(authorizer:authorize(WALLET, 0, "10.0.0.1")) end)
			assert.is_nil(first) -- it waits
			assert.equal("7", assert(authorizer:authorize(WALLET, 0, "192.0.2.1")).app_id)
			wait.until_true("the first one's outcome", function() return first end)
			assert.equal("ERR_BUSY", first[3])
			ended = true
		end)
	end)

	it("are refreshed before the answer expires, without anybody waiting", function()
		authorizer:authorize(WALLET, 0)
		assert.truthy(authorizer:authorize(WALLET, 119999))
		assert.equal(1, chain.calls.instance)
		assert.truthy(authorizer:authorize(WALLET, 120000))
		assert.equal(2, chain.calls.instance)
		assert.truthy(authorizer:authorize(WALLET, 230000)) -- the first answer is gone
		assert.equal(2, chain.calls.instance)
	end)

	it("take a refusal up at once, and keep the old answer where there is none", function()
		authorizer:authorize(WALLET, 0)
		chain.down = true
		assert.truthy(authorizer:authorize(WALLET, 120000))
		assert.truthy(authorizer:authorize(WALLET, 124999))
		assert.equal(2, chain.calls.instance) -- not with every request
		assert.truthy(authorizer:authorize(WALLET, 125000))
		assert.equal(3, chain.calls.instance)
		chain.down = false
		chain.instances[WALLET].status = 1
		assert.truthy(authorizer:authorize(WALLET, 130000)) -- whose refresh brings the refusal
		assert.is_nil((authorizer:authorize(WALLET, 130001)))
	end)

	it("that fail are tried again no later than the answer expires", function()
		authorizer:authorize(WALLET, 0)
		chain.down = true
		assert.truthy(authorizer:authorize(WALLET, 179000))
		assert.truthy(authorizer:authorize(WALLET, 179999))
		assert.equal(2, chain.calls.instance)
		assert.equal("ERR_CHAIN", select(3, authorizer:authorize(WALLET, 180000)))
		assert.equal(3, chain.calls.instance)
	end)

	it("of unknown wallets have their own queue: a burst of 100, then refused with a time to wait", function()
		for i = 1, 100 do assert.equal("ERR_NOT_REGISTERED", select(3, authorizer:authorize(stranger(i), 0))) end
		local facts, message, code, wait_s = authorizer:authorize(stranger(101), 0)
		assert.same({ "too many look-ups, try again later", "ERR_BUSY" }, { message, code })
		assert.is_nil(facts)
		assert.equal(1, wait_s)
		assert.equal(100, chain.calls.instance)
		assert.equal("ERR_NOT_REGISTERED", select(3, authorizer:authorize(stranger(1), 1))) -- remembered
	end)

	it("of unknown wallets queue up to a bound", function()
		loopback.run(function()
			slow(1000000)
			local busy, outcomes = 0, 0
			for i = 1, 130 do
				loop.spawn(function()
					local _, _, code = authorizer:authorize(stranger(i), 0, "10.0.0." .. i)
					outcomes = outcomes + 1
					if code == "ERR_BUSY" then busy = busy + 1 end
				end)
			end
			-- 24 run, 100 wait, the rest is told to come again.
			assert.same({ 6, 6 }, { outcomes, busy })
			assert.equal(24, authorizer.unknown_queue.running)
			assert.equal(100, authorizer.unknown_queue:waiting())
		end)
	end)

	it("of unknown wallets at one address do not keep those of another waiting", function()
		loopback.run(function()
			slow(20)
			chain:register("8", stranger(7000), KEY)
			for i = 1, 400 do loop.spawn(authorizer.authorize, authorizer, stranger(i), 0, "10.0.0.1") end
			assert.equal("8", assert(authorizer:authorize(stranger(7000), 0, "10.0.0.2")).app_id)
			assert.is_true(authorizer.unknown_queue:waiting() > 0)
		end)
	end)

	it("of members wait in no queue", function()
		authorizer = authorize.new({
			chain = chain, ttl_ms = 180000, is_member = function(wallet) return wallet == stranger(7000) end,
		})
		chain:register("8", stranger(7000), KEY)
		for i = 1, 200 do authorizer:authorize(stranger(i), 0) end
		assert.equal("ERR_BUSY", select(3, authorizer:authorize(stranger(7001), 0)))
		assert.truthy(authorizer:authorize(stranger(7000), 0))
	end)

	it("of wallets that were authorised before a restart go on while strangers fill their queue", function()
		local dir = files.temp_dir()
		finally(function() files.remove_dir(dir) end)
		local function start()
			return authorize.new({
				chain = chain, ttl_ms = 180000, remembered = remembered.new({ path = dir .. "/wallets", log = {} }),
			})
		end
		local before = start()
		assert.truthy(before:authorize(WALLET, 0))
		loopback.run(function() before.remembered:save() end)
		local after = start()
		for i = 1, 200 do after:authorize(stranger(i), 0) end
		assert.equal("ERR_BUSY", select(3, after:authorize(stranger(9999), 0)))
		assert.truthy(after:authorize(WALLET, 0))
	end)

	it("of known wallets go on while strangers fill their queue", function()
		chain:register("8", stranger(7000), KEY)
		authorizer:authorize(WALLET, 0)
		for i = 1, 200 do authorizer:authorize(stranger(i), 0) end
		assert.equal("ERR_BUSY", select(3, authorizer:authorize(stranger(7000), 0))) -- never seen before
		assert.truthy(authorizer:authorize(WALLET, 120000)) -- refreshed
		assert.truthy(authorizer:authorize(WALLET, 3600000)) -- long expired, still known
		assert.equal("ERR_BUSY", select(3, authorizer:authorize(stranger(9999), 0)))
	end)

	it("of a wallet that nothing was heard of for a day are those of an unknown one", function()
		local day_ms = 24 * 3600 * 1000
		authorizer:authorize(WALLET, 0)
		for i = 1, 200 do authorizer:authorize(stranger(i), day_ms) end
		assert.equal("ERR_BUSY", select(3, authorizer:authorize(WALLET, day_ms)))
		assert.truthy(authorizer:authorize(WALLET, day_ms - 1))
	end)

	it("of a wallet that was refused do not use the queue of the known any more", function()
		authorizer:authorize(WALLET, 0)
		chain.instances[WALLET].status = 1
		assert.equal("ERR_INSTANCE_INACTIVE", select(3, authorizer:authorize(WALLET, 180000)))
		for i = 1, 200 do authorizer:authorize(stranger(i), 180000) end
		assert.equal("ERR_BUSY", select(3, authorizer:authorize(WALLET, 190001)))
	end)

	it("never push known wallets out of the cache", function()
		authorizer:authorize(WALLET, 0)
		for i = 1, 20000 do authorizer.unknown:put(stranger(i), "no", 10000) end
		assert.equal(10000, authorizer.unknown.size)
		assert.truthy(authorizer:authorize(WALLET, 1))
		assert.equal(1, chain.calls.instance)
	end)

	it("that break down are no answer, and block nothing", function()
		local real = chain.app
		function chain.app() error("malformed") end
		loop.on_error(function() end)
		local facts, _, code = authorizer:authorize(WALLET, 0)
		loop.on_error(function(text) io.stderr:write(text, "\n") end)
		assert.is_nil(facts)
		assert.equal("ERR_CHAIN", code)
		chain.app = real
		assert.truthy(authorizer:authorize(WALLET, 0))
		assert.equal(0, authorizer.unknown_queue.running)
	end)

	it("that are refused for now tell the caller how long", function()
		local authenticator = authenticate.new({
			service = { authenticate = function() return stranger(1), "0x" end },
			config = { IN_ENCLAVE = true, APP_RATE_LIMIT_PER_MINUTE = 0, MAX_NAMESPACES = 1 },
			authorizer = { authorize = function() return nil, "later", "ERR_BUSY", 3 end },
		})
		local caller, message, code, wait_s = authenticator:app({ head = "" }, 0, 0)
		assert.same({ "later", "ERR_BUSY", 3 }, { message, code, wait_s })
		assert.is_nil(caller)
	end)
end)
