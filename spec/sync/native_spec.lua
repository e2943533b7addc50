-- The bindings of the sync core (csrc/bind/sync*.c). What it does with records is tried in
-- spec/native/test_sync_*.c; values here are sealed by the test kit, not by what is tested.

local cjson = require("cjson.safe")
local crypto = require("spec.support.crypto")
local loopback = require("spec.support.loopback")
local native = require("spec.support.native")

local NOW = 1700000000000
local A, B = "0x" .. ("aa"):rep(20), "0x" .. ("bb"):rep(20)
local MASTER = ("m"):rep(32)

local function new_store(self)
	return assert(native.store({ self = self }))
end

-- A WIPED body with this text. The text ends as an object does.
local function body(text)
	local before, after = text:match("^(.*){}(.*)$")
	return assert(new_store(A):snapshot({ prefix = before, suffix = after }))
end

local function parse(message)
	message.filler = cjson.decode("{}")
	return native.sync_parse(body((cjson.encode(message):gsub("%[%]", "{}"))))
end

-- A secret with these bytes, on the way that a new node gets it.
local function secret(bytes, requester)
	requester = requester or assert(native.p384_generate())
	local ephemeral = crypto.made_up("ephemeral")
	local shared = require("kms_testkit").ecdh(ephemeral.scalar, requester:public_der():sub(24))
	local key = crypto.hkdf(shared, "nova-kms:sealed-master-secret", "aes-gcm-key", 32)
	local iv = crypto.random(12)
	local message = assert(parse({ status = "ok", sealed = {
		ephemeral_pubkey = crypto.hex(ephemeral.der), nonce = crypto.hex(iv),
		encrypted_data = crypto.hex(require("kms_testkit").gcm_seal(key, iv, bytes)),
	} }))
	return message:unseal(requester)
end

local function value(app, plain)
	local key = crypto.hkdf(MASTER, "nova-kms:app:" .. app, "data_key", 32)
	local iv = crypto.random(12)
	return crypto.hex(iv .. require("kms_testkit").gcm_seal(key, iv, plain))
end

local function record(key, more)
	local made = { key = key, value = value("49", key), version = { [B] = 1 }, updated_at_ms = NOW, ttl_ms = 0,
		tombstone = false }
	for name, part in pairs(more or {}) do made[name] = part end
	return made
end

-- Admits the first applications of a message, as if the chain knew them.
local function admitted(message)
	for index = 1, 5 do message:admit(index) end
	return message
end

local function apply(store, records, origin)
	local message = admitted(assert(parse({ type = "delta", data = { ["49"] = records } })))
	return message:apply(store, assert(secret(MASTER)), origin or 1, NOW)
end

describe("sync core", function()
	it("says what is in a message", function()
		local message = assert(parse({
			type = "delta", sender_wallet = A, pop = "0xpop", status = "ok", store = "ab", ecdh_pubkey = "cd",
			complete = false, features = { "pop", "stub" }, total = 7, future = 0, time = 1800000000123,
			other = { 1, { x = 2 } },
			data = { ["49"] = { record("k"), 5 }, ["050"] = { record("k") } },
		}))
		local texts = {}
		for _, name in ipairs({ "type", "sender_wallet", "pop", "ecdh_pubkey", "status", "store" }) do
			texts[#texts + 1] = message:text(name)
		end
		assert.same({ "delta", A, "0xpop", "cd", "ok", "ab" }, texts)
		assert.is_false(message:flag("complete"))
		assert.is_true(message:flag("data"))
		assert.same({ pop = true, stub = true }, message:features())
		assert.same({ total = 7, future = 0 }, message:counts())
		assert.equal(1800000000123, message:time())
		assert.equal(3, message:records())
	end)

	it("says what is not in it", function()
		local message = assert(parse({ type = "snapshot_request" }))
		assert.is_nil(message:text("pop"))
		assert.is_nil(message:flag("complete"))
		assert.is_nil(message:flag("data"))
		assert.same({}, message:features())
		assert.same({}, message:counts())
		assert.equal(0, message:records())
		assert.has_error(function() message:text("data") end)
		assert.has_error(function() message:flag("type") end)
		local none, _, code = message:unseal(assert(native.p384_generate()))
		assert.same({ nil, "ERR_FIELD_MISSING" }, { none, code })
		message:close()
		assert.has_error(function() message:records() end)
	end)

	it("names the member that is wrong, and takes the body over in any case", function()
		local plain = body('{"type":5,"x":{}}')
		assert.same({ nil, "type: a field has the wrong type", "ERR_FIELD_TYPE" }, { native.sync_parse(plain) })
		assert.has_error(function() plain:len() end)
		assert.equal("ERR_APP_ID_IN_REQUEST", select(3, parse({ app_id = 49 })))
		assert.equal("ERR_JSON", select(3, native.sync_parse(body('{"type":"delta","data":{}} x'))))
		assert.has_error(function() native.sync_parse("{}") end)
	end)

	it("merges records and counts what came of each", function()
		local store = new_store(A)
		local counts = assert(apply(store, {
			record("one"), record("one"), record("old", { value = value("50", "other") }),
			record("late", { updated_at_ms = NOW + 15001 }), { key = "none" },
			record("gone", { value = cjson.null, tombstone = true }),
			record("stub", { value = cjson.null, version = { [A] = 9 } }),
		}))
		assert.same({ total = 7, merged = 2, skipped = 2, rejected = 3, later = 1, future = 1, poisoned = 1, refused = 0,
			skip_reasons = { ignored_equal_version = 1, stub = 1 } }, counts)
		assert.equal(1, store:stats("49").live_keys)
		assert.equal(1, store:stats("49").tombstones)
	end)

	it("merges nothing of an application that has no namespace and is not admitted", function()
		local store = new_store(A)
		local message = assert(parse({ type = "delta", data = { ["49"] = { record("one"), record("two") } } }))
		assert.same({ { "49" }, { 1 } }, { message:new_apps(store, 1, 10) })
		local counts = assert(message:apply(store, assert(secret(MASTER)), 1, NOW))
		assert.same({ 2, 0, 2, 2 }, { counts.total, counts.merged, counts.rejected, counts.later })
		assert.equal(0, store:stats().namespaces)
		message:admit(1)
		assert.equal(2, message:apply(store, assert(secret(MASTER)), 1, NOW).merged)
		assert.same({ {}, {} }, { message:new_apps(store, 1, 10) })
	end)

	it("names the applications without a namespace page by page", function()
		local data, seen, from = {}, {}, 1
		for id = 1, 25 do data[tostring(id)] = { record("k") } end
		local message = assert(parse({ type = "delta", data = data }))
		while from do
			local ids, indexes
			ids, indexes, from = message:new_apps(new_store(A), from, 10)
			assert.is_true(#ids <= 10 and #ids == #indexes)
			for i, id in ipairs(ids) do seen[id] = indexes[i] end
		end
		for id = 1, 25 do assert.is_truthy(seen[tostring(id)]) end
		assert.has_error(function() message:new_apps(new_store(A), 0, 10) end)
		assert.has_error(function() message:new_apps(new_store(A), 1, 5000) end)
	end)

	it("shows each well-formed record, and rejects what is refused", function()
		local store = new_store(A)
		local message = assert(parse({ data = {
			["49"] = { record("one"), { key = "none" }, record("gone", { value = cjson.null, tombstone = true, ttl_ms = 5 }) },
			["50"] = { record("two", { value = value("50", "two") }) },
		} }))
		local seen = {}
		for i = 1, 4 do
			local shown = message:record(i)
			if shown then
				seen[shown.app_id .. "/" .. shown.key] = shown
				if shown.key ~= "two" then message:refuse(i) end
			end
			assert.equal(i <= 3, shown ~= nil)
		end
		local function facts(key, size, tombstone, ttl_ms)
			return { app_id = "49", key = key, size = size, updated_at_ms = NOW, tombstone = tombstone, ttl_ms = ttl_ms }
		end
		assert.same({ facts("one", 31, false, 0), facts("gone", 0, true, 5) }, { seen["49/one"], seen["49/gone"] })
		assert.equal("50", seen["50/two"].app_id)
		message:refuse(4)
		for _, index in ipairs({ 0, -1, 1.5, "x" }) do assert.has_error(function() message:record(index) end) end
		local counts = assert(admitted(message):apply(store, assert(secret(MASTER)), 1, NOW))
		assert.same({ 4, 1, 3, 2 }, { counts.total, counts.merged, counts.rejected, counts.refused })
		assert.equal(0, store:stats("49").tombstones)
		assert.equal(1, store:stats("50").live_keys)
	end)

	it("merges on the pool, and the message cannot be closed meanwhile", function()
		loopback.run(function()
			local store, master = new_store(A), assert(secret(MASTER))
			local message = assert(parse({ data = { ["49"] = { record("one") } } }))
			local counts
			coroutine.wrap(function() counts = admitted(message):apply(store, master, 1, NOW) end)()
			assert.is_nil(counts)
			assert.has_error(function() message:records() end)
			message:close()
			master:close()
			while not counts do require("luv").run("once") end
			assert.equal(1, counts.merged)
			assert.equal(1, message:records())
		end)
	end)

	it("refuses an origin that stands for this node", function()
		local message = assert(parse({ type = "delta" }))
		local master = assert(secret(MASTER))
		assert.has_error(function() message:apply(new_store(A), master, 0, NOW) end)
		assert.has_error(function() message:apply(new_store(A), master, 1 << 32, NOW) end)
	end)

	it("pages changes to peers", function()
		local store = new_store(A)
		assert(apply(store, { record("one"), record("two"), record("long", { value = value("49", ("x"):rep(500)) }) }, 7))
		assert.same({ false, 3, 0, 0 }, { store:delta({ local_only = true }) })
		assert.same({ false, 3, 0, 0 }, { store:delta({ except = 7 }) })
		assert.same({ false, 3, 0, 0 }, { store:delta({ since = 3 }) })
		local page, till, records, skipped = store:delta({ max_records = 1, except = 8 })
		assert.same({ 1, 1, 0 }, { till, records, skipped })
		assert.is_true(page:len() > 100)
		page, till, records, skipped = store:delta({ since = 1, max_record_bytes = 400, prefix = '{"type":"delta","data":',
			suffix = "}" })
		assert.same({ 3, 1, 1 }, { till, records, skipped })
		local message = assert(native.sync_parse(page))
		assert.equal("delta", message:text("type"))
		assert.equal(1, message:records())
		local counts = assert(admitted(message):apply(new_store(B), assert(secret(MASTER)), 2, NOW))
		assert.equal(1, counts.merged)
		assert.has_error(function() store:delta({ max_records = 0 }) end)
		assert.has_error(function() store:delta({ max_records = 100001 }) end)
		assert.has_error(function() store:delta({ sinc = 0 }) end)
	end)

	it("gives all it holds, within a bound", function()
		local store = new_store(A)
		assert(apply(store, { record("one"), record("gone", { value = cjson.null, tombstone = true }) }))
		local whole, records = store:snapshot({ prefix = '{"status":"ok","data":', suffix = "}" })
		assert.equal(2, records)
		local size = whole:len()
		assert.equal(2, admitted(assert(native.sync_parse(whole))):apply(new_store(B), assert(secret(MASTER)), 3, NOW).merged)
		local options = { prefix = '{"status":"ok","data":', suffix = "}", max_bytes = size }
		assert.equal(size, assert(store:snapshot(options)):len())
		options.max_bytes = size - 1
		assert.equal("ERR_TOO_LARGE", select(3, store:snapshot(options)))
	end)

	it("seals the master secret to a requester's key", function()
		local requester, master = assert(native.p384_generate()), assert(secret(MASTER))
		assert.not_equal(requester:public_der(), native.p384_generate():public_der())
		local sealed = assert(native.master_seal(master, "0x" .. crypto.hex(requester:public_der()):upper()))
		assert.same({ 240, 96, 24 }, { #sealed.ephemeral_pubkey, #sealed.encrypted_data, #sealed.nonce })
		local message = assert(parse({ status = "ok", sealed = sealed }))
		assert.is_true(assert(message:unseal(requester)):equals(master))
		assert.equal("ERR_SEALED", select(3, message:unseal(native.p384_generate())))
		sealed.nonce = sealed.nonce .. "00"
		assert.equal("ERR_HEX", select(3, parse({ sealed = sealed }):unseal(requester)))
		assert.equal("ERR_PEER_KEY", select(3, native.master_seal(master, "00")))
		assert.equal("ERR_PEER_KEY", select(3, native.master_seal(master, ("0"):rep(500))))
		assert.equal("ERR_PEER_KEY", select(3, native.master_seal(master, ("00"):rep(97))))
	end)

	it("opens what somebody else sealed", function()
		local requester = assert(native.p384_generate())
		local a, b = assert(secret(MASTER, requester)), assert(secret(("n"):rep(32)))
		assert.is_false(a:equals(b))
		assert.equal("0x" .. crypto.hex(crypto.keccak256(MASTER)), a:keccak256())
	end)
end)
