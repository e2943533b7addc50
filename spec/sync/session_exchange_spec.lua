--- Calls in a session with a member, without a network: when this node ends the session.

require("spec.support.native")

local native = require("kms_native")
local session_exchange = require("kms.sync.session_exchange")
local session_opener = require("kms.sync.session_opener")

local IDLE_MS, LIFE_MS = 13500, 54000

describe("kms.sync.session_exchange", function()
	local now, peer, opener, exchange, while_called

	-- A session that seals nothing.
	local function held_session()
		local session = {
			take = function() return 1 end, nonce = function() return "salt:1" end, sid = function() return ("s"):rep(16) end,
			seal = function(_, _, plain) return plain end,
			open = function() return native.text_body('{"status":"ok"}') end, finish = function() end,
		}
		return { native = session, point = "p", ends_ms = now + LIFE_MS, idle_ms = IDLE_MS, used_ms = now, calls = 0 }
	end

	before_each(function()
		now, while_called = 0, function() end
		peer = { wallet = "0x" .. ("1"):rep(40), point = "p" }
		local function mono_ms() return now end
		local function wall_ms() return 1000000 + now end
		local calls = {
			post = function(_, _, _, _, body)
				while_called()
				body:close()
				return { status = 200, body = native.text_body("sealed") }
			end,
			unreachable = function(_, _, message, code) return nil, message, code end,
		}
		local peers = { peer = function() return peer end }
		opener = session_opener.new({ tee = {}, peers = peers, calls = calls, mono_ms = mono_ms, wall_ms = wall_ms })
		exchange = session_exchange.new({
			peers = peers, calls = calls, opener = opener, mono_ms = mono_ms, wall_ms = wall_ms, max_body_bytes = 1000,
		})
		peer.session = held_session()
	end)

	local function call()
		return exchange:call(peer, function() return native.text_body("{}") end, {})
	end

	it("ends no session for want of use while a call in it is under way, and counts from its answer", function()
		local held = peer.session
		function while_called()
			now = IDLE_MS + 1
			opener:expire(peer)
			assert.equal(held, peer.session)
		end
		assert.truthy(call())
		now = now + IDLE_MS - 1
		opener:expire(peer)
		assert.equal(held, peer.session)
		now = now + 1
		opener:expire(peer)
		assert.is_nil(peer.session)
	end)

	it("ends a session whose time is over, or whose member has another key, with a call under way, too", function()
		for _, change in ipairs({ function() now = now + LIFE_MS end, function() peer.point = "q" end }) do
			peer.session = held_session()
			peer.session.point = peer.point
			function while_called()
				change()
				opener:expire(peer)
				assert.is_nil(peer.session)
			end
			call()
		end
	end)
end)
