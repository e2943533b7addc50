--- The master secrets that this node holds: the one in use, and spares that were or may come into use. A
-- single reading of the chain erases none (docs/protocol.md section 10): a spare stays until the chain has shown
-- another hash for an hour.

local needs = require("kms.base.needs")

local M = {}

local MasterSecrets = {}
MasterSecrets.__index = MasterSecrets

local SPARE_MS = 3600 * 1000 -- how long a spare stays under another hash
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

--- Loads the secrets that earlier runs saved. After it has succeeded, later calls do nothing.
-- @return true | nil, message
function MasterSecrets:recall()
	if self.recalled or not self.tee.load_masters then return true end
	local saved, message = self.tee:load_masters()
	if not saved then return nil, message end
	for i = #saved, 1, -1 do add_spare(self, saved[i], "generated") end
	self.saved, self.recalled = saved[1], true
	return true
end

-- Saves a secret for the next start, if the backend can. Returns true | nil, message.
local function save(self, secret)
	if not self.tee.save_master or (self.saved and self.saved:equals(secret)) then return true end
	local ok, message = self.tee:save_master(secret)
	if not ok then return nil, message end
	self.saved = secret
	return true
end

--- Puts a secret into use; the previous one becomes a spare.
-- @param state "generated", "synced" or "recovered"; @param from URL of the peer that gave it, or nil
-- @return true | nil, message: it could not be saved, and nothing has changed
function MasterSecrets:use(secret, state, from)
	local ok, message = save(self, secret)
	if not ok then return nil, message end
	local is_new = not self.current or not self.current:equals(secret)
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
	if is_new then self.on_use(secret, state, from) end
	return true
end

--- Puts the secret of a hash on chain into use.
-- @return true | false: this node does not hold it | nil, message: it could not be saved
function MasterSecrets:choose(hash)
	if self.current and self.current:keccak256() == hash then return self:use(self.current, self.state, self.from) end
	for _, spare in ipairs(self.spares) do
		if spare.hash == hash then return self:use(spare.secret, spare.state, spare.from) end
	end
	return false
end

--- Puts the secret into use whose hash a chain without one gets: the one in use, else one of an earlier run or of
-- the operator, else a new one.
-- @return true | nil, message
function MasterSecrets:publishable()
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

--- Whether this process made the secret in use: then no other node has records under it.
function MasterSecrets:is_fresh()
	return self.fresh ~= nil and self.current ~= nil and self.fresh:equals(self.current)
end

--- Drops the spares whose hash the chain has not shown for an hour.
-- @param hash the chain's, or nil when it has none
function MasterSecrets:age(hash, mono_ms)
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

--- @param deps tee; given: secret of MASTER_SECRET_HEX, or nil; on_use: function(secret, state, from) that
--   is called when another secret has come into use, or nil
-- @return secrets; its fields for others: current (handle in use, or nil), state ("uninitialized", "generated",
--   "synced" or "recovered"), from (URL of the peer that gave it, or nil)
function M.new(deps)
	local self = needs.take(deps, "tee", "given on_use")
	self.on_use = self.on_use or function() end
	self.spares, self.state = {}, "uninitialized"
	if self.given then add_spare(self, self.given, "generated") end
	self.given = nil
	return setmetatable(self, MasterSecrets)
end

return M
