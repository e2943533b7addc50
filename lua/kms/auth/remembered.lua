--- Remembers over a restart which wallets were authorised: after a restart their look-ups wait with those of known
-- wallets, not with those of strangers. The file holds hashes only, and decides nothing but that queue.

local files = require("kms.base.files")
local lru = require("kms.base.lru")
local native = require("kms_native")
local needs = require("kms.base.needs")
local on_pool = require("kms.async.on_pool")

local M = {}

local Remembered = {}
Remembered.__index = Remembered

local MAX_WALLETS = 10000
local HASH_BYTES = 16
local HEADER = "nova-kms authorised wallets 1\n"
local FOREVER = math.huge

local function hash(wallet)
	return native.sha256(wallet):sub(1, HASH_BYTES)
end

--- Whether a wallet was authorised, in this process or an earlier one.
function Remembered:has(wallet)
	return self.hashes:get(hash(wallet), 0) ~= nil
end

--- Remembers a wallet; beyond MAX_WALLETS the one that was used least recently is forgotten.
function Remembered:add(wallet)
	local key = hash(wallet)
	if self.hashes:get(key, 0) then return end
	self.hashes:put(key, true, FOREVER)
	self.changed = true
end

--- Forgets a wallet that the chain does not register any more.
function Remembered:remove(wallet)
	local key = hash(wallet)
	if not self.hashes:get(key, 0) then return end
	self.hashes:remove(key)
	self.changed = true
end

local function text_of(self)
	local parts = { HEADER }
	for key in pairs(self.hashes.entries) do parts[#parts + 1] = key end
	return table.concat(parts)
end

--- Writes the file where it has changed; yields. A failure is logged and tried again at the next call.
function Remembered:save()
	if not self.changed or self.saving then return end
	self.changed, self.saving = false, true
	local ok, message = files.replace(self.path, text_of(self), on_pool.call)
	self.saving = false
	if ok then return end
	self.changed = true
	self.log:limited("remembered", 600, "warn", "cannot save the authorised wallets", { reason = message })
end

-- Reads the file of an earlier process; one that is damaged counts as none.
local function load(self)
	local text = files.read(self.path, #HEADER + MAX_WALLETS * HASH_BYTES)
	if not text or text:sub(1, #HEADER) ~= HEADER or (#text - #HEADER) % HASH_BYTES ~= 0 then return end
	for at = #HEADER + 1, #text, HASH_BYTES do self.hashes:put(text:sub(at, at + HASH_BYTES - 1), true, FOREVER) end
end

--- @param deps path of the file; log
-- @return remembered
function M.new(deps)
	local self = setmetatable(needs.take(deps, "path log"), Remembered)
	self.hashes = lru.new(MAX_WALLETS)
	load(self)
	return self
end

return M
