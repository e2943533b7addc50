-- An exchange with a peer that replies what the test wants. Real nodes: spec/e2e.

local crypto = require("spec.support.crypto")
local exchange = require("kms.sync.exchange")
local fetch = require("kms.http.fetch")
local loop = require("kms.base.loop")
local native = require("spec.support.native")
local outbound = require("kms.peers.outbound")

describe("an exchange", function()
	local exchanges, peer, events, response, asked
	local fetch_request, fetch_json = fetch.request, fetch.json

	local function ask()
		local inner, message, code
		loop.complete(function()
			inner, message, code = exchanges:call(peer, function() return native.text_body("{}") end, {})
		end)
		return inner, code, message
	end

	local function body_handle()
		local body = { open = true }
		function body.close() body.open = false end
		function body.len() return 0 end
		return body
	end

	before_each(function()
		events, asked = {}, nil
		local identity = crypto.made_up("hostile")
		peer = { wallet = identity.wallet, point = identity.point, url = "http://peer", features = {} }
		local peers = {
			report = function(_, _, event) events[#events + 1] = event end,
			unreachable = function() events[#events + 1] = "unreachable" end,
			alive = function() events[#events + 1] = "alive" end,
			trusted = function() events[#events + 1] = "trusted" end, has_sessions = function() return false end,
		}
		local tee = { address = "0x" .. ("1"):rep(40) }
		function tee.sign() return "0x" .. ("2"):rep(130) end
		function tee.seal(_, plain) return plain end
		exchanges = exchange.new({
			tee = tee, peers = peers, writer = {}, wall_ms = native.wall_ms, nonce_ms = 120000, on_anew = function() end,
			on_time = function() end, max_body_bytes = 1 << 20, has_sessions = function() return true end,
			outbound = outbound.new({ config = { ALLOW_PRIVATE_PEERS = true }, env = function() end }),
		})
		fetch.json = function() return { status = 200, value = { nonce = "bm9uY2U=" } } end
		fetch.request = function(options)
			asked = options
			return response
		end
	end)

	after_each(function() fetch.request, fetch.json = fetch_request, fetch_json end)

	it("closes the body of an unsigned response at once", function()
		local body = body_handle()
		response = { status = 200, headers = {}, body = body }
		assert.same({ nil, "ERR_UNVERIFIED" }, { (ask()), (select(2, ask())) })
		assert.is_false(body.open)
	end)

	it("counts a peer with an unsigned response as unreachable, and reports it", function()
		response = { status = 200, headers = {}, body = body_handle() }
		ask()
		assert.same({ "bad_response_signature", "unreachable" }, events)
	end)

	it("ends a row of bad responses only when its caller found nothing wrong with a good one", function()
		response = { status = 503, headers = {}, body = body_handle() }
		peer.was_trusted = true -- the call before was
		ask()
		assert.same({ "trusted", "unreachable" }, events)
		events, peer.was_trusted = {}, true
		exchanges:distrust(peer, "a snapshot without records")
		ask()
		assert.same({ "bad_envelope", "unreachable", "unreachable" }, events)
	end)

	it("closes the body of a refusal at once, and never reads it", function()
		for status, code in pairs({ [204] = "ERR_REFUSED", [400] = "ERR_REFUSED", [503] = "ERR_NOT_READY" }) do
			local body = body_handle()
			response = { status = status, headers = {}, body = body }
			assert.equal(code, (select(2, ask())))
			assert.is_false(body.open)
			assert.is_true(asked.handle)
		end
	end)

	it("uses the nonce of the last reply once, and asks for another where the peer does not know it", function()
		local function kept(age_ms)
			peer.next_nonce, peer.next_nonce_ms = "a2VwdA==", native.mono_ms() - age_ms
		end
		local used = {}
		fetch.request = function(options)
			local nonce = options.headers["X-KMS-Nonce"]
			used[#used + 1] = nonce
			return { status = nonce == "a2VwdA==" and 403 or 503, headers = {}, body = body_handle() }
		end
		kept(0)
		assert.equal("ERR_NOT_READY", (select(2, ask())))
		assert.same({ "a2VwdA==", "bm9uY2U=" }, used)
		assert.is_nil(peer.next_nonce)
	end)

	it("keeps the nonce of the last reply for half of POP_TIMEOUT_SECONDS", function()
		local used
		fetch.request = function(options)
			used = options.headers["X-KMS-Nonce"]
			return { status = 503, headers = {}, body = body_handle() }
		end
		for _, case in ipairs({
			{ 120000, 59000, true }, { 120000, 60000, false }, { 4000, 1000, true }, { 4000, 2000, false },
		}) do
			local nonce_ms, age_ms, kept = table.unpack(case)
			exchanges.calls.nonce_ms = nonce_ms
			peer.next_nonce, peer.next_nonce_ms = "a2VwdA==", native.mono_ms() - age_ms
			ask()
			assert.equal(kept and "a2VwdA==" or "bm9uY2U=", used)
		end
	end)

	it("shows in what the last call of a peer ended, with a kept nonce too", function()
		response = { status = 503, headers = {}, body = body_handle() }
		peer.next_nonce, peer.next_nonce_ms, peer.probed_ms = "a2VwdA==", native.mono_ms(), 0
		ask()
		assert.equal(503, peer.probe_status)
		assert.is_true(peer.probed_ms > 0)
		fetch.request = function() return nil, "timed out", "ERR_TIMEOUT" end
		peer.next_nonce, peer.next_nonce_ms = "a2VwdA==", native.mono_ms()
		ask()
		assert.is_nil(peer.probe_status)
	end)

	it("takes a refusal for a sign of life only", function()
		response = { status = 403, headers = {}, body = body_handle() }
		assert.equal("ERR_REFUSED", (select(2, ask())))
		assert.same({ "alive" }, events)
	end)

	it("tells a peer whose list of members is older than this node from one that refuses it", function()
		response = { status = 403, headers = { ["retry-after"] = "5" }, body = body_handle() }
		assert.equal("ERR_NOT_LISTED", (select(2, ask())))
		response = { status = 429, headers = { ["retry-after"] = "5" }, body = body_handle() }
		assert.equal("ERR_REFUSED", (select(2, ask())))
	end)
end)
