local bootstrap = require("kms.sync.bootstrap")
local exchange = require("kms.sync.exchange")
local loop = require("kms.base.loop")
local message = require("kms.sync.message")
local native = require("spec.support.native")

local PEER = "0x" .. ("a"):rep(40)

describe("bootstrap", function()
	local newcomer, peer, events, inner, counts, code, refusal, applied, accepted, has_sessions

	-- Runs fn in a coroutine, as the node does.
	local function run(fn)
		local results
		loop.complete(function() results = table.pack(fn()) end)
		return table.unpack(results, 1, results.n)
	end

	before_each(function()
		events, counts, code = {}, { total = 0, merged = 0, rejected = 0 }, nil
		refusal, applied, accepted, has_sessions = nil, 0, { true }, false
		peer = { wallet = PEER, number = 1, url = "http://peer", features = {} }
		local peers = {
			others = function() return { peer } end,
			callable = function() return true end,
			understands = function(_, other, feature) return other.features[feature] == true end,
			report = function(_, _, event) events[#events + 1] = event end,
			unreachable = function() end,
			has_sessions = function(_, other) return other.features.session == true end,
		}
		local exchanges = exchange.new({
			peers = peers, tee = {}, outbound = {}, writer = {}, wall_ms = native.wall_ms, nonce_ms = 120000,
			on_anew = function() end, on_time = function() end, max_body_bytes = 1 << 20,
			has_sessions = function() return has_sessions end,
		})
		function exchanges.call(_, _, build)
			assert(build({ pop = "0xsignature" }, "nonce"))
			if refusal then return nil, "refused", refusal end
			return {
				unseal = function(_, key)
					if inner == "old" then return nil, "cannot decrypt", code or "ERR_DECRYPT" end
					return inner(key)
				end,
				flag = function(_, name)
					if name == "data" then return inner.data end
					return inner.complete
				end,
				apply = function()
					applied = applied + 1
					return counts
				end,
			}
		end
		newcomer = bootstrap.new({
			exchange = exchanges, store = {}, peers = peers,
			writer = message.writer({ address = "0x1" }, ("0"):rep(32), native.wall_ms),
			clock = { now = function() return 0 end },
			log = { info = function() end }, mono_ms = native.mono_ms, max_snapshot_bytes = 1000,
			accept = function() return table.unpack(accepted, 1, 3) end, evidence = { make = function() end },
		})
	end)

	describe("the master secret", function()
		local right, wrong = native.secret_random(32), native.secret_random(32)

		local function ask(settled)
			return run(function() return newcomer:secret(right:keccak256(), settled) end)
		end

		it("is taken when it is the chain's", function()
			inner = function() return right end
			assert.equal(right, (ask(true)))
			assert.same({}, events)
		end)

		it("of a peer that differs is misbehaviour once the chain's hash is settled", function()
			inner = function() return wrong end
			assert.is_nil(ask(false))
			assert.same({}, events)
			assert.is_nil(ask(true))
			assert.same({ "wrong_master_secret" }, events)
		end)

		-- Only evidence that nobody else can have made may ban a peer from being heard.
		it("that cannot be unsealed is no evidence: an old answer of the peer's would do for it", function()
			inner = "old"
			assert.is_nil(ask(true))
			assert.same({ "bad_envelope" }, events)
		end)

		it("is asked for again where the peer answers that it has sessions, and gives it in one", function()
			local asked = 0
			has_sessions = true
			inner = function()
				asked = asked + 1
				-- What the answer announces.
				peer.features = { session = true }
				if asked > 1 then return right end
				return nil, "sealed: a required field is missing", "ERR_FIELD_MISSING"
			end
			assert.equal(right, (ask(true)))
			assert.equal(2, asked)
			assert.same({}, events)
			-- An answer in a session without the secret is misbehaviour, and asked once.
			asked = 5
			inner = function()
				asked = asked + 1
				return nil, "sealed: a required field is missing", "ERR_FIELD_MISSING"
			end
			assert.is_nil(ask(true))
			assert.same({ 6, { "bad_envelope" } }, { asked, events })
		end)

		it("that no member holds is said so, but not where one refuses or is not called", function()
			refusal = "ERR_NOT_READY"
			assert.equal("reached 1 member, and none holds the secret", select(3, ask(true)))
			refusal = "ERR_REFUSED"
			assert.is_nil((select(3, ask(true))))
		end)

		it("that this node has no memory to unseal is not held against anybody", function()
			inner, code = "old", "ERR_LOCKED_MEMORY"
			assert.is_nil(ask(true))
			assert.same({}, events)
		end)
	end)

	describe("a snapshot", function()
		local function ask() return run(function() return newcomer:snapshot(peer) end) end

		it("that is whole says whether its sender is complete, also an empty one", function()
			inner = { data = true, complete = true }
			assert.is_true(ask().complete)
			inner.complete = false
			assert.is_false(ask().complete)
		end)

		it("of an existing node is complete without its saying so", function()
			inner = { data = true }
			assert.is_true(ask().complete)
		end)

		it("that is refused is no snapshot", function()
			for _, named in ipairs({ "ERR_REFUSED", "ERR_NOT_READY", "ERR_TOO_LARGE" }) do
				refusal = named
				assert.same({ nil, "refused", named }, { ask() })
			end
		end)

		it("without records is an answer to something else, not an empty store", function()
			inner = {}
			assert.is_nil((ask()))
			assert.same({ "bad_envelope" }, events)
		end)

		it("of which nothing could be taken is none", function()
			inner = { data = true, complete = true }
			for _, why in ipairs({ "poisoned", "future" }) do
				counts = { total = 3, merged = 0, rejected = 3, [why] = 3 }
				assert.is_nil((ask()))
			end
			counts = { total = 3, merged = 1, rejected = 2, poisoned = 2 }
			assert.is_true(ask().complete)
		end)

		-- An application of an existing node can write an empty key, and nothing else.
		it("of nothing but malformed records is one", function()
			inner = { data = true, complete = true }
			counts = { total = 3, merged = 0, rejected = 3, poisoned = 0, future = 0 }
			assert.is_true(ask().complete)
		end)
	end)

	it("takes nothing of a snapshot whose applications cannot be checked", function()
		local secret = native.secret_random(32)
		inner, accepted = { data = true }, { nil, "cannot be checked", "ERR_CHAIN" }
		local result = table.pack(run(function() return newcomer:snapshot(peer, secret) end))
		assert.same({ nil, "cannot be checked", "ERR_CHAIN", n = 3 }, result)
		assert.equal(0, applied)
		accepted = { true }
		assert.is_table(run(function() return newcomer:snapshot(peer, secret) end))
		assert.equal(1, applied)
	end)
end)
