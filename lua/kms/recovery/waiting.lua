--- A node that is a member, has no secret that fits the chain's hash, and finds no member that has it, takes shares
-- from custodians until `threshold` of one set give the secret (docs/protocol.md section 16). The key that shares are
-- sent to lives in this process only, as long as the node waits.

local challenges = require("kms.recovery.challenges")
local held_shares = require("kms.recovery.held_shares")
local json = require("kms.base.json")
local key_lock = require("kms.async.key_lock")
local native = require("kms_native")
local needs = require("kms.base.needs")

local M = {}

local Waiting = {}
Waiting.__index = Waiting

local MAX_WAITING = 32 -- custodians' requests that wait for the one before
local HASH_DIGITS = 48 -- of the secret's hash in a share
local FAILED_PER_MINUTE = 60 -- wrong proofs, of all clients together
local LOCK = "shares"

local NOT_WAITING = "this node takes no shares: it does not wait for custodians"
local UNFIT = "the shares do not fit together: at least one is wrong, and one more custodian's share tells which"

local function names_of(set, list)
	local names = {}
	for i, x in ipairs(list) do names[i] = set.custodians[x].name end
	return names
end

-- Wipes all shares, and starts anew with none.
local function drop_shares(self)
	self.held:drop_all()
	self.misfits, self.problem = {}, nil
end

-- ---- waiting -----------------------------------------------------------------------------------------

-- Returns true | nil, message.
local function open(self, hash)
	local key, message = native.recovery_key()
	if not key then return nil, message end
	local made
	made, message = challenges.new({ sets = self.sets, tee = self.tee, wall_ms = self.wall_ms })
	if not made then return nil, message end
	self.key, self.challenges, self.hash = key, made, hash
	drop_shares(self)
	self.log:warn("waiting for custodians", { set = self.sets[1].id, need = self.sets[1].threshold,
		recovery_key = key:recipient() })
	return true
end

--- To be called at each tick that finds no fitting secret anywhere.
-- @param hash of the secret, as on chain
-- @return why the node does not serve | nil, message: it cannot wait
function Waiting:wait(hash)
	if self.key and self.hash ~= hash then self:stop() end
	if not self.key then
		local ok, message = open(self, hash)
		if not ok then return nil, message end
	end
	self.held:drop_old(self.mono_ms())
	self.is_open, self.asked = true, true
	local have, need = self.held:progress()
	return ("waiting for custodians (%d of %d)"):format(have, need)
end

local function drop_found(self)
	if self.found then self.found:close() end
	self.found = nil
end

--- The secret of a hash, when custodians have given it; the caller's from then on. One of another hash is wiped.
function Waiting:take(hash)
	local secret = self.found
	if not secret then return nil end
	if secret:keccak256() ~= hash then return drop_found(self) end
	self.found = nil
	return secret
end

--- Takes back a secret that could not be put into use, for the next take(): its shares are gone.
function Waiting:keep(secret)
	self.found = secret
end

--- Takes no shares, and wipes what is here.
function Waiting:stop()
	self.is_open = false
	if not self.key then return end
	drop_shares(self)
	self.key:close()
	self.challenges:close()
	self.key, self.challenges = nil, nil
end

--- To be called after each tick of the node.
-- @param is_verified  whether the chain confirmed the node: then a tick that did not call wait() has found a secret
function Waiting:after_tick(is_verified)
	local asked = self.asked
	self.asked = false
	if asked then return end
	self.held:drop_old(self.mono_ms())
	-- What the chain does not show for a moment costs custodians no share: those that are here stay.
	self.is_open = false
	if not is_verified then return end
	self:stop()
	drop_found(self)
end

--- The age recipient that takes shares, or nil.
function Waiting:recipient()
	return self.is_open and self.key and self.key:recipient() or nil
end

--- For GET /recovery: { have, need, set, given (names), problem } or nil.
function Waiting:status()
	if not self:recipient() then return nil end
	local have, need, set = self.held:progress()
	return { have = have, need = need, set = set.id, given = json.list(names_of(set, self.held:places(set))),
		problem = self.problem }
end

--- The challenge to a custodian (kms.recovery.challenges).
-- @param x its number; @param set_id  of an earlier set (64 digits), or nil
-- @return age file | nil, message, code
function Waiting:challenge(x, set_id)
	if not self:recipient() then return nil, NOT_WAITING, "ERR_NOT_WAITING" end
	return self.challenges:file(x, set_id)
end

-- ---- shares ------------------------------------------------------------------------------------------

-- Returns true | nil, message, code.
local function check_head(self, head, set, x)
	if head.set ~= native.hex_encode(set.short_id) or head.threshold ~= set.threshold
		or head.count ~= #set.custodians then
		return nil, "the share is of another set of custodians", "ERR_SHARE_SET"
	end
	if head.x ~= x then return nil, "the share is another custodian's", "ERR_SHARE_PLACE" end
	if head.hash ~= self.hash:sub(3, 2 + HASH_DIGITS) then
		return nil, "the share is of another master secret than the one on chain", "ERR_SHARE_SECRET"
	end
	return true
end

-- Puts the shares of a set together. Yields. Returns whether they gave the secret | nil, message, code.
local function combine(self, set)
	local shares, hash = self.held:shares(set), self.hash
	local secret, wrong, code = native.recovery_combine(shares, set.threshold, native.hex_decode(hash))
	if not secret and code == "ERR_SHARES" then
		self.problem = UNFIT
		self.log:error("custodians' shares do not fit together", { set = set.id, shares = #shares })
		return false
	end
	if not secret then return nil, wrong, code end
	-- Meanwhile a member may have given the secret, or the chain may show another hash.
	if self.hash ~= hash or not self.key then
		secret:close()
		return nil, NOT_WAITING, "ERR_NOT_WAITING"
	end
	local names = names_of(set, wrong)
	for _, name in ipairs(names) do self.log:error("a custodian's share does not fit", { custodian = name }) end
	self.audit:event("recovered", { set = set.id, shares = #shares, misfits = table.concat(names, " ") })
	self.log:info("the master secret is recovered", { set = set.id, shares = #shares, misfits = #names })
	self:stop()
	self.found, self.misfits = secret, names
	return true
end

local function reply_of(self, set, complete, have)
	return { have = have, need = set.threshold, complete = complete, misfits = json.list(self.misfits),
		problem = self.problem }
end

-- With the lock. Returns { have, need, complete, misfits, problem } | nil, message, code.
local function accept(self, set, x, body)
	if not self:recipient() then return nil, NOT_WAITING, "ERR_NOT_WAITING" end
	-- Who overheard a request can repeat it for as long as its proof counts: that must not cost a search each time.
	if self.held:came_in(set, x, body) then return reply_of(self, set, false, #self.held:places(set)) end
	local share, message, code = self.key:open_share(body)
	if not share then return nil, message, code end
	local ok
	ok, message, code = check_head(self, share:head(), set, x)
	if not ok then
		share:close()
		return nil, message, code
	end
	self.held:put(set, x, share, body, self.mono_ms())
	self.problem = nil
	self.log:info("a custodian has given its share", { custodian = set.custodians[x].name, set = set.id })
	self.audit:event("share", { custodian = set.custodians[x].name, set = set.id, x = x })
	local have, complete = #self.held:places(set), false
	if have >= set.threshold then complete, message, code = combine(self, set) end
	if complete == nil then return nil, message, code end
	return reply_of(self, set, complete, have)
end

--- Takes a custodian's share. Yields.
-- @param proof  X-KMS-Recovery: "<x>:<64 digits>"; @param body  age file to this node's key
-- @return { have, need, complete, misfits, problem } | nil, message, code, seconds to wait (with ERR_RATE)
function Waiting:give(proof, body)
	if not self:recipient() then return nil, NOT_WAITING, "ERR_NOT_WAITING" end
	local x, digits = (proof or ""):match("^(%d%d?):(%x+)$")
	x = math.tointeger(tonumber(x or 0))
	local mac = digits and #digits == 64 and native.hex_decode(digits)
	local set = mac and x >= 1 and self.challenges:answered(x, mac, body)
	if not set then
		local ok, wait_s = self.limiter:take("failed", self.mono_ms())
		if not ok then return nil, "too many wrong proofs", "ERR_RATE", wait_s end
		return nil, "X-KMS-Recovery is missing or wrong: ask for a challenge again, it counts for an hour", "ERR_CUSTODIAN"
	end
	local locked, result, message, code = self.lock:with(LOCK, accept, self, set, x, body)
	if not locked then return nil, "too many shares at once", "ERR_BUSY" end
	return result, message, code
end

--- @param deps sets (kms.recovery.custodians); tee; log, wall_ms, mono_ms; audit (kms.audit)
-- @return waiting; its field for others: misfits (names of custodians whose shares did not fit)
function M.new(deps)
	local self = setmetatable(needs.take(deps, "sets tee log wall_ms mono_ms audit"), Waiting)
	self.held, self.misfits, self.is_open = held_shares.new(self.sets), {}, false
	self.lock = key_lock.new(MAX_WAITING)
	self.limiter = assert(native.limiter(FAILED_PER_MINUTE, FAILED_PER_MINUTE, 1))
	return self
end

return M
