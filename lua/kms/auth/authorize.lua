--- Authorizes wallets: application instances as the chain registers them, cached (docs/protocol.md section 5).
--
-- Anyone can sign with a throw-away key, and each unknown wallet costs a look-up. So look-ups of unknown
-- wallets have a rate queue of their own, which is fair between client addresses; known wallets are refreshed in
-- another one before they expire; and refusals are cached apart from them: unknown wallets, however many, do not
-- delay a known application. Wallets that were authorised before a restart count as known; members never wait.

local chain_api = require("kms.chain")
local client_address = require("kms.http.client_address")
local err = require("kms.base.err")
local loop = require("kms.base.loop")
local lru = require("kms.base.lru")
local native = require("kms_native")
local needs = require("kms.base.needs")
local rate_queue = require("kms.async.rate_queue")
local recent = require("kms.base.recent")
local single_flight = require("kms.async.single_flight")
local types = require("kms.config.types")

local M = {}

local Authorizer = {}
Authorizer.__index = Authorizer

local KNOWN = 10000 -- wallets that are kept at least
local MAX_UNKNOWN = 10000
local UNKNOWN_TTL_MS = 10000
local REMEMBER_MS = 24 * 3600 * 1000 -- how long a wallet counts as known after its last successful look-up
local RETRY_REFRESH_MS = 5000
local UNKNOWN_QUEUE = {
	per_second = 20, burst = 100, at_once = 24, max_waiting = 100, wait_ms = 5000,
	part_to_keep = 1 / 2, -- for first calls of new clients: strangers with a few addresses had them wait for seconds
}
local KNOWN_QUEUE = { per_second = 200, burst = 400, at_once = 24, max_waiting = 400, wait_ms = 5000 }

-- A refusal by what the chain says, which is cached.
-- @param instance  the wallet's, where one is registered
local function refuse(message, code, instance)
	return nil, message, code, nil, instance and types.app_id.parse(instance.app_id)
end

-- The look-up itself failed: the request is refused, and nothing is cached.
local function unreachable(cause)
	return nil, "the registry cannot be reached", "ERR_CHAIN", cause
end

local function lookup_failed(message, code, missing, instance)
	if code == "ERR_NOT_FOUND" then return refuse(missing, "ERR_NOT_REGISTERED", instance) end
	return unreachable(message)
end

-- The checks of docs/protocol.md section 5, in their order.
local function check(view, wallet)
	local instance, message, code = view:instance_by_wallet(wallet)
	if not instance then return lookup_failed(message, code, "wallet is not a registered instance") end
	if instance.status ~= chain_api.INSTANCE.ACTIVE then
		return refuse("instance is not active", "ERR_INSTANCE_INACTIVE", instance)
	end
	if not instance.zk_verified then return refuse("instance is not verified", "ERR_INSTANCE_UNVERIFIED", instance) end
	if not types.app_id.parse(instance.app_id) then
		return refuse("app id is not in the range of app ids", "ERR_NOT_REGISTERED")
	end
	local app
	app, message, code = view:app(instance.app_id)
	if not app then return lookup_failed(message, code, "app is not registered", instance) end
	if app.status ~= chain_api.APP.ACTIVE then return refuse("app is not active", "ERR_APP_INACTIVE", instance) end
	local version
	version, message, code = view:version(instance.app_id, instance.version_id)
	if not version then return lookup_failed(message, code, "version is not registered", instance) end
	if version.status ~= chain_api.VERSION.ENROLLED and version.status ~= chain_api.VERSION.DEPRECATED then
		return refuse("version is revoked", "ERR_VERSION_REVOKED", instance)
	end
	local point = native.peer_point(instance.tee_pubkey)
	if not point then return refuse("registered teePubkey is not a P-384 key", "ERR_NOT_REGISTERED", instance) end
	return {
		wallet = wallet, app_id = instance.app_id, version_id = instance.version_id,
		instance_id = instance.id, point = point,
		wallet_key = "w" .. wallet:sub(13), app_key = "a" .. instance.app_id,
		refresh_ms = 0, expires_ms = 0, forget_ms = 0,
	}
end

local function ask_chain(self, wallet, hint)
	local view, message = self.chain:snapshot()
	if not view then return unreachable(message) end
	local ok
	ok, message = view:prefetch(wallet, hint)
	if not ok then return unreachable(message) end
	return check(view, wallet)
end

local function keep(self, wallet, facts, refusal, mono_ms)
	if facts then
		facts.refresh_ms, facts.expires_ms = mono_ms + self.ttl_ms * 2 // 3, mono_ms + self.ttl_ms
		facts.forget_ms = mono_ms + REMEMBER_MS
		self.known:put(wallet, facts)
		if self.remembered then self.remembered:add(wallet) end
	elseif err.wire(refusal.code) == "unauthorized" then
		self.known:remove(wallet)
		if self.remembered then self.remembered:remove(wallet) end
		self.unknown:put(wallet, refusal, mono_ms + math.min(UNKNOWN_TTL_MS, self.ttl_ms))
	end
end

-- What wallets of members get instead of a queue.
local NO_QUEUE = { with = function(_, _, fn, ...) return true, fn(...) end }

local function queue_for(self, wallet, hint)
	if self.is_member and self.is_member(wallet) then return NO_QUEUE end
	local known = hint or self.remembered and self.remembered:has(wallet)
	return known and self.known_queue or self.unknown_queue
end

-- Returns facts | nil, message, code, seconds to wait, application of a registered instance, cause for the log.
local function look_up(self, wallet, mono_ms, address)
	local hint = self.known:get(wallet)
	if hint and mono_ms >= hint.forget_ms then hint = nil end
	local queue = queue_for(self, wallet, hint)
	local path = address and client_address.path(address)
	local admitted, ok, facts, message, code, cause, app_id = queue:with(path, loop.try, ask_chain, self, wallet, hint)
	if not admitted then return nil, "too many look-ups, try again later", "ERR_BUSY", queue:retry_after_s() end
	if not ok then
		facts, message, code, cause = unreachable("the look-up threw an error")
	else
		keep(self, wallet, facts, { message = message, code = code, app_id = app_id }, mono_ms)
	end
	return facts, message, code, nil, app_id, cause
end

-- Who shares a look-up: the callers of a wallet from one address, which is what the queues limit. One that comes from
-- elsewhere gets no refusal that another address has earned.
local function flight_of(wallet, address)
	return address and wallet .. "@" .. address or wallet
end

-- One look-up of a wallet and address at a time: callers that come meanwhile share its result. Results as look_up.
local function shared_look_up(self, wallet, mono_ms, address)
	local facts, message, code, wait_s, app_id, cause = self.look_ups:with(flight_of(wallet, address), look_up, self,
		wallet, mono_ms, address)
	if cause and self.log then
		self.log:limited("registry", 60, "warn", "the registry cannot be reached", { cause = cause })
	end
	return facts, message, code, wait_s, app_id
end

-- Looks up again while the cached result is valid, so that no request waits when it expires.
local function refresh(self, wallet, facts, mono_ms, address)
	if self.look_ups:is_running(flight_of(wallet, address)) then return end
	facts.refresh_ms = math.min(mono_ms + RETRY_REFRESH_MS, facts.expires_ms)
	loop.spawn(shared_look_up, self, wallet, mono_ms, address)
end

--- Whether a wallet may use the application routes.
-- @param wallet canonical text
-- @param mono_ms monotonic time
-- @param address the client's, between which look-ups are fair; nil when all clients share one
-- @return facts { wallet, app_id, version_id, instance_id, point (97 bytes), wallet_key, app_key (for rate limits),
-- and when they are looked up again, expire, and are forgotten: refresh_ms, expires_ms, forget_ms (monotonic) } |
-- nil, message, code, seconds to wait (ERR_BUSY): a name of code "unauthorized" (kms.base.err), ERR_CHAIN (the
-- chain cannot be read) or ERR_BUSY (too many look-ups of unknown wallets); id of the application of an instance
-- that is registered, though it may not use them
function Authorizer:authorize(wallet, mono_ms, address)
	local facts = self.known:get(wallet)
	if facts and mono_ms < facts.refresh_ms then return facts end -- which is never after expires_ms
	if facts and mono_ms < facts.expires_ms then
		refresh(self, wallet, facts, mono_ms, address)
		return facts
	end
	local refusal = self.unknown:get(wallet, mono_ms)
	if refusal then return nil, refusal.message, refusal.code, nil, refusal.app_id end
	return shared_look_up(self, wallet, mono_ms, address)
end

--- For /metrics, by queue ("known", "unknown"): { entered, waited, refused } since the start, waiting now.
function Authorizer:queues()
	local queues = {}
	for name, queue in pairs({ known = self.known_queue, unknown = self.unknown_queue }) do
		local counts = queue.counts
		queues[name] = {
			entered = counts.entered, waited = counts.waited, refused = counts.refused, waiting = queue:waiting(),
		}
	end
	return queues
end

--- @param deps chain (kms.chain); ttl_ms: how long a successful look-up is valid; optional: log, for failed look-ups;
-- remembered (kms.auth.remembered); is_member: function(wallet) -> whether it is one of the KMS application's
function M.new(deps)
	local self = needs.take(deps, "chain ttl_ms", "log remembered is_member")
	self.known, self.unknown = recent.new(KNOWN), lru.new(MAX_UNKNOWN)
	self.look_ups = single_flight.new()
	self.known_queue, self.unknown_queue = rate_queue.new(KNOWN_QUEUE), rate_queue.new(UNKNOWN_QUEUE)
	return setmetatable(self, Authorizer)
end

return M
