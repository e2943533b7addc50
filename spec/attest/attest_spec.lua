--- Attestation as nodes use it: user_data, nonces, allow-lists, a peer's document, and how Lua sees
-- documents. What a document may look like is tried in spec/native/test_attest*.c.

local allow_list = require("kms.attest.allow_list")
local attest = require("kms.attest")
local crypto = require("spec.support.crypto")
local files = require("spec.support.files")
local loopback = require("spec.support.loopback")
local native = require("spec.support.native")
local sim_attest = require("kms.tee.sim_attest")
local uv = require("luv")

local WALLET = "0x" .. ("ab"):rep(20)
local NOW = 1800000000500
local ZERO = ("\0"):rep(48)

local function refusal(...)
	local value, message, code, failure = ...
	assert.is_nil(value)
	assert.equal("ERR_ATTEST", code)
	assert.is_true(#message > 10)
	return failure
end

describe("attestation", function()
	local dir, seed, signer, root

	setup(function()
		dir = files.temp_dir()
		seed = assert(native.seed_create(dir .. "/node.seed"))
		signer = assert(sim_attest.open(dir, seed))
		root = native.sha256(signer:certificate())
	end)
	teardown(function() files.remove_dir(dir) end)

	local function options(more)
		local all = { roots = { root }, now_ms = NOW, allow_debug = true }
		for name, value in pairs(more or {}) do all[name] = value end
		return all
	end

	local function document(nonce, user_data, public_key, more)
		local claims = { now_ms = NOW }
		for name, value in pairs(more or {}) do claims[name] = value end
		return assert(signer:attest(nonce, user_data, public_key, claims))
	end

	describe("documents", function()
		it("are verified and give what they say", function()
			local bytes = document("once", "data", "key", { pcrs = { [0] = ("\1"):rep(48), [20] = ("\2"):rep(48) } })
			local facts = assert(native.attest_verify(bytes, options({
				allow_debug = false, nonce = "once", user_data = "data", public_key = "key", max_age_ms = 0,
				images = { { [0] = ZERO }, { [0] = ("\1"):rep(48), [1] = ZERO } },
			})))
			assert.equal("simulated", facts.module_id)
			assert.equal("SHA384", facts.digest)
			assert.equal(NOW, facts.timestamp_ms)
			assert.same({ "once", "data", "key" }, { facts.nonce, facts.user_data, facts.public_key })
			assert.same({ ("\1"):rep(48), ZERO, ("\2"):rep(48), nil }, { facts.pcrs[0], facts.pcrs[15], facts.pcrs[20] })
			assert.is_nil(facts.pcrs[16])
			assert.equal(2, facts.chain_len)
			assert.equal(root, facts.chain[1].sha256)
			assert.equal(signer:certificate(), facts.chain[1].der)
			assert.equal(NOW // 1000 + 10800, facts.chain[2].not_after_s)
			assert.same(facts, native.attest_read(bytes))
		end)

		it("that fail say why by a name", function()
			local bytes = document("once", "data", "key")
			for failure, more in pairs({
				root = { roots = { native.attest_aws_root } }, debug = { allow_debug = false }, nonce = { nonce = "twice" },
				user_data = { user_data = "" }, public_key = { public_key = "kez" }, stale = { now_ms = NOW + 1, max_age_ms = 0 },
				future = { now_ms = NOW - 1 }, pcr = { images = {} }, expired = { now_ms = NOW + 10801000 },
				not_yet_valid = { now_ms = NOW - 4000 },
			}) do assert.equal(failure, refusal(native.attest_verify(bytes, options(more)))) end
			assert.equal("root", refusal(native.attest_verify(bytes, options({ roots = {} }))))
			assert.equal("shape", refusal(native.attest_verify(bytes .. "\0", options())))
			assert.equal("shape", refusal(native.attest_read("")))
			assert.equal("signature", refusal(native.attest_verify(bytes:sub(1, -2) .. string.char(bytes:byte(-1) ~ 1),
				options())))
			assert.is_table(native.attest_verify(bytes, options({ now_ms = NOW - 1, max_ahead_ms = 1 })))
			assert.is_table(native.attest_verify(bytes, options({ now_ms = NOW + 9000000 })))
		end)

		it("have null and nothing for what is not claimed", function()
			local bytes = document()
			local facts = assert(native.attest_verify(bytes, options({ nonce = "", user_data = "", public_key = "" })))
			assert.is_nil(facts.nonce)
			assert.is_nil(facts.user_data)
			assert.is_nil(facts.public_key)
			assert.is_table(native.attest_verify(document("", ""), options({ nonce = "" })))
		end)

		it("are verified off the loop, several at once", function()
			local good, bad = document("a"), document("b")
			loopback.run(function()
				local left, co = 16, coroutine.running()
				for i = 1, 16 do
					coroutine.wrap(function()
						local facts, _, _, failure = native.attest_verify(i % 2 == 0 and good or bad, options({ nonce = "a" }))
						assert.equal(i % 2 == 0, facts ~= nil)
						assert.equal(i % 2 == 1 and "nonce" or nil, failure)
						left = left - 1
						if left == 0 then coroutine.resume(co) end
					end)()
				end
				assert.is_true(left > 0) -- none of them has run on this thread
				coroutine.yield()
			end)
		end)

		it("cannot be asked for wrongly", function()
			local bytes = document()
			for _, bad in ipairs({
				{ nonce = 1 }, { now_ms = -1 }, { now_ms = 1.5 }, { max_age_ms = -1 }, { allow_debug = 1 }, { roots = "x" },
				{ roots = { "short" } }, { roots = { 1 } }, { images = 1 }, { images = { 1 } }, { images = { {} } },
				{ images = { { [0] = "x" } } }, { images = { { [32] = ZERO } } }, { images = { { [-1] = ZERO } } },
				{ images = { { x = ZERO } } }, { images = { { [0] = 5 } } }, { other = 1 },
			}) do assert.has_error(function() native.attest_verify(bytes, options(bad)) end) end
			assert.has_error(function() native.attest_verify(bytes, { now_ms = 1 }) end)
			assert.has_error(function() native.attest_verify(bytes, { roots = {} }) end)
			assert.has_error(function() native.attest_verify(5, options()) end)
			assert.has_error(function() native.attest_read() end)
			local many = {}
			for i = 1, 17 do many[i] = root end
			assert.has_error(function() native.attest_verify(bytes, options({ roots = many })) end)
			many[17] = nil
			assert.is_table(native.attest_verify(bytes, options({ roots = many })))
			many = {}
			for i = 1, 65 do many[i] = { [0] = ZERO } end
			assert.has_error(function() native.attest_verify(bytes, options({ images = many })) end)
			many[65] = nil
			assert.is_table(native.attest_verify(bytes, options({ images = many })))
		end)

		it("cannot be made wrongly", function()
			local made = native.attest_root(seed)
			assert.has_error(function() made:make({ pcrs = {} , now_ms = NOW }) end)
			assert.has_error(function() made:make({ other = 1, now_ms = NOW }) end)
			assert.has_error(function() made:make({ nonce = 1, now_ms = NOW }) end)
			assert.same({ nil, "ERR_FIELD_VALUE" }, { (function()
				local bytes, _, code = made:make({ now_ms = NOW, nonce = ("x"):rep(1025) })
				return bytes, code
			end)() })
		end)
	end)

	describe("a test root", function()
		it("stays, with the certificate beside the seed, and changes with the seed", function()
			assert.equal(signer:certificate(), sim_attest.open(dir, seed):certificate())
			assert.equal(signer:certificate(), files.read(dir .. "/attest-root.der"))
			local other = assert(native.seed_create(dir .. "/other.seed"))
			local logged = {}
			local changed = assert(sim_attest.open(dir, other, { info = function(_, _, what) logged = what end }))
			assert.not_equal(signer:certificate(), changed:certificate())
			assert.equal(crypto.hex(native.sha256(changed:certificate())), logged.sha256)
			files.write(dir .. "/attest-root.der", "nonsense")
			assert.is_table(sim_attest.open(dir, seed))
			files.write(dir .. "/attest-root.der", signer:certificate())
		end)

		it("keeps its certificate when the disk takes only a part of another one", function()
			local other = assert(native.seed_create(dir .. "/full.seed"))
			local fs_write = uv.fs_write
			finally(function() uv.fs_write = fs_write end)
			function uv.fs_write(fd, bytes, at) return fs_write(fd, bytes:sub(1, -2), at) end
			local opened, message = sim_attest.open(dir, other)
			assert.is_nil(opened)
			assert.truthy(message:find("only a part", 1, true), message)
			assert.equal(signer:certificate(), files.read(dir .. "/attest-root.der"))
		end)

		it("cannot be without a place for its certificate", function()
			local opened, message = sim_attest.open(dir .. "/none", seed)
			assert.is_nil(opened)
			assert.truthy(message:find("attest-root.der", 1, true))
		end)
	end)

	describe("user_data", function()
		it("is what nodes read", function()
			local policy = ("0f"):rep(32)
			local text = attest.user_data(WALLET, "secret", policy)
			assert.equal(('{"eth_addr":"%s","kms":{"policy":"%s","purpose":"secret","v":1}}'):format(WALLET, policy), text)
			assert.same({ wallet = WALLET, purpose = "secret", policy = policy }, attest.read_user_data(text))
			assert.same({ wallet = WALLET, purpose = "public" }, attest.read_user_data(attest.user_data(WALLET, "public")))
			assert.same({ nil, "ERR_JSON_DUPLICATE" }, { (function()
				local read, _, code = attest.read_user_data(
					'{"eth_addr":"' .. WALLET .. '","kms":{"v":1,"purpose":"public","purpose":"secret"}}')
				return read, code
			end)() })
		end)
	end)

	it("binds a request for the secret: nonce, recipient, ephemeral key", function()
		-- SHA-256 by another implementation (openssl dgst) of the text in docs/protocol.md section 13.
		local pipe = io.popen("printf 'NovaKMS:SecretRequest:bm9uY2U=:" .. WALLET .. ":04ff' | openssl dgst -sha256 -r")
		local want = pipe:read("a"):sub(1, 64)
		pipe:close()
		assert.equal(want, crypto.hex(attest.secret_nonce("bm9uY2U=", WALLET, "04ff")))
	end)

	it("has base64 that is canonical", function()
		for _, bytes in ipairs({ "", "a", "ab", "abc", ("\0\255"):rep(500) }) do
			assert.equal(crypto.base64(bytes), native.base64_encode(bytes))
			assert.equal(bytes, native.base64_decode(native.base64_encode(bytes)))
		end
		assert.is_nil(native.base64_decode("YQ"))
	end)

	describe("an allow-list", function()
		local digits = ("ab"):rep(48)
		local pcrs = { [0] = digits, [1] = digits, [2] = ("AB"):rep(48) }

		it("is read from a file", function()
			files.write(dir .. "/list.lua", ([[return {
				roots = { "aws-nitro", "%s" }, allow_debug = true,
				images = { { name = "1", pcrs = { [0] = "%s", [1] = "%s", [2] = "%s" } } },
			}]]):format(crypto.hex(root), digits, digits, digits))
			local list = assert(allow_list.load(dir .. "/list.lua"))
			assert.same({ native.attest_aws_root, root }, list.roots)
			assert.same({ { [0] = ("\xab"):rep(48), [1] = ("\xab"):rep(48), [2] = ("\xab"):rep(48) } }, list.images)
			assert.same({ "1" }, list.names)
			assert.is_true(list.allow_debug)
			assert.is_nil(allow_list.load(dir .. "/none.lua"))
			files.write(dir .. "/list.lua", "os.exit()")
			assert.is_nil(allow_list.load(dir .. "/list.lua"))
		end)

		it("trusts AWS and nothing in debug mode, if it says no more", function()
			assert.same({ roots = { native.attest_aws_root }, images = {}, names = {}, allow_debug = false },
				allow_list.check({ images = {} }))
		end)

		it("is refused with a line that says where", function()
			local function image(more)
				local all = { name = "1", pcrs = pcrs }
				for name, value in pairs(more) do all[name] = value end
				return { images = { all } }
			end
			local many = {}
			for i = 1, 65 do many[i] = { name = "x", pcrs = pcrs } end
			for want, list in pairs({
				["images must be"] = {}, ["unknown member 'image', did you mean 'images'?"] = { image = {} },
				["images[1] must be"] = { images = { 1 } }, ["images must be a list"] = { images = { x = 1 } },
				["images must be a list of at most 64"] = { images = many },
				["images[1]: name is missing"] = { images = { { pcrs = pcrs } } },
				["images[1]: unknown member 'pcr'"] = image({ pcr = 1 }),
				["images[1] (1): pcrs is missing"] = { images = { { name = "1" } } },
				["images[1] (1): PCR2 is missing"] = image({ pcrs = { [0] = digits, [1] = digits } }),
				["images[1] (1): PCR0 is missing"] = image({ pcrs = { [1] = digits, [2] = digits } }),
				["PCRs are numbered"] = image({ pcrs = { [0] = digits, [1] = digits, [2] = digits, [32] = digits } }),
				["PCR1 must be 96"] = image({ pcrs = { [0] = digits, [1] = digits .. "00", [2] = digits } }),
				["PCR2 must be 96"] = image({ pcrs = { [0] = digits, [1] = digits, [2] = ("0x" .. digits):sub(1, 96) } }),
				["roots must be a list"] = { images = {}, roots = "x" },
				["roots[2]: allowed are"] = { images = {}, roots = { "aws-nitro", "aws" } },
				["allow_debug must be"] = { images = {}, allow_debug = "yes" },
			}) do
				local read, message = allow_list.check(list)
				assert.is_nil(read, want)
				assert.truthy(message:find(want, 1, true), message)
			end
		end)
	end)

	describe("a peer's document for the secret", function()
		local nonce = ("n"):rep(32)

		local function want(more)
			local all = {
				list = { roots = { root }, images = { { [0] = ZERO, [1] = ZERO, [2] = ZERO } }, allow_debug = true },
				now_ms = NOW, max_age_ms = 1000, max_ahead_ms = 0, nonce = nonce, public_key = "key", wallet = WALLET,
			}
			for name, value in pairs(more or {}) do all[name] = value end
			return all
		end

		it("counts with everything right, and gives its statement", function()
			local bytes = document(nonce, attest.user_data(WALLET, "secret"), "key")
			local facts, statement = assert(attest.verify_secret(bytes, want()))
			assert.equal("simulated", facts.module_id)
			assert.equal(WALLET, statement.wallet)
		end)

		it("never counts when it was made for the public, for another wallet, or says nothing", function()
			local other = "0x" .. ("cd"):rep(20)
			for _, user_data in ipairs({
				attest.user_data(WALLET, "public"), attest.user_data(other, "secret"), "{}", "", ("\xab"):rep(20),
			}) do assert.equal("user_data", refusal(attest.verify_secret(document(nonce, user_data, "key"), want()))) end
			assert.equal("user_data", refusal(attest.verify_secret(document(nonce, nil, "key"), want())))
			local bytes = document(nonce, attest.user_data(WALLET, "secret"), "key")
			assert.equal("nonce", refusal(attest.verify_secret(bytes, want({ nonce = ("m"):rep(32) }))))
			assert.equal("public_key", refusal(attest.verify_secret(bytes, want({ public_key = "kex" }))))
			assert.equal("stale", refusal(attest.verify_secret(bytes, want({ now_ms = NOW + 1001 }))))
			local list = want().list
			list.allow_debug = false
			assert.equal("debug", refusal(attest.verify_secret(bytes, want({ list = list }))))
			list = want().list
			list.images = { { [0] = ZERO, [1] = ("\1"):rep(48) } }
			assert.equal("pcr", refusal(attest.verify_secret(bytes, want({ list = list }))))
		end)
	end)
end)
