--- POST /sync, without a node around it: what the headers of a message decide.

require("spec.support.native")

local callers = require("kms.sync.callers")
local serving = require("kms.sync.serving")
local sync_route = require("kms.sync.route")

local WALLET, ADDRESS = "0x" .. ("1"):rep(40), "192.0.2.1"

describe("kms.sync.route", function()
	local member, refused, banned, kept_out, exempt, route

	local function service_authenticate()
		if refused then return nil, "no", refused end
		return WALLET, "0xsignature"
	end

	before_each(function()
		member, refused, banned, kept_out, exempt = { wallet = WALLET, point = "p" }, nil, false, false, nil
		local peers = {
			app_id = "49", peer = function() return member end, record = function() end,
			is_kept_out = function() return kept_out end,
		}
		local readiness = { is_verified = function() return true end, interval_ms = function() return 4001 end }
		local known = callers.new({
			service = { authenticate = service_authenticate }, peers = peers, bans = { all = function() return banned end },
			readiness = readiness, mono_ms = function() return 0 end, wall_ms = function() return 0 end,
		})
		route = sync_route.new({
			tee = {}, peers = peers, callers = known, readiness = readiness, secrets = {},
			serving = serving.new({
				callers = known, peers = peers, pusher = {}, replies = {}, readiness = readiness, secrets = {}, require_pop = false,
				max_bytes = 1 << 20,
			}),
			nonces = { add_to = function(_, reply) return reply end },
		})
	end)

	-- A message without a body, which is refused after its headers. Returns the status, the headers of the reply.
	local function send()
		local request = { remote = ADDRESS, has_body = false, head = {} }
		function request.header() return nil end
		function request.read_body() return true end
		function request.exempt(_, name) exempt = name end
		local inbound = { request = request, limit_address = ADDRESS, announces_too_much = function() return nil end }
		local reply = route:routes()[1].handler(inbound)
		return reply.status, reply.headers, inbound
	end

	it("lets a member's connection pass the limit of its address, until a message comes that no member signed", function()
		for _, ends in ipairs({
			function() refused = "ERR_SIGNATURE" end,
			function() refused = "ERR_POP_NONCE_USED" end,
			function() banned = true end,
			function() member = nil end,
		}) do
			local was = member
			refused, banned = nil, false
			assert.equal(400, send())
			assert.equal("sync", exempt)
			ends()
			assert.equal(403, send())
			assert.is_nil(exempt)
			member = was
		end
	end)

	it("notes whose instance it refuses that the chain keeps out", function()
		member, kept_out = nil, true
		local _, _, inbound = send()
		assert.same({ WALLET, false, "49" }, { inbound.wallet, inbound.is_member, inbound.refused_app_id })
		kept_out = false
		_, _, inbound = send()
		assert.is_nil(inbound.refused_app_id)
	end)

	it("says to a node that is not on its list when it reads it again, and to nobody else", function()
		member = nil
		local status, headers = send()
		assert.same({ 403, "5" }, { status, headers["Retry-After"] })
		member, banned = { wallet = WALLET, point = "p" }, true
		status, headers = send()
		assert.same({ 403, nil }, { status, headers["Retry-After"] })
		refused, banned = "ERR_SIGNATURE", false
		status, headers = send()
		assert.same({ 403, nil }, { status, headers["Retry-After"] })
	end)
end)
