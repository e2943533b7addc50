--- Messages in sessions of members, without a node around them: who may send one, and what is sealed when not.

require("spec.support.native")

local native = require("kms_native")
local member_sessions = require("kms.sync.member_sessions")

local WALLET, OTHER = "0x" .. ("1"):rep(40), "0x" .. ("2"):rep(40)

describe("kms.sync.member_sessions", function()
	local members, peer, banned, admitted, verified, in_turn, done, sealed, exempt

	before_each(function()
		peer, banned, admitted, verified, in_turn = { wallet = WALLET, point = "p" }, false, true, true, true
		done, sealed, exempt = { ended = {} }, nil, "nothing"
		local callers = {
			known = function(_, wallet)
				if banned then return nil, "ignored for misbehaviour", "ERR_FORBIDDEN" end
				if peer and wallet == peer.wallet then return peer end
				return nil, "not a KMS peer", "ERR_FORBIDDEN"
			end,
			admit = function(_, _, _, route)
				exempt = route
				return admitted, 7
			end,
		}
		local serving = {
			exchange = function(_, fields) return fields end,
			in_turn = function(_, _, fn, ...)
				if not in_turn then return false end
				if done.waiting then done.waiting() end
				return true, fn(...)
			end,
			execute = function(_, _, exchange)
				done.executed = exchange
				if done.meanwhile then done.meanwhile() end
				return done.reply or native.text_body("reply")
			end,
			sent = function(_, body) return body end,
		}
		members = member_sessions.new({
			sessions = { end_wallet = function(_, kind, wallet) done.ended[#done.ended + 1] = kind .. " " .. wallet end },
			callers = callers, serving = serving, readiness = { is_verified = function() return verified end, reason = "why" },
			peers = {
				peer = function(_, wallet) return peer and wallet == peer.wallet and peer or nil end,
				record = function(_, _, event) done.event = event end,
			},
			secrets = { current = "secret" }, mono_ms = function() return 0 end, wall_ms = function() return 1000000 end,
			window_ms = 120000, has_sessions = function() return true end,
		})
	end)

	-- Serves a message. o: text, time_ms, proven, size, is_array, broken; optional.
	-- Returns the reply, the refusal that was sealed { status, code, text, wait_s } or nil.
	local function serve(o)
		o = o or {}
		local message = setmetatable({
			time_ms = function() return o.time_ms or 1000000 end, size = function() return o.size or 100 end,
			nonce = function() return "salt:1" end, is_array = function() return o.is_array or false end,
			is_proven = function() return o.proven ~= false end,
			answer = function()
				if o.broken then return nil, "out of memory", "ERR_MEMORY" end
				return "sealed"
			end,
			refuse = function(_, _, status, code, text, wait_s)
				sealed = { status, code, text, wait_s }
				return not o.lost and "refused" or nil, "no", "ERR_MEMORY"
			end,
		}, { __close = function() done.closed = true end })
		local session = {
			owner = function() return "peer", WALLET, "0" end, is_for = function(_, point) return point == "p" end,
			finish = function() done.finished = true end,
			open = function() return message, native.text_body(o.text or '{"type":"delta","data":{}}') end,
		}
		local inbound = { max_body = 1000, request = { head = {}, exempt = function(_, route) exempt = route end } }
		return members:serve(inbound, session), sealed
	end

	it("does what a proven message asks for, and seals the reply", function()
		local reply, refused = serve()
		assert.same({ 200, "sealed" }, { reply.status, reply.body })
		assert.is_nil(refused)
		assert.same({ true, true, "salt:1", "secret" }, {
			done.executed.authentic, done.executed.is_sealed, done.executed.nonce, done.executed.secret,
		})
		assert.same({}, done.executed.proof)
		assert.equal("session_message", exempt)
		assert.is_true(done.closed)
	end)

	it("ends the session of a wallet that is no peer any more, is ignored, or has another key", function()
		for _, case in ipairs({
			{ function() peer = nil end, "forbidden" }, { function() banned = true end, "forbidden" },
			{ function() peer.point = "q" end, "unauthorized" },
		}) do
			peer, banned, done.finished = { wallet = WALLET, point = "p" }, false, nil
			case[1]()
			local reply, refused = serve()
			assert.same({ 200, "refused", 403, case[2] }, { reply.status, reply.body, refused[1], refused[2] })
			assert.same({ true, 403 }, { done.finished, reply.inner_status })
			assert.is_nil(exempt)
			assert.is_nil(done.executed)
		end
	end)

	it("gives nothing in a session whose member gets another key while the message waits or is dealt with", function()
		local function other_key() peer.point = "q" end
		done.reply = native.text_body("reply")
		done.meanwhile = other_key
		local reply, refused = serve()
		assert.same({ 200, "refused", 403, "unauthorized" }, { reply.status, reply.body, refused[1], refused[2] })
		assert.is_true(done.finished)
		assert.has_error(function() return done.reply:len() end) -- it is closed
		peer.point, done.meanwhile, done.waiting, done.executed, done.finished = "p", nil, other_key, nil, nil
		reply, refused = serve()
		assert.same({ 200, "refused", 403, "unauthorized" }, { reply.status, reply.body, refused[1], refused[2] })
		assert.is_true(done.finished)
		assert.is_nil(done.executed)
	end)

	for what, case in pairs({
		["beyond the member's limit"] = { function() admitted = false end, nil, 429, "rate_limited" },
		["while this node is not verified"] = { function() verified = false end, nil, 503, "service_unavailable" },
		["of another time"] = { nil, { time_ms = 1000000 - 120001 }, 403, "stale" },
		["of a time to come"] = { nil, { time_ms = 1000000 + 120001 }, 403, "stale" },
		["when too many wait"] = { function() in_turn = false end, nil, 503, "service_unavailable" },
		["that is an array"] = { nil, { is_array = true }, 403, "forbidden" },
		["without a type"] = { nil, { text = '{"op":"list"}' }, 403, "forbidden" },
		["that is no JSON"] = { nil, { text = "{" }, 400, "bad_request" },
		["that is large and not proven"] = { nil, { size = 65537, proven = false }, 403, "unauthorized" },
	}) do
		it("refuses inside a message " .. what .. ", and keeps the session", function()
			if case[1] then case[1]() end
			local reply, refused = serve(case[2])
			assert.same({ 200, "refused", case[3], case[4] }, { reply.status, reply.body, refused[1], refused[2] })
			assert.is_nil(done.finished)
			assert.is_nil(done.executed)
			if case[3] == 429 then assert.equal(7, refused[4]) end
		end)
	end

	it("leaves what is small and not proven to kms.sync.serving, and takes times at the edge", function()
		serve({ size = 65536, proven = false })
		assert.is_false(done.executed.authentic)
		for _, time_ms in ipairs({ 880000, 1120000 }) do
			done.executed = nil
			serve({ time_ms = time_ms })
			assert.truthy(done.executed)
		end
	end)

	it("refuses inside where the answer is too large or has no memory, or is a plain 503 where that fails", function()
		done.reply = native.text_body(("x"):rep(1001))
		assert.same({ 413, "payload_too_large" }, { table.unpack(select(2, serve()), 1, 2) })
		done.reply = native.text_body(("x"):rep(1000))
		assert.equal("sealed", serve().body)
		done.reply = nil
		assert.same({ 503, "service_unavailable" }, { table.unpack(select(2, serve({ broken = true })), 1, 2) })
		assert.equal(503, serve({ broken = true, lost = true }).status)
	end)

	it("ends all sessions of wallets that have left or have another key, at a tick", function()
		members:opened({ wallet = WALLET, point = "p" })
		members:opened({ wallet = OTHER, point = "p" })
		members:expire()
		assert.same({ "peer " .. OTHER }, done.ended)
		peer.point = "q"
		members:expire()
		members:expire()
		assert.same({ "peer " .. OTHER, "peer " .. WALLET }, done.ended)
	end)
end)
