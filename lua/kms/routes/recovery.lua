--- The routes below /recovery: who can restore the master secret, whether they still can, and the way by which they do
-- (docs/protocol.md section 16). With RECOVERY only.

local cjson = require("cjson.safe")
local err = require("kms.base.err")
local json = require("kms.base.json")
local native = require("kms_native")
local needs = require("kms.base.needs")
local rate_limit = require("kms.base.rate_limit")

local M = {}

local Recovery = {}
Recovery.__index = Recovery

local MIN_NONCE, MAX_NONCE = 16, 64 -- bytes
local MAX_ADDRESSES = 65536
local PER_MINUTE = 120 -- signed answers to all clients together
local MAX_CLAIM = 1024 -- bytes of a rehearsal's body
local MAX_SHARE = 4096 -- bytes of an age file with a share
local AGE = { ["Content-Type"] = "text/plain; charset=us-ascii" }
local JSON = { ["Content-Type"] = "application/json" }
local HOW = ("use /recovery/shares?nonce=<%d to %d bytes in hexadecimal>"):format(MIN_NONCE, MAX_NONCE)

-- ---- what is shared ----------------------------------------------------------------------------------

-- Returns nil, or the reply that refuses.
local function refuse(self, inbound)
	if not self.readiness.ready then return err.reply("ERR_NOT_READY", self.readiness.reason) end
	local now = self.mono_ms()
	local ok, wait_s = inbound:within(self.limiter, now)
	if ok then ok, wait_s = self.shared_limiter:take("all", now) end
	if ok then return nil end
	return err.reply("ERR_RATE", "too many requests about recovery", { ["Retry-After"] = wait_s })
end

-- A reply that the command line can tie to an attestation document: signed by the wallet in it.
local function signed(self, kind, nonce, body)
	local wallet = self.tee.address
	local signature, message, code = self.tee:sign(("NovaKMS:Recovery:%s:%s:%s:%s"):format(kind, nonce, wallet,
		native.hex_encode(native.sha256(body))))
	if not signature then return err.reply(code, message) end
	return { status = 200, body = body, headers = {
		["Content-Type"] = "application/json", ["X-KMS-Recovery-Wallet"] = wallet,
		["X-KMS-Recovery-Signature"] = signature,
	} }
end

-- ---- GET /recovery -----------------------------------------------------------------------------------

local function custodians_of(set, times)
	local list = {}
	for x, custodian in ipairs(set.custodians) do
		list[x] = { x = x, name = custodian.name, key = custodian.key, checked_at_ms = times and (times[x] or cjson.null) }
	end
	return list
end

local function page(self)
	self.rehearsals:refresh()
	local secret, sets, earlier = self.secrets.current, self.sets, {}
	for i = 2, #sets do
		earlier[i - 1] = {
			set = sets[i].id, threshold = sets[i].threshold, custodians = custodians_of(sets[i]),
		}
	end
	return { status = 200, headers = JSON, body = json.encode({
		set = sets[1].id, threshold = sets[1].threshold, custodians = custodians_of(sets[1], self.rehearsals.times),
		earlier = json.list(earlier), secret_hash = secret and secret:keccak256() or cjson.null,
		waiting = self.waiting:status() or cjson.null, misfits = json.list(self.waiting.misfits),
	}) }
end

-- ---- GET /recovery/shares ----------------------------------------------------------------------------

-- The nonce in a raw query. Returns digits | nil.
local function nonce_of(query)
	local digits = (query or ""):match("^nonce=(%x+)$")
	local bytes = digits and #digits <= 2 * MAX_NONCE and native.hex_decode(digits)
	return bytes and #bytes >= MIN_NONCE and digits or nil
end

local function shares(self, inbound)
	local refused = refuse(self, inbound)
	if refused then return refused end
	local nonce = nonce_of(inbound.request.query)
	if not nonce then return err.reply("ERR_BAD_REQUEST", "the nonce is missing or wrong: " .. HOW) end
	local made, message, code = self.age_files:today()
	if not made then return err.reply(code, message) end
	self.audit:counted("shares_fetched")
	return signed(self, "shares", nonce, made.body)
end

-- ---- POST /recovery/check ----------------------------------------------------------------------------

-- The claim in a body. Returns { nonce, proof, set, x } | nil, message, code.
local function read_claim(inbound)
	local ok, message, code = inbound.request:read_body(math.min(inbound.max_body, MAX_CLAIM))
	if not ok then return nil, message, code end
	local claim = cjson.decode(inbound.request.head:body())
	if type(claim) ~= "table" then return nil, "the body is not a JSON object", "ERR_JSON" end
	for _, name in ipairs({ "nonce", "proof", "set" }) do
		if type(claim[name]) ~= "string" then return nil, name .. ": must be a string", "ERR_FIELD_TYPE" end
	end
	claim.x = type(claim.x) == "number" and math.tointeger(claim.x)
	if not claim.x then return nil, "x: must be a whole number", "ERR_FIELD_TYPE" end
	return claim
end

local function check(self, inbound)
	local refused = refuse(self, inbound)
	if refused then return refused end
	local claim, message, code = read_claim(inbound)
	if not claim then return err.reply(code, message) end
	-- The client decides how long its body takes: the node may have stopped serving meanwhile.
	refused = self.operations:not_ready() or self.operations:unwritable()
	if refused then return refused end
	local name, time_ms
	name, time_ms, code = self.rehearsals:check(claim)
	if not name then
		message = time_ms
		self.audit:counted("rehearsal_refused", (err.wire(code)))
		return err.reply(code, message)
	end
	self.audit:event("rehearsal", { custodian = name, set = claim.set, x = claim.x })
	return signed(self, "check", claim.nonce, json.encode({ checked_at_ms = time_ms, name = name, set = claim.set,
		x = claim.x }))
end

-- ---- while the node waits for custodians -----------------------------------------------------------

-- Returns x, id of an earlier set or nil | nil.
local function challenge_of(query)
	local x, set = (query or ""):match("^x=(%d%d?)&?(.*)$")
	if not x then return nil end
	if set == "" then return math.tointeger(tonumber(x)) end
	set = set:match("^set=(%x+)$")
	if set and #set == 64 then return math.tointeger(tonumber(x)), set end
	return nil
end

-- Without a limit: it is made once an hour, and a limit would let strangers behind the custodian's proxy lock it out.
local function challenge(self, inbound)
	local x, set = challenge_of(inbound.request.query)
	if not x then return err.reply("ERR_BAD_REQUEST", "use /recovery/challenge?x=<custodian's number>") end
	local file, message, code = self.waiting:challenge(x, set)
	if not file then return err.reply(code, message) end
	return { status = 200, headers = AGE, body = file }
end

local function share(self, inbound)
	local request = inbound.request
	if not self.waiting:recipient() then
		return err.reply("ERR_NOT_WAITING", "this node takes no shares: it does not wait for custodians")
	end
	local ok, message, code = request:read_body(math.min(inbound.max_body, MAX_SHARE))
	if not ok then return err.reply(code, message) end
	local result, wait_s
	result, message, code, wait_s = self.waiting:give(request:header("x-kms-recovery"), request.head:body())
	if not result then
		self.audit:counted("share_refused", (err.wire(code)))
		return err.reply(code, message, wait_s and { ["Retry-After"] = wait_s })
	end
	return { status = 200, headers = JSON, body = json.encode(result) }
end

--- The routes of this module, for kms.policy.route_table.
function Recovery:routes()
	local function with(handler)
		return function(inbound) return handler(self, inbound) end
	end
	return {
		{ name = "recovery", method = "GET", path = "/recovery", handler = with(page) },
		{ name = "recovery_shares", method = "GET", path = "/recovery/shares", handler = with(shares) },
		{ name = "recovery_check", method = "POST", path = "/recovery/check", handler = with(check) },
		{ name = "recovery_challenge", method = "GET", path = "/recovery/challenge", handler = with(challenge) },
		{ name = "recovery_share", method = "POST", path = "/recovery/share", handler = with(share) },
	}
end

--- @param deps sets (kms.recovery.custodians); age_files, rehearsals, waiting (kms.recovery); tee; readiness (ready,
-- reason); operations (kms.routes.operations); secrets (field current); mono_ms; config (NONCE_RATE_LIMIT_PER_MINUTE,
-- which limits an address here, too); audit (kms.audit)
function M.new(deps)
	local self = needs.take(deps,
		"sets age_files rehearsals waiting tee readiness operations secrets mono_ms config audit")
	self.limiter = rate_limit.per_minute(self.config.NONCE_RATE_LIMIT_PER_MINUTE, MAX_ADDRESSES)
	self.shared_limiter = rate_limit.per_minute(PER_MINUTE, 1)
	return setmetatable(self, Recovery)
end

return M
