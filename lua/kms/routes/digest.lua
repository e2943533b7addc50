--- GET /digest: lets anyone compare what members hold, and nobody see it (docs/protocol.md section 9.1).

local err = require("kms.base.err")
local native = require("kms_native")
local needs = require("kms.base.needs")
local rate_limit = require("kms.base.rate_limit")
local tree = require("kms.sync.tree")

local M = {}

local Digest = {}
Digest.__index = Digest

local MIN_NONCE, MAX_NONCE = 16, 64 -- bytes
local MAX_HOUR = (1 << 32) - 1
local MAX_ADDRESSES = 65536
local PER_MINUTE = 600 -- of all clients together, where their addresses are not known
local HEADERS = { ["Content-Type"] = "application/json" }
local HOW = ("use /digest?nonce=<%d to %d bytes in hexadecimal>&hour=<number, optional>"):format(MIN_NONCE, MAX_NONCE)

-- The parameters of a raw query. Returns nonce, hour or nil | nil, message.
local function parameters(query)
	local found = {}
	for part in ((query or "") .. "&"):gmatch("([^&]*)&") do
		local name, value = part:match("^(%a+)=(.*)$")
		if name and found[name] then return nil, name .. " is given twice: " .. HOW end
		if name then found[name] = value end
	end
	local nonce = found.nonce and #found.nonce <= 2 * MAX_NONCE and native.hex_decode(found.nonce)
	if not nonce or #nonce < MIN_NONCE or #nonce > MAX_NONCE then return nil, "the nonce is missing or wrong: " .. HOW end
	if not found.hour then return nonce end
	local hour = found.hour:find("^%d%d?%d?%d?%d?%d?%d?%d?%d?%d?$") and math.tointeger(tonumber(found.hour))
	if not hour or hour > MAX_HOUR then return nil, "the hour is wrong: " .. HOW end
	return nonce, hour
end

-- Returns 32 bytes | nil, message, code.
local function show(self, nonce, hour)
	local ok, message, code = tree.prepare(self.store, self.secrets.current)
	if not ok then return nil, message, code end
	return tree.given(self.store:show_tree(nonce, hour))
end

-- Behind an ingress all clients share one limit: a digest costs more than other replies.
local function within_limits(self, inbound)
	if inbound.limit_address then return inbound:within(self.limiter, self.mono_ms()) end
	return self.shared_limiter:take("all", self.mono_ms())
end

local function handle(self, inbound)
	local ok, wait_s = within_limits(self, inbound)
	if not ok then return err.reply("ERR_RATE", "too many digests", { ["Retry-After"] = wait_s }) end
	local nonce, hour = parameters(inbound.request.query)
	if not nonce then
		local message = hour
		return err.reply("ERR_BAD_REQUEST", message)
	end
	hour = math.max(hour or 1, self.store:tree_hour(self.wall_ms()))
	local mac, message, code = show(self, nonce, hour)
	if not mac then return err.reply(code, message) end
	local body = ('{"digest":"%s","hour":%d}'):format(native.hex_encode(mac), hour)
	return { status = 200, headers = HEADERS, body = body }
end

--- The route of this module, for kms.policy.route_table.
function Digest:routes()
	local function handler(inbound) return handle(self, inbound) end
	return { { name = "digest", method = "GET", path = "/digest", handler = handler } }
end

--- @param deps store; secrets (field current); mono_ms, wall_ms; config (NONCE_RATE_LIMIT_PER_MINUTE, which limits
--   these too)
function M.new(deps)
	local self = needs.take(deps, "store secrets mono_ms wall_ms config")
	self.limiter = rate_limit.per_minute(self.config.NONCE_RATE_LIMIT_PER_MINUTE, MAX_ADDRESSES)
	self.shared_limiter = rate_limit.per_minute(PER_MINUTE, 1)
	return setmetatable(self, Digest)
end

return M
