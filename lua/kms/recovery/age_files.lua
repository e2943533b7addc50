--- The age files with the custodians' shares of the secret in use. They are ciphertext: anyone may have them. Made once
-- a day, for each secret.

local json = require("kms.base.json")
local native = require("kms_native")
local needs = require("kms.base.needs")
local single_flight = require("kms.async.single_flight")

local M = {}

local AgeFiles = {}
AgeFiles.__index = AgeFiles

local DAY_MS = 86400000

-- Returns made | nil, message, code.
local function make(self, secret, hash, day)
	local recipients = {}
	for x, custodian in ipairs(self.set.custodians) do recipients[x] = custodian.recipient end
	local files, message, code = native.recovery_files(secret, self.set.native, recipients, day)
	if not files then return nil, message, code end
	local shares = {}
	for x, custodian in ipairs(self.set.custodians) do
		shares[x] = { x = x, name = custodian.name, key = custodian.key, file = files[x] }
	end
	self.made = {
		hash = hash, day = day, shares = shares,
		body = json.encode({ set = self.set.id, threshold = self.set.threshold, secret_hash = hash, shares = shares }),
	}
	return self.made
end

--- The files of today. Yields.
-- @return { hash (of the secret), shares (list of { x, name, key, file }), body (all of it as JSON) } |
--   nil, message, code
function AgeFiles:today()
	local secret, day = self.secrets.current, self.wall_ms() // DAY_MS
	if not secret then return nil, "this node has no master secret", "ERR_NOT_READY" end
	local hash, made = secret:keccak256(), self.made
	if made and made.hash == hash and made.day == day then return made end
	return self.flights:with(hash .. day, make, self, secret, hash, day)
end

--- @param deps set (kms.recovery.custodians); secrets (field current); wall_ms
function M.new(deps)
	local self = setmetatable(needs.take(deps, "set secrets wall_ms"), AgeFiles)
	self.flights = single_flight.new()
	return self
end

return M
