--- Rehearsals: a custodian proves that it can open its share, and when it last did is known to all members. The times
-- are the stamps of records of the node's own application, which are replicated as every record is.

local native = require("kms_native")
local needs = require("kms.base.needs")

local M = {}

local Rehearsals = {}
Rehearsals.__index = Rehearsals

local LONGEST_AHEAD_MS = 3600000 -- of a time that another member noted; beyond it the time does not count

local function record_key(set, x)
	return ("recovery-checked/%s/%d"):format(set.id, x)
end

-- When the record says that custodian x showed its share, or nil.
local function read_time(self, x)
	local now = self.wall_ms()
	local time_ms = native.recovery_noted(self.store, self.config.KMS_APP_ID, record_key(self.set, x), now)
	return time_ms and time_ms <= now + LONGEST_AHEAD_MS and time_ms or nil
end

--- Reads the times from the store; `times` has them then.
function Rehearsals:refresh()
	if not self.readiness.ready then return end
	for x in ipairs(self.set.custodians) do self.times[x] = read_time(self, x) or self.times[x] end
end

--- Checks a custodian's proof, and notes the time when it is right.
-- @param claim { nonce, proof (hex), set (id), x }, as POST /recovery/check takes them, types checked
-- @return custodian's name, time (Unix ms) | nil, message, code
function Rehearsals:check(claim)
	local set = self.set
	if claim.set ~= set.id then return nil, "the share is of another set of custodians", "ERR_SHARE_SET" end
	local custodian = set.custodians[claim.x]
	if not custodian then return nil, "the set has no custodian of this number", "ERR_SHARE_PLACE" end
	local ok, message, code = self.native_nonces:consume(claim.nonce, self.mono_ms() // 1000)
	if not ok then return nil, message, code end
	local proof = native.hex_decode(claim.proof)
	if not proof or #proof ~= 32 then return nil, "proof: not 64 hexadecimal digits", "ERR_HEX" end
	ok, message, code = native.recovery_proves(self.secrets.current, set.native, claim.x,
		claim.nonce .. self.tee.address, proof)
	if ok == nil then return nil, message, code end
	if not ok then return nil, "the proof is not what this custodian's share makes", "ERR_CUSTODIAN" end
	local time_ms
	time_ms, message, code = native.recovery_note(self.store, self.secrets.current, self.config.KMS_APP_ID,
		record_key(set, claim.x), self.wall_ms())
	if not time_ms then return nil, message, code end
	self.times[claim.x] = time_ms
	self.on_change()
	self.log:info("a custodian has shown its share", { custodian = custodian.name })
	return custodian.name, time_ms
end

--- @param deps set (kms.recovery.custodians: the one in force); secrets (field current); store, native_nonces
--   (native); tee; readiness (field ready); config (KMS_APP_ID); on_change (called after a record was changed); log,
--   wall_ms, mono_ms
-- @return rehearsals; its field for others: times (by x: Unix ms, or nil)
function M.new(deps)
	local self = setmetatable(needs.take(deps,
		"set secrets store native_nonces tee readiness config on_change log wall_ms mono_ms"), Rehearsals)
	self.times = {}
	return self
end

return M
