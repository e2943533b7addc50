--- A node of a simulation: the parts that kms.node.assemble makes, on a virtual clock, with a chain in a table.

local substitutes = require("spec.simulate.substitutes")
local network = require("spec.simulate.network") -- luacheck: no unused
local loop = require("spec.simulate.virtual_loop")

local assemble = require("kms.node.assemble")
local clock = require("kms.base.clock")
local crypto = require("spec.support.crypto")
local native = crypto.native
local own_keys = require("kms.tee.own_keys")
local policy = require("kms.policy")
local records = require("spec.simulate.records")
local seeded_random = require("seeded_random")
local strangers = require("spec.simulate.strangers")
local timers = require("kms.node.timers")
local core = require("kms.node.core")

local M = {}

M.START_MS = 1700000000000 -- wall time at the virtual time 0
M.MOST = 7 -- nodes of a cluster

local SHIPPED = "config/policy"
local APP = crypto.made_up("an application")

local function nothing() end
local quiet = {
	debug = nothing, info = nothing, warn = nothing, error = nothing, limited = nothing, log = nothing, note = nothing,
	enabled = function() return false end, name = function(_, name) return name end,
}

local Tee = setmetatable({}, own_keys.Keys)
Tee.__index = Tee

-- The network names the sender, so a signature only has to differ from others.
function Tee:sign(text)
	if text:find("^NovaKMS:Response:") or text:find("^NovaKMS:SessionAnswer:") then return self.address end
	self.signed = self.signed + 1
	return ("%s:%08d"):format(self.address, self.signed)
end

-- The text in guarded memory, where requests are parsed.
local function guarded(tee, text)
	local sealed = substitutes.body(substitutes.text_of(assert(tee:seal(native.text_body(text), tee.point))))
	return assert(tee:open(assert(native.envelope(sealed, tee.point)), tee.point, "guarded"))
end

function Tee:open_request(service, head, operation, caller)
	return service.native:parse(guarded(self, substitutes.headers_of[head].plain), operation, caller.signature, false)
end

function Tee.attest()
	return nil, "a simulated node attests nothing", "ERR_TEE"
end

function Tee:has_channel() -- luacheck: no self
	return true
end

function Tee:execute(service, opened, caller, wall_ms, written)
	local result, message, code = service.native:execute(opened, caller.app_id, caller.signature, wall_ms)
	if not result then return nil, message, code end
	local ok = true
	if written then ok, message, code = written(result) end
	if not ok then return nil, message, code end
	return result, self.address
end

-- Keys of the nodes, the same in all simulations: new ones cost time.
local identities = {}
for index = 1, M.MOST do
	seeded_random(index)
	local wallet, p384 = native.identity(native.secret_random(32))
	local made = { name = "simulated", wallet = wallet, p384 = p384, channels = native.channels(64), signed = 0 }
	identities[index] = own_keys.new(Tee, made)
end

--- Keys of the node with this number, as kms.tee gives them.
function M.identity(index)
	return identities[index]
end

local policy_store = native.store({ self = identities[1].address })

-- Each life has policies of its own: what listens to them is of that life, and must go with it.
local function open_policies()
	return assert(policy.open({
		native = native, dir = "/nonexistent", shipped = SHIPPED, required = false, mono_ms = native.mono_ms, log = quiet,
		wall_ms = function() return M.START_MS end, store = policy_store,
	}))
end

-- The native service, with authentication by what the network says of the sender.
local function new_service(made)
	local service = { native = made }
	function service.authenticate(_, head)
		local headers = substitutes.headers_of[head]
		return headers["x-kms-wallet"], headers["x-kms-signature"]
	end
	function service.set_master(_, secret) return made:set_master(secret) end
	function service.announce_sessions(_, have) return made:announce_sessions(have) end
	function service.session_opening(_, ...) return made:session_opening(...) end
	return service
end

-- Starts the node with an empty store.
local function start(node, world)
	local config = node.config
	node.life = node.life + 1
	local parts = { config = config, log = quiet, mono_ms = native.mono_ms, tee = identities[node.index] }
	parts.clock = clock.new({
		wall_ms = function() return M.START_MS + loop.now() + node.offset_ms end, mono_ms = native.mono_ms,
		max_skew_ms = config.MAX_CLOCK_SKEW_MS,
	})
	parts.wall_ms = function() return parts.clock:now() end
	parts.url, parts.channels = node.url, parts.tee.channels
	parts.store, parts.native_nonces = core.new_store(config), assert(native.nonces(120))
	parts.store:set_self(parts.tee.address)
	parts.identity = { learn = function() return true end }
	parts.service = new_service(assert(native.service({
		self = parts.tee.address, nonces = parts.native_nonces, channels = parts.channels, store = parts.store,
		max_value = config.MAX_KV_VALUE_SIZE_BYTES, max_key = config.MAX_KEY_BYTES, max_list = config.MAX_LIST_BYTES,
		pop_window_s = config.POP_TIMEOUT_SECONDS,
	})))
	parts.policy, parts.chain = open_policies(), world.chain
	local has_secret = world.keep_secrets or not world.secret_given
	world.secret_given = true
	assert(assemble.join_cluster(parts, { shipped = SHIPPED, given_secret = has_secret and world.secret or nil }))
	assemble.open_routes(parts)
	local changed = parts.early_push.changed
	-- Called with each write of an application, before its caller has the reply.
	function parts.early_push.changed(...)
		node.written[coroutine.running()] = records.newest(parts)
		return changed(...)
	end
	local wait = parts.copies.wait
	function parts.copies.wait(...)
		local copies, message, code = wait(...)
		local written = node.written[coroutine.running()]
		if written then written.copies = copies end
		return copies, message, code
	end
	if node.is_existing then strangers.make_existing(parts) end
	if node.lies then strangers.make_liar(parts, node.lies) end
	if node.page_bytes then parts.join.member.pages.page_bytes = node.page_bytes end
	node.parts, node.state, node.held = parts, "up", {}
	timers.run(parts, function() return false end)
end

--- Starts the node, or starts it again after a crash: its store is empty.
function M.start(node, world)
	loop.as(node, start, node, world)
end

--- Ends the node at once.
function M.crash(node)
	node.state, node.parts = "down", nil
end

-- What the handlers of applications' requests are given.
local function inbound_of(plain, app_id)
	local head = {}
	substitutes.headers_of[head] = { plain = plain }
	local caller = { app_id = app_id, wallet = APP.wallet, signature = "", point = APP.point, dev = true }
	local request = { head = head, has_body = true, caller = caller, remote = "192.0.2.2" }
	function request.read_body() return true end
	function request.header() end
	return {
		request = request, max_body = 1 << 20, route = {}, announces_too_much = function() return nil end,
	}
end

--- Sends a request of an application to the node. Calls done(the record as it was written, nil when it was not, the
-- reply) when there is one.
-- @param method "PUT" or "DELETE"
-- @param plain inner request as JSON
function M.request(node, method, plain, app_id, done)
	local parts = node.parts
	loop.as(node, loop.spawn, function()
		local route = parts.routes:match(method, "/kms/data")
		local inbound = inbound_of(plain, app_id)
		inbound.route = route
		local reply = route.handler(inbound)
		local written = node.written[coroutine.running()]
		node.written[coroutine.running()] = nil
		done(reply.status == 200 and written or nil, reply)
	end)
end

return M
