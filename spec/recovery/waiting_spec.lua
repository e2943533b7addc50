-- A node that waits for custodians, on a clock of the test's own: hours, days, earlier sets, other hashes.

local audits = require("spec.support.audit")
local crypto = require("spec.support.crypto")
local custodians = require("kms.recovery.custodians")
local native = require("spec.support.native")
local waiting = require("kms.recovery.waiting")
local people = require("spec.support.custodians")
local files = require("spec.support.files")

local HOUR_MS = 3600000
local WALLET = "0x" .. ("11"):rep(20)
local quiet = setmetatable({}, { __index = function() return function() end end })

describe("kms.recovery.waiting", function()
	local audit, dir, all, sets, master, hash, node, wall_ms, mono_ms

	setup(function()
		dir = files.temp_dir()
		all = people.make(dir, { "alice", "bob", "carol", "dave", "erin" })
	end)
	teardown(function() files.remove_dir(dir) end)

	local function entries(...)
		local list = {}
		for i, index in ipairs({ ... }) do list[i] = { name = all[index].name, key = all[index].key } end
		return list
	end

	before_each(function()
		sets = assert(custodians.check({
			threshold = 2, custodians = entries(1, 2, 3),
			earlier = { { threshold = 2, custodians = entries(4, 5, 1) } },
		}))
		master = native.secret_random(32)
		hash, wall_ms, mono_ms = master:keccak256(), 500000 * HOUR_MS, 1000
		audit = audits.new()
		node = waiting.new({
			sets = sets, tee = { address = WALLET }, log = quiet, wall_ms = function() return wall_ms end,
			mono_ms = function() return mono_ms end, audit = audit,
		})
	end)

	-- The share of a set's custodian, opened.
	local function share_of(set, x, secret)
		local recipients = {}
		for i, custodian in ipairs(set.custodians) do recipients[i] = custodian.recipient end
		local made = assert(native.recovery_files(secret or master, set.native, recipients, 1))
		for _, custodian in ipairs(all) do
			if custodian.key == set.custodians[x].key then return people.open(custodian, made[x]), custodian end
		end
	end

	local function c_of(set, x)
		local file, message, code = node:challenge(x, set ~= sets[1] and set.id or nil)
		if not file then return nil, message, code end
		local _, custodian = share_of(set, x)
		return people.open(custodian, file):sub(26)
	end

	local function post(x, c, body)
		return node:give(("%d:%s"):format(x, crypto.hmac(c, native.sha256(body))), body)
	end

	local function give(set, x, secret)
		return post(x, c_of(set, x), people.seal(dir, { node:recipient() }, (share_of(set, x, secret))))
	end

	it("takes nothing before it waits, and nothing after", function()
		assert.is_nil(node:recipient())
		assert.equal("ERR_NOT_WAITING", select(3, node:challenge(1)))
		assert.equal("ERR_NOT_WAITING", select(3, node:give("1:" .. ("0"):rep(64), "x")))
		assert.equal("waiting for custodians (0 of 2)", node:wait(hash))
		local key = node:recipient()
		node:stop()
		assert.is_nil(node:recipient())
		node:wait(hash)
		assert.not_equal(key, node:recipient())
	end)

	it("puts the shares of a set together, and gives the secret once, for its hash only", function()
		node:wait(hash)
		assert.equal(1, assert(give(sets[1], 3)).have)
		assert.equal("waiting for custodians (1 of 2)", node:wait(hash))
		assert.is_true(assert(give(sets[1], 1)).complete)
		assert.is_nil(node:recipient())
		local secret = node:take(hash)
		assert.is_true(secret:equals(master))
		assert.is_nil(node:take(hash))
		local events = {}
		for i, event in ipairs(audit.events) do
			events[i] = { event.name, event.fields.set, event.fields.x or event.fields.shares }
		end
		assert.same({ { "share", sets[1].id, 3 }, { "share", sets[1].id, 1 }, { "recovered", sets[1].id, 2 } }, events)
	end)

	it("takes shares of an earlier set, from its custodians, and never mixes sets", function()
		node:wait(hash)
		assert.is_false(assert(give(sets[1], 1)).complete)
		assert.is_false(assert(give(sets[2], 2)).complete)
		assert.is_true(assert(give(sets[2], 1)).complete)
		assert.is_true(node:take(hash):equals(master))
	end)

	it("does not take an earlier set's share from a custodian of the set in force with the same number", function()
		node:wait(hash)
		local body = people.seal(dir, { node:recipient() }, (share_of(sets[2], 2)))
		assert.equal("ERR_SHARE_SET", select(3, post(2, c_of(sets[1], 2), body)))
		assert.equal(0, node:status().have)
	end)

	it("takes answers to challenges of this hour and the last one", function()
		node:wait(hash)
		local c, body = c_of(sets[1], 1), people.seal(dir, { node:recipient() }, (share_of(sets[1], 1)))
		wall_ms = wall_ms + HOUR_MS
		assert.truthy(post(1, c, body))
		wall_ms = wall_ms + HOUR_MS
		assert.equal("ERR_CUSTODIAN", select(3, post(1, c, body)))
	end)

	it("wipes shares after a day, and all of them when the chain shows another hash", function()
		node:wait(hash)
		assert(give(sets[1], 1))
		mono_ms = mono_ms + 24 * HOUR_MS
		assert.equal("waiting for custodians (1 of 2)", node:wait(hash))
		mono_ms = mono_ms + 1
		assert.equal("waiting for custodians (0 of 2)", node:wait(hash))
		assert(give(sets[1], 1))
		local key, other = node:recipient(), native.secret_random(32)
		assert.equal("waiting for custodians (0 of 2)", node:wait(other:keccak256()))
		assert.not_equal(key, node:recipient())
		assert.equal("ERR_SHARE_SECRET", select(3, give(sets[1], 1)))
		assert.equal(1, assert(give(sets[1], 1, other)).have)
	end)

	it("keeps shares while the chain does not confirm it, takes none, and wipes them when it has a secret", function()
		node:wait(hash)
		assert(give(sets[1], 1))
		node:after_tick(false)
		assert.truthy(node:recipient())
		node:after_tick(false) -- a tick that did not get so far as to look for the secret
		assert.is_nil(node:recipient())
		assert.equal("ERR_NOT_WAITING", select(3, node:give("1:" .. ("0"):rep(64), "x")))
		assert.equal("waiting for custodians (1 of 2)", node:wait(hash))
		node:after_tick(false)
		node:after_tick(true)
		assert.equal("waiting for custodians (0 of 2)", node:wait(hash))
	end)

	it("keeps no share longer than a day, also while the chain does not confirm it", function()
		node:wait(hash)
		assert(give(sets[1], 1))
		node:after_tick(false)
		mono_ms = mono_ms + 24 * HOUR_MS + 1
		node:after_tick(false)
		mono_ms = 1000
		assert.equal("waiting for custodians (0 of 2)", node:wait(hash))
	end)

	it("wipes a secret that another source gave meanwhile, and one that is not the chain's any more", function()
		local function complete()
			node:wait(hash)
			assert(give(sets[1], 1))
			assert.is_true(assert(give(sets[1], 2)).complete)
		end
		complete()
		node:after_tick(true) -- the tick that call took part of
		node:after_tick(true)
		assert.is_nil(node:take(hash))
		complete()
		assert.is_nil(node:take(native.secret_random(32):keccak256()))
		assert.is_nil(node:take(hash))
		complete()
		local secret = node:take(hash)
		node:keep(secret)
		node:after_tick(false)
		node:after_tick(false)
		assert.is_true(node:take(hash):equals(master))
	end)

	it("does not search again when a request that somebody overheard is repeated", function()
		local errors = 0
		node.log = setmetatable({ error = function() errors = errors + 1 end }, getmetatable(quiet))
		node:wait(hash)
		assert(give(sets[1], 1))
		local forged = (share_of(sets[1], 2)):sub(1, -33) .. ("\7"):rep(32)
		local c, body = c_of(sets[1], 2), people.seal(dir, { node:recipient() }, forged)
		for _ = 1, 3 do
			local reply = assert(post(2, c, body))
			assert.same({ 2, 2, false }, { reply.have, reply.need, reply.complete })
			assert.truthy(reply.problem:find("do not fit", 1, true))
		end
		assert.equal(1, errors)
		assert.is_true(assert(give(sets[1], 2)).complete)
	end)

	it("lets wrong proofs have one small limit, and right ones none", function()
		node:wait(hash)
		local last
		for _ = 1, 61 do last = select(3, node:give("1:" .. ("0"):rep(64), "x")) end
		assert.equal("ERR_RATE", last)
		assert.truthy(give(sets[1], 1))
	end)
end)
