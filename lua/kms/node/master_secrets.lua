--- The master secrets that this node holds: the one in use, and those that were in use or on their
-- way to be. None is erased because of one reading of the chain (docs/protocol.md section 10): what
-- lost a race or was superseded stays, unused, until the chain has shown another hash for an hour.

local M = {}

local Secrets = {}
Secrets.__index = Secrets

local SPARE_MS = 3600 * 1000
local MAX_SPARES = 16

local function is_held(self, secret)
	if self.current and self.current:equals(secret) then return true end
	for _, spare in ipairs(self.spares) do
		if spare.secret:equals(secret) then return true end
	end
	return false
end

local function add_spare(self, secret, state, from)
	if is_held(self, secret) then return end
	table.insert(self.spares, 1, { secret = secret, hash = secret:keccak256(), state = state, from = from })
	self.spares[MAX_SPARES + 1] = nil
end

--- Takes up what an earlier run kept. Again: nothing, unless that failed before.
-- @return true | nil, message
function Secrets:recall()
	if self.recalled or not self.tee.load_masters then return true end
	local kept, message = self.tee:load_masters()
	if not kept then return nil, message end
	for i = #kept, 1, -1 do add_spare(self, kept[i], "generated") end
	self.kept, self.recalled = kept[1], true
	return true
end

-- Puts a secret where the next start finds it, if this backend has such a place.
local function keep(self, secret)
	if not self.tee.save_master or (self.kept and self.kept:equals(secret)) then return true end
	local ok, message = self.tee:save_master(secret)
	if not ok then return nil, message end
	self.kept = secret
	return true
end

--- Puts a secret into use; the one before becomes a spare.
-- @param state "generated" or "synced"; @param from URL of the peer that gave it, or nil
-- @return true | nil, message: it could not be kept, nothing has changed
function Secrets:use(secret, state, from)
	local ok, message = keep(self, secret)
	if not ok then return nil, message end
	if self.current and not self.current:equals(secret) then
		local old, old_state, old_from = self.current, self.state, self.from
		self.current = nil
		add_spare(self, old, old_state, old_from)
	end
	for i, spare in ipairs(self.spares) do
		if spare.secret:equals(secret) then
			table.remove(self.spares, i)
			break
		end
	end
	self.current, self.state, self.from = secret, state, from
	return true
end

--- Puts the secret into use that a hash on chain belongs to, if it is held.
-- @return true | false | nil, message
function Secrets:choose(hash)
	if self.current and self.current:keccak256() == hash then return self:use(self.current, self.state, self.from) end
	for _, spare in ipairs(self.spares) do
		if spare.hash == hash then return self:use(spare.secret, spare.state, spare.from) end
	end
	return false
end

--- Puts the secret into use that a chain without a hash is to get: the one in use, one of an
-- earlier run or of the operator, else a new one.
-- @return true | nil, message
function Secrets:publishable()
	local secret, state, from = self.current, self.state, self.from
	if not secret and self.spares[1] then
		local spare = self.spares[1]
		secret, state, from = spare.secret, spare.state, spare.from
	end
	if secret then return self:use(secret, state, from) end
	local message
	secret, message = self.tee:random_secret()
	if not secret then return nil, message end
	self.fresh = secret
	return self:use(secret, "generated")
end

--- Whether the secret in use was made by this process: nobody else has anything under it.
function Secrets:is_fresh()
	return self.fresh ~= nil and self.current ~= nil and self.fresh:equals(self.current)
end

--- Lets go of spares that the chain has not shown for an hour.
-- @param hash what the chain shows now, nil where it shows none
function Secrets:age(hash, mono_ms)
	local left = {}
	for _, spare in ipairs(self.spares) do
		if not hash or spare.hash == hash then
			spare.since_ms = nil
		else
			spare.since_ms = spare.since_ms or mono_ms
		end
		if not spare.since_ms or mono_ms - spare.since_ms <= SPARE_MS then left[#left + 1] = spare end
	end
	self.spares = left
end

--- @param deps tee; given: secret of MASTER_SECRET_HEX, or nil
function M.new(deps)
	local self = setmetatable({ tee = deps.tee, spares = {}, state = "uninitialized" }, Secrets)
	if deps.given then add_spare(self, deps.given, "generated") end
	return self
end

return M
