--- Bans by the shipped rules; those of other rules are in policy_spec and examples/policy.

local bans = require("kms.peers.bans")
local files = require("spec.support.files")
local native = require("spec.support.native")
local policy = require("kms.policy")

local WALLET, OTHER = "0x" .. ("1"):rep(40), "0x" .. ("2"):rep(40)

describe("bans", function()
	local list

	local function open(dir)
		return assert(policy.open({
			native = native, dir = dir, shipped = "config/policy", wall_ms = native.wall_ms, mono_ms = native.mono_ms,
		}))
	end

	before_each(function() list = bans.new({ policy = open(), ban_ms = 600000, wall_ms = native.wall_ms }) end)

	-- Three responses in a row that cannot be trusted. Returns the ban.
	local function forge(wallet, event, at_ms)
		list:record(wallet, event, at_ms)
		list:record(wallet, event, at_ms)
		return list:record(wallet, event, at_ms)
	end

	it("stops calls to a peer that forged responses, and still hears its requests", function()
		local ban = forge(WALLET, "bad_response_signature", 1000)
		assert.same({
			scope = "calls", since_ms = 1000, until_ms = 601000, event = "bad_response_signature",
			rule = "bad_response_signature",
		}, ban)
		assert.truthy(list:calls(WALLET, 600999))
		assert.falsy(list:calls(WALLET, 601000))
		assert.falsy(list:all(WALLET, 1000))
		assert.falsy(list:calls(OTHER, 1000))
	end)

	it("needs three responses in a row within a minute that anybody on the way can have made", function()
		for _, event in ipairs({ "bad_response_signature", "bad_envelope", "private_address" }) do
			assert.is_nil(list:record(WALLET, event, 0))
			assert.is_nil(list:record(WALLET, event, 1000))
			list:end_row(WALLET)
			assert.is_nil(list:record(WALLET, event, 2000))
			assert.is_nil(list:record(WALLET, event, 3000))
			assert.is_nil(list:record(WALLET, event, 62001)) -- the one of 2000 is too old by then
			assert.equal("calls", list:record(WALLET, event, 62002).scope)
			list:lift(WALLET)
		end
	end)

	it("does not forget what a peer alone can have made when it gives a good response", function()
		list:record(WALLET, "wrong_master_secret", 0)
		list:end_row(WALLET)
		list:end_row(OTHER)
		assert.equal("all", list:record(WALLET, "wrong_master_secret", 1000).scope)
	end)

	it("silences only on evidence that the peer alone can have made", function()
		for _, event in ipairs({ "bad_response_signature", "bad_envelope", "invalid_url", "private_address", "bad_hmac",
			"replayed_nonce", "unreachable" }) do
			for _ = 1, 100 do list:record(WALLET, event, 1000) end
		end
		assert.falsy(list:all(WALLET, 1000))
	end)

	it("counts within the rule's time only", function()
		assert.is_nil(list:record(WALLET, "poisoned_records", 0))
		assert.is_nil(list:record(WALLET, "poisoned_records", 1000))
		assert.is_nil(list:record(WALLET, "poisoned_records", 60001)) -- the first is too old by then
		assert.equal("all", list:record(WALLET, "poisoned_records", 61000).scope)
		assert.truthy(list:all(WALLET, 61000))
		assert.truthy(list:calls(WALLET, 61000))
	end)

	it("bans longer each time where the rule grows", function()
		local at = 0
		for _, minutes in ipairs({ 10, 20, 40 }) do
			list:record(WALLET, "wrong_master_secret", at)
			local ban = list:record(WALLET, "wrong_master_secret", at)
			assert.equal(minutes * 60000, ban.until_ms - at)
			at = ban.until_ms
		end
		for _ = 1, 40 do list:record(WALLET, "wrong_master_secret", at) end
		assert.equal(24 * 3600000, list:all(WALLET, at).until_ms - at)
	end)

	it("forgets the oldest of too many wallets", function()
		forge(WALLET, "bad_response_signature", 0)
		for i = 1, 4096 do forge(("0x%040x"):format(i), "bad_response_signature", i) end
		assert.falsy(list:calls(WALLET, 1))
		assert.truthy(list:calls(("0x%040x"):format(4096), 4096))
		assert.equal(4096, list.size)
	end)

	it("counts its rules' hits, and lists and lifts what they led to", function()
		forge(WALLET, "bad_envelope", 1000)
		forge(OTHER, "bad_envelope", 2000)
		local hits = {}
		for _, rule in ipairs(list.policy:list_rules()) do hits[rule.name] = rule.refused end
		assert.same({ 2, 0 }, { hits.bad_envelope, hits.invalid_url })
		assert.same({ WALLET, OTHER }, { list:list(2000)[1].wallet, list:list(2000)[2].wallet })
		assert.is_true(list:lift(WALLET))
		assert.is_false(list:lift(WALLET))
		assert.same({ OTHER }, { list:list(2000)[1].wallet })
		assert.same({}, list:list(602000))
	end)

	it("does not take one rule's counts for another's after a reload", function()
		local dir = files.temp_dir()
		local function write(event)
			local rule = ("event = %q, count = 2, within = 60, scope = 'calls'"):format(event)
			files.write(dir .. "/blacklist.lua", "return { rules = { { " .. rule .. " } } }")
		end
		write("bad_hmac")
		local opened = open(dir)
		list = bans.new({ policy = opened, ban_ms = 600000, wall_ms = native.wall_ms })
		assert.is_nil(list:record(WALLET, "bad_hmac", 1000))
		write("unreachable")
		assert.is_true(opened:reload("command"))
		assert.is_nil(list:record(WALLET, "unreachable", 1000))
		assert.truthy(list:record(WALLET, "unreachable", 1000))
		files.remove_dir(dir)
	end)
end)
