local chain_api = require("kms.chain")
local clock = require("kms.base.clock")
local data_file = require("kms.base.data_file")
local native = require("spec.support.native")
local uv = require("luv")

local wallet, p384 = native.identity(native.secret_random(32))
local demo_wallet, demo_p384 = native.identity(native.secret_random(32))
local NODE, DEMO = wallet:address(), demo_wallet:address()

local IDENTITY = { wallet = NODE, tee_pubkey = p384:public_der(), url = "http://127.0.0.1:8000" }

describe("chain backend local", function()
	local dir, chain

	local function open(clocks)
		clocks = clocks or { wall_ms = function() return 1700000000123 end }
		return chain_api.open({
			config = { CHAIN = "local", DATA_DIR = dir, KMS_APP_ID = "49" },
			wall_ms = clocks.wall_ms, machine_ms = clocks.machine_ms,
			demo = { wallet = DEMO, tee_pubkey = demo_p384:public_der(), app_id = "1000" },
		})
	end

	before_each(function()
		dir = assert(uv.fs_mkdtemp((os.getenv("TMPDIR") or "/tmp") .. "/nova-kms-chain-XXXXXX"))
		chain = assert(open())
		assert.is_nil(uv.fs_stat(dir .. "/chain.lua")) -- not before the node is known
		assert.is_nil((chain:active_instances("49")))
		assert.is_true(chain:introduce(IDENTITY))
	end)
	after_each(function() os.execute("rm -rf '" .. dir .. "'") end)

	local function edit(change)
		local data = assert(data_file.read(dir .. "/chain.lua"))
		change(data)
		assert(data_file.write(dir .. "/chain.lua", "", data))
	end

	it("starts with the node and the demo application in it", function()
		local instance = assert(chain:instance_by_wallet(NODE))
		assert.same({ "49", "1", NODE, "http://127.0.0.1:8000", true, 0, 1700000000 }, {
			instance.app_id, instance.version_id, instance.wallet, instance.url, instance.zk_verified, instance.status,
			instance.registered_at,
		})
		assert.equal(p384:public_der(), instance.tee_pubkey)
		assert.equal("1000", chain:instance_by_wallet(DEMO).app_id)
		assert.same({ NODE }, chain:active_instances("49"))
		assert.equal(0, chain:app("1000").status)
		assert.equal(0, chain:version("1000", "1").status)
		assert.same({ number = 1700000000, time_ms = 1700000000123 }, chain:head())
	end)

	it("answers what it does not know with ERR_NOT_FOUND", function()
		for _, ask in ipairs({
			function() return chain:instance_by_wallet("0x" .. ("00"):rep(20)) end,
			function() return chain:app("5") end,
			function() return chain:version("1000", "2") end,
		}) do
			local answer, _, code = ask()
			assert.is_nil(answer)
			assert.equal("ERR_NOT_FOUND", code)
		end
		assert.same({}, chain:active_instances("5"))
	end)

	it("lets the hash be set once, and keeps it over a restart", function()
		assert.equal(chain_api.NO_HASH, chain:master_secret_hash())
		local hash = "0x" .. ("5a"):rep(32)
		assert.is_true(chain:set_master_secret_hash(hash))
		assert.equal(hash, chain:master_secret_hash())
		local ok, _, code = chain:set_master_secret_hash("0x" .. ("5b"):rep(32))
		assert.is_nil(ok)
		assert.equal("ERR_CHAIN", code)
		assert.equal(hash, assert(open()):master_secret_hash())
	end)

	it("shows no change that could not be saved", function()
		local write = data_file.write
		finally(function() data_file.write = write end)
		data_file.write = function() return nil, "spec: the disk is full" end
		local moved = setmetatable({ url = "http://127.0.0.1:8010" }, { __index = IDENTITY })
		for _, change in ipairs({
			function() return chain:set_master_secret_hash("0x" .. ("5a"):rep(32)) end,
			function() return chain:introduce(moved) end,
		}) do
			assert.same({ nil, "spec: the disk is full", "ERR_CHAIN" }, { change() })
		end
		assert.equal(chain_api.NO_HASH, chain:master_secret_hash())
		assert.equal(IDENTITY.url, chain:instance_by_wallet(NODE).url)
	end)

	it("keeps a file that is there when the node is introduced again", function()
		edit(function(data) data.instances[DEMO].status = 1 end)
		local again = assert(open())
		assert.is_true(again:introduce({ wallet = DEMO, tee_pubkey = "", url = "" }))
		assert.equal(1, again:instance_by_wallet(DEMO).status)
		assert.equal("49", again:instance_by_wallet(NODE).app_id)
	end)

	it("has this node at another URL once its settings say so, and changes nothing that was edited", function()
		edit(function(data) data.instances[DEMO].url = "http://127.0.0.1:1" end)
		local again, moved = assert(open()), {}
		for name, value in pairs(IDENTITY) do moved[name] = value end
		moved.url = "http://127.0.0.1:8010"
		assert.is_true(again:introduce(moved))
		for _, reader in ipairs({ again, assert(open()) }) do
			local own = reader:instance_by_wallet(NODE)
			assert.same({ "http://127.0.0.1:8010", "1", 1700000000 }, { own.url, own.id, own.registered_at })
			assert.equal("http://127.0.0.1:1", reader:instance_by_wallet(DEMO).url)
		end
		edit(function(data) data.instances[NODE].url = "https://kms.example" end)
		assert.is_true(assert(open()):introduce(IDENTITY))
		assert.equal("https://kms.example", assert(open()):instance_by_wallet(NODE).url)
	end)

	it("takes an edited file up", function()
		edit(function(data) data.instances[DEMO].status = 1 end)
		assert.equal(1, chain:instance_by_wallet(DEMO).status)
		edit(function(data) data.instances[DEMO] = nil end)
		assert.is_nil((chain:instance_by_wallet(DEMO)))
	end)

	it("gives no answer, rather than a wrong one, from a broken file", function()
		for _, text in ipairs({ "return {", "return {}", "return { apps = {}, versions = {} }", "return 1" }) do
			local file = assert(io.open(dir .. "/chain.lua", "wb"))
			file:write(text)
			file:close()
			local answer, _, code = chain:instance_by_wallet(DEMO)
			assert.is_nil(answer)
			assert.equal("ERR_CHAIN", code)
			local opened, message = open()
			assert.is_nil(opened)
			assert.is_string(message)
		end
	end)

	for name, spoil in pairs({
		["key that is no hex"] = function(row) row.tee_pubkey = "xyz" end,
		["key that is missing"] = function(row) row.tee_pubkey = nil end,
		["wallet of somebody else"] = function(row) row.wallet = NODE end,
		["wallet that is none"] = function(row) row.wallet = 5 end,
	}) do
		it("gives no answer from an instance with a " .. name, function()
			edit(function(data) spoil(data.instances[DEMO]) end)
			local answer, _, code = chain:instance_by_wallet(DEMO)
			assert.is_nil(answer)
			assert.equal("ERR_CHAIN", code)
		end)
	end

	it("is one state, read as it is", function()
		assert.is_true(chain:begin_tick())
		assert.equal(chain, chain:snapshot())
		assert.is_true(chain:prefetch(DEMO))
		assert.equal(DEMO, chain:instance_by_wallet(DEMO, { fresh = true }).wallet)
		chain:close()
	end)

	it("has a head that confirms a jump of the machine's clock: a laptop that slept serves again", function()
		local wall, mono = 1700000000000, 0
		local node_clock = clock.new({
			wall_ms = function() return wall end, mono_ms = function() return mono end, max_skew_ms = 15000,
		})
		local slept = assert(open({
			wall_ms = function() return node_clock:now() end, machine_ms = function() return wall end,
		}))
		for _, jump in ipairs({ 7200000, -3600000 }) do
			wall, mono = wall + jump, mono + 1000
			assert.is_true(math.abs(node_clock:now() - wall) > 15000)
			assert.is_true(node_clock:check(slept:head().time_ms))
			assert.equal(wall, node_clock:now())
		end
	end)
end)
