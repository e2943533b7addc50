--- Decides about operations of applications, whatever carries them: a request of its own (kms.routes.app) or a message
-- of a session (kms.routes.session). Here are the checks, limits and waits; how an operation is authenticated, opened,
-- executed and sealed is the envelope's business.

local err = require("kms.base.err")
local key_lock = require("kms.async.key_lock")
local lru = require("kms.base.lru")
local needs = require("kms.base.needs")
local rate_limit = require("kms.base.rate_limit")

local M = {}

local Operations = {}
Operations.__index = Operations

--- The operations that change records.
Operations.CHANGES = { put = true, delete = true }

-- A listing costs as much as thousands of other requests, so an application has one at a time on the pool.
local WAITING_LISTINGS = 32
local AFTER_A_TICK = { ["Retry-After"] = 5 } -- when a node that is not well looks at the chain again
local NEW_CHANNELS_PER_MINUTE = 60 -- of an application: each costs an ECDH
local TURN_MS, MAX_TURNS = 60000, 10000 -- how long a key keeps its turn

--- The reply of a node that does not serve applications, or nil.
function Operations:not_ready()
	if self.readiness.ready then return nil end
	return err.reply("ERR_NOT_READY", self.readiness.reason)
end

--- Whether an envelope of this caller may be opened now.
-- @param caller app_id, point
-- @return true | nil, message, code
function Operations:may_open_channel(caller, mono_ms)
	-- A key takes its turn once: a reply without a body, as to a missing record, opens no channel.
	local point, has_turn = caller.point, self.channel_turns:get(caller.point, mono_ms)
	if self.tee:has_channel(self.service, point) then
		if has_turn then self.channel_turns:remove(point) end
		return true
	end
	if has_turn then return true end
	if not self.channel_limiter:take("c" .. caller.app_id, mono_ms) then
		return nil, "too many new keys of this application", "ERR_RATE"
	end
	self.channel_turns:put(point, true, mono_ms + TURN_MS)
	return true
end

--- Asks the policies about an authorized request, before it is opened.
-- @param inbound kms.http.inbound; @param caller kms.auth.authenticate
-- @return nil to go on, or the reply that refuses it
function Operations:admit(inbound, operation, caller)
	return self.gateway:request(inbound, operation, caller)
end

--- The reply to a write while this node makes none, or nil.
function Operations:unwritable()
	if self.clock_check.reason then return err.reply("ERR_CLOCK", self.clock_check.reason, AFTER_A_TICK) end
	local message, wait_s = self.readiness:writes_wait()
	return message and err.reply("ERR_NOT_READY", message, { ["Retry-After"] = wait_s })
end

--- Decides about an opened operation.
-- @param opened native request, or operation of a message: path, context, key, numbers
-- @return nil: it may be executed now, or the reply that refuses it
function Operations:refusal(inbound, operation, caller, opened)
	if not self.readiness.ready then return self:not_ready() end
	local refused = self.CHANGES[operation] and self:unwritable()
	if refused then return refused end
	if self.log:enabled("info") then inbound.name = opened:path() or opened:key() end
	inbound.operation_name = operation
	inbound.name_hash, inbound.context_hash = self.audit:names(operation, caller.app_id, opened)
	refused = self.gateway:opened(inbound, operation, caller, opened)
	if refused then return refused end
	local too_large = operation == "put" and self.refuse_value(opened)
	return too_large and err.reply("ERR_TOO_LARGE", too_large) or nil
end

--- Calls fn(...) when no other listing of the application runs; yields.
-- @return what fn returns | nil, message, "ERR_RATE"
function Operations:list_in_turn(app_id, fn, ...)
	local results = table.pack(self.listings:with(app_id, fn, ...))
	if results[1] then return table.unpack(results, 2, results.n) end
	return nil, "too many listings of this application wait", "ERR_RATE"
end

--- Whether writes wait for other members, and say how many hold them.
function Operations:counts_copies()
	return self.awaits_copies
end

--- To be called before records are changed.
-- @return what wrote() has to know of it, or nil where nobody counts copies
function Operations:begin_write()
	if self.awaits_copies then return self.copies:begin() end
end

--- To be called once records were changed: starts to push them, and waits for copies where they are counted; yields.
-- @param write of begin_write
-- @return how many members hold them, or nil where nobody counts | nil, message, code: too few do
function Operations:wrote(write)
	self.on_change()
	if not write then return nil end
	return self.copies:wait(write)
end

--- The reply to an operation that failed when it was executed: says what the client can do.
function Operations:failure(operation, message, code)
	if operation == "list" and code == "ERR_TOO_LARGE" then
		message = ("the keys take more than %d bytes: ask for pages with ?limit= and, from the second one on, ?after= the "
			.. "last page's next"):format(self.config.MAX_LIST_BYTES)
	end
	return err.reply(code, message)
end

--- @param deps service (native), tee, gateway (kms.policy.gateway), readiness (ready, reason, writes_wait), log; config
-- (MAX_NAMESPACES, MAX_LIST_BYTES, WRITE_COPIES); on_change (called after a record was changed); copies
-- (kms.sync.copies); refuse_value (function(request) -> why members cannot take it, or nil); clock_check
-- (kms.node.clock_check: reason); audit (kms.audit)
function M.new(deps)
	local self = needs.take(deps,
		"service tee gateway readiness log config on_change copies refuse_value clock_check audit")
	self.awaits_copies = self.config.WRITE_COPIES > 1
	self.listings, self.channel_turns = key_lock.new(WAITING_LISTINGS), lru.new(MAX_TURNS)
	self.channel_limiter = rate_limit.per_minute(NEW_CHANNELS_PER_MINUTE, self.config.MAX_NAMESPACES)
	return setmetatable(self, Operations)
end

return M
