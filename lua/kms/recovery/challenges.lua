--- Challenges to custodians: who answers one has the key of the custodian that it was made for (docs/protocol.md
-- section 16). They count for this hour and the next one.

local native = require("kms_native")
local needs = require("kms.base.needs")

local M = {}

local Challenges = {}
Challenges.__index = Challenges

local HOUR_MS = 3600000
local SECRET_BYTES = 32

local function hour_of(self)
	return self.wall_ms() // HOUR_MS
end

-- An earlier set's challenges are others than those of the set in force, which has other custodians.
local function own_id(self, set)
	return set ~= self.sets[1] and set.native.id or nil
end

local function find_set(self, id)
	if not id then return self.sets[1] end
	for _, set in ipairs(self.sets) do
		if set.id == id then return set end
	end
	return nil
end

--- The challenge to a custodian: an age file, made once an hour.
-- @param x its number; @param set_id  of an earlier set (64 digits), or nil
-- @return age file | nil, message, code
function Challenges:file(x, set_id)
	local set = find_set(self, set_id)
	if not set then return nil, "this node has no such set of custodians", "ERR_SHARE_SET" end
	local custodian = set.custodians[x]
	if not custodian then return nil, "the set has no custodian of this number", "ERR_SHARE_PLACE" end
	local hour, name = hour_of(self), set.id .. x
	local kept = self.files[name]
	if kept and kept.hour == hour then return kept.file end
	local file, message, code = native.recovery_challenge(self.secret, self.tee.address, x, hour, own_id(self, set),
		custodian.recipient)
	if not file then return nil, message, code end
	self.files[name] = { hour = hour, file = file }
	return file
end

-- Whether custodian x of a set answered its challenge of this hour or the last one.
local function answers(self, set, x, mac, body)
	local hour, id = hour_of(self), own_id(self, set)
	return native.recovery_answers(self.secret, x, hour, id, body, mac)
		or native.recovery_answers(self.secret, x, hour - 1, id, body, mac)
end

--- The set whose custodian x answered its challenge, for this body.
-- @param mac  32 bytes
-- @return set | nil
function Challenges:answered(x, mac, body)
	for _, set in ipairs(self.sets) do
		if set.custodians[x] and answers(self, set, x, mac, body) then return set end
	end
	return nil
end

--- Wipes the secret that challenges are made of: none counts any more.
function Challenges:close()
	self.secret:close()
	self.files = {}
end

--- @param deps sets (kms.recovery.custodians); tee; wall_ms
-- @return challenges | nil, message, code
function M.new(deps)
	local self = setmetatable(needs.take(deps, "sets tee wall_ms"), Challenges)
	local secret, message, code = native.secret_random(SECRET_BYTES)
	if not secret then return nil, message, code end
	self.secret, self.files = secret, {}
	return self
end

return M
