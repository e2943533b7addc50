--- Who may ask: application instances by wallet, from the chain, cached (docs/protocol.md section 5).
--
-- Anybody can sign with a throw-away key, and each unknown wallet costs a look-up. So those
-- have a queue of their own, what is known is refreshed ahead of expiry in another, and refusals
-- live in a cache of their own: no number of strangers keeps an application out.

local chain_api = require("kms.chain")
local loop = require("kms.base.loop")
local lru = require("kms.base.lru")
local native = require("kms_native")
local rate_queue = require("kms.async.rate_queue")
local single_flight = require("kms.async.single_flight")
local types = require("kms.config.types")

local M = {}

local Registry = {}
Registry.__index = Registry

local MAX_KNOWN = 10000
local MAX_UNKNOWN = 10000
local UNKNOWN_TTL_MS = 10000
local REMEMBER_MS = 24 * 3600 * 1000 -- how long a wallet counts as known after its last good answer
local RETRY_REFRESH_MS = 5000
local UNKNOWN_QUEUE = { per_second = 20, burst = 100, at_once = 24, max_waiting = 100, wait_ms = 5000 }
local KNOWN_QUEUE = { per_second = 200, burst = 400, at_once = 24, max_waiting = 400, wait_ms = 5000 }

local function refuse(message)
	return nil, message, "ERR_UNAUTHORIZED"
end

-- A look-up that did not answer is no answer: nothing is cached, the request is refused.
local function unanswered(message)
	return nil, "the registry cannot be reached", "ERR_CHAIN", message
end

local function lookup_failed(message, code, missing)
	if code == "ERR_NOT_FOUND" then return refuse(missing) end
	return unanswered(message)
end

-- The checks of section 5, in their order.
local function check(view, wallet)
	local instance, message, code = view:instance_by_wallet(wallet)
	if not instance then return lookup_failed(message, code, "wallet is not a registered instance") end
	if instance.status ~= chain_api.INSTANCE.ACTIVE then return refuse("instance is not active") end
	if not instance.zk_verified then return refuse("instance is not verified") end
	if not types.app_id.parse(instance.app_id) then return refuse("app id is not in the range of app ids") end
	local app
	app, message, code = view:app(instance.app_id)
	if not app then return lookup_failed(message, code, "app is not registered") end
	if app.status ~= chain_api.APP.ACTIVE then return refuse("app is not active") end
	local version
	version, message, code = view:version(instance.app_id, instance.version_id)
	if not version then return lookup_failed(message, code, "version is not registered") end
	if version.status ~= chain_api.VERSION.ENROLLED and version.status ~= chain_api.VERSION.DEPRECATED then
		return refuse("version is revoked")
	end
	local point = native.peer_point(instance.tee_pubkey)
	if not point then return refuse("registered teePubkey is not a P-384 key") end
	return {
		wallet = wallet, app_id = instance.app_id, version_id = instance.version_id,
		instance_id = instance.id, point = point,
	}
end

local function ask_chain(self, wallet, hint)
	local view, message = self.chain:snapshot()
	if not view then return unanswered(message) end
	local ok
	ok, message = view:prefetch(wallet, hint)
	if not ok then return unanswered(message) end
	return check(view, wallet)
end

local function keep(self, wallet, facts, message, code, mono_ms)
	if facts then
		self.known:put(wallet, { facts = facts, refresh_ms = mono_ms + self.ttl_ms * 2 // 3 }, mono_ms + self.ttl_ms)
		self.hints:put(wallet, facts, mono_ms + REMEMBER_MS)
	elseif code == "ERR_UNAUTHORIZED" then
		self.known:remove(wallet)
		self.hints:remove(wallet)
		self.unknown:put(wallet, message, mono_ms + math.min(UNKNOWN_TTL_MS, self.ttl_ms))
	end
end

local function look_up(self, wallet, mono_ms)
	local hint = self.hints:get(wallet, mono_ms)
	local queue = hint and self.known_queue or self.unknown_queue
	local admitted, ok, facts, message, code, cause = queue:with(loop.try, ask_chain, self, wallet, hint)
	if not admitted then return nil, "too many look-ups, try again later", "ERR_BUSY", nil, queue:retry_after_s() end
	if not ok then return unanswered("the look-up broke down") end
	keep(self, wallet, facts, message, code, mono_ms)
	return facts, message, code, cause
end

-- One look-up a wallet at a time; who comes meanwhile gets its outcome.
local function fly(self, wallet, mono_ms)
	return self.look_ups:with(wallet, look_up, self, wallet, mono_ms)
end

local function report(self, cause)
	if cause and self.log then
		self.log:limited("registry", 60, "warn", "the registry cannot be reached", { cause = cause })
	end
end

-- Asks again while the old answer still counts, so that nobody waits when it expires.
local function refresh(self, wallet, entry, mono_ms)
	if mono_ms < entry.refresh_ms or self.look_ups:is_running(wallet) then return end
	entry.refresh_ms = mono_ms + RETRY_REFRESH_MS
	loop.spawn(function() report(self, select(4, fly(self, wallet, mono_ms))) end)
end

--- Whether a wallet may use the application routes.
-- @param wallet canonical text
-- @param mono_ms monotonic time
-- @return facts {wallet, app_id, version_id, instance_id, point (97 bytes)} | nil, message,
-- code, cause for the log, seconds to wait: ERR_UNAUTHORIZED (the chain says no), ERR_CHAIN (it says
-- nothing) or ERR_BUSY (too many look-ups of unknown wallets)
function Registry:authorize(wallet, mono_ms)
	local entry = self.known:get(wallet, mono_ms)
	if entry then
		refresh(self, wallet, entry, mono_ms)
		return entry.facts
	end
	local refusal = self.unknown:get(wallet, mono_ms)
	if refusal then return refuse(refusal) end
	local facts, message, code, cause, wait_s = fly(self, wallet, mono_ms)
	report(self, cause)
	return facts, message, code, cause, wait_s
end

--- For /metrics, by queue ("known", "unknown"): { entered, waited, refused } since the start, waiting now.
function Registry:queues()
	local queues = {}
	for name, queue in pairs({ known = self.known_queue, unknown = self.unknown_queue }) do
		local counts = queue.counts
		queues[name] = {
			entered = counts.entered, waited = counts.waited, refused = counts.refused, waiting = queue.waiting,
		}
	end
	return queues
end

--- @param chain a backend (kms.chain)
-- @param ttl_ms how long a positive answer counts
-- @param log for look-ups that failed, or nil
function M.new(chain, ttl_ms, log)
	return setmetatable({
		chain = chain, ttl_ms = ttl_ms, log = log, known = lru.new(MAX_KNOWN), unknown = lru.new(MAX_UNKNOWN),
		hints = lru.new(MAX_KNOWN), look_ups = single_flight.new(),
		unknown_queue = rate_queue.new(UNKNOWN_QUEUE), known_queue = rate_queue.new(KNOWN_QUEUE),
	}, Registry)
end

return M
