--- The audit log of a node (docs/audit.md): which requests and events get a line, and what stands in it. A line never
-- holds a name, a value or a secret: names stand as hashes that C makes of them.

local err = require("kms.base.err")
local json = require("kms.base.json")
local loop = require("kms.base.loop")
local native = require("kms_native")
local needs = require("kms.base.needs")
local refusals = require("kms.audit.refusals")
local text = require("kms.base.text")
local writer = require("kms.audit.writer")

local M = {}

local Audit = {}
Audit.__index = Audit

local RUN_BYTES = 8
local REPORT_MS = 10000 -- between two reports of refusals without a line of their own
local MAX_WAITING = 4 << 20 -- bytes of lines that a failing disk keeps from their file
local NO_APP = "-" -- stands for all callers that are of no application
local INSTANCES = "instance/" -- and the application: stands for those of its instances that the chain keeps out

-- Operations whose results are key material, and those on records, which AUDIT_RECORDS adds.
local KEYS = { derive = true }
local RECORDS = { get = true, list = true, put = true, delete = true }
-- What an application learns about its records, or asks for by conditions, refuses it nothing.
local HARMLESS = { [404] = true, [412] = true }

-- Further members of a line as JSON without braces; nil: none.
local function members(fields)
	if not fields or not next(fields) then return nil end
	return json.encode(fields):sub(2, -2)
end

-- ---- lines -------------------------------------------------------------------------------------------

local function add(self, ...)
	local waiting, message = self.log_file:add(self.wall_ms(), ...)
	if waiting then self.writer:added(waiting) end
	return waiting and true or nil, message
end

--- Adds a line about an event.
-- @param event its name; @param fields further members: texts, integers, booleans; or nil
-- @return true | nil, message: it had no room, and is counted as lost
function Audit:event(event, fields)
	if not self.is_on then return true end
	return add(self, event, nil, nil, nil, nil, nil, nil, nil, nil, nil, members(fields))
end

-- Adds a line as far as there are not too many of its kind, which `key` names; counts it otherwise.
local function bounded(self, key, event, fields)
	if not self.is_on then return end
	if self.refusals:take(key) then return self:event(event, fields) end
	self:report_soon()
end

--- Adds a line about an event that anybody can cause, as far as there are not too many of them; counts it otherwise.
-- @param event its name; @param code why it was refused, or nil
function Audit:counted(event, code)
	bounded(self, event .. (code and "/" .. code or ""), event, { code = code })
end

--- The same about an event that a member can cause: members cannot use up each other's lines.
-- @param event its name; @param wallet the member's; @param fields as event() takes them
function Audit:of_member(event, wallet, fields)
	bounded(self, event .. "/" .. wallet, event, fields)
end

local function report(self)
	self.report_timer = nil
	for key, count in pairs(self.refusals:report()) do self:event("suppressed", { of = key, lines = count }) end
end

--- Has lines say, soon, how many refusals got none of their own.
function Audit:report_soon()
	self.report_timer = self.report_timer or loop.after(REPORT_MS, function() report(self) end)
end

-- Whose lines a refusal counts among. Strangers cannot use up those of an application or of a member, nor those of
-- instances that are registered; these, which may be in foreign hands, not those of the application's others.
local function counted_with(arrived, operation)
	if arrived.app_id or arrived.is_member then return arrived.app_id or arrived.wallet end
	if arrived.refused_app_id then return INSTANCES .. arrived.refused_app_id end
	return NO_APP .. operation
end

local function refused(self, arrived, reply, operation)
	if not self.refusals:take(counted_with(arrived, operation)) then return self:report_soon() end
	local code, status = err.wire(reply.code)
	add(self, "refused", arrived.wallet, arrived.app_id or arrived.refused_app_id, arrived.name_hash,
		arrived.context_hash, arrived.request:id(), operation, code, reply.status >= 400 and reply.status or status,
		arrived.rule and text.utf8(arrived.rule))
end

--- Adds the line about what a request, or an operation of a message, came to, where it gets one.
-- @param arrived kms.http.inbound; @param reply status, code
function Audit:outcome(arrived, reply)
	local route = self.is_on and arrived.wallet and arrived.route
	if not route then return end
	local name = arrived.operation_name or route.name
	if (reply.status >= 400 or reply.code) and not HARMLESS[reply.status] then
		return refused(self, arrived, reply, name)
	end
	if not self.wanted[name] then return end
	-- As add() does, without its extra call: this is what each request pays.
	local waiting = self.log_file:add(self.wall_ms(), name, arrived.wallet, arrived.app_id, arrived.name_hash,
		arrived.context_hash, arrived.request:id(), nil, reply.code and err.wire(reply.code) or nil, nil, nil,
		arrived.suspended_rule and members({ suspended_rule = arrived.suspended_rule }))
	if waiting then self.writer:added(waiting) end
end

--- The hashes of the names of an opened operation, where its line will have them.
-- @param opened native request, or operation of a message
-- @return hash of its path, key or prefix, hash of its context; each nil where there is none
function Audit:names(operation, app_id, opened)
	if self.wanted[operation] then return self.log_file:names(app_id, opened) end
end

-- ---- names -------------------------------------------------------------------------------------------

--- Hashes names under the key of this master secret from now on.
function Audit:use(secret)
	if not self.is_on then return end
	local ok, message = self.log_file:set_key(secret)
	if not ok then self.log:error("names in the audit log are not hashed, and left out", { reason = message }) end
end

--- The hash that stands for a name.
-- @param kind path, context, key or prefix; @param app_id text; @param sha256 of the name, 32 bytes
-- @return 32 digits | nil, message, code
function Audit:hash(kind, app_id, sha256)
	if not self.is_on then return nil, "AUDIT is off on this node", "ERR_BAD_REQUEST" end
	local hash, message, code = self.log_file:hash(app_id, kind, sha256)
	if code == "ERR_STATE" then return nil, "this node has no master secret yet", "ERR_NOT_READY" end
	return hash, message, code
end

-- ---- what the operator sees --------------------------------------------------------------------------

--- What GET /status shows.
function Audit:status()
	if not self.is_on then return { state = "off" } end
	local state, _, lost, waiting = self.writer.state, self.log_file:counts()
	return {
		state = self.writer:trouble() and "failing" or state.sequence > 0 and "ok" or "starting", lines = state.lines,
		lost_lines = lost, waiting_bytes = waiting, unsigned_lines = self.writer:unsigned(),
		signed_at_ms = self.writer.signed_ms,
	}
end

--- What the control socket shows beside that; nil: there is no log.
function Audit:details()
	if not self.is_on then return nil end
	local state = self.writer.state
	return {
		place = self.place, failure = self.writer:trouble(), sequence = state.sequence, hash = state.hash,
		file_bytes = state.file_bytes, run = self.run,
	}
end

-- ---- its life ----------------------------------------------------------------------------------------

--- Looks for the file at its path now: it may have been moved away.
function Audit:reopen()
	if self.is_on then self.writer:write() end
end

--- Ends the log of a node that stops; yields.
-- @param deadline_ms monotonic time
function Audit:close(deadline_ms)
	if not self.is_on then return end
	loop.close(self.report_timer)
	report(self)
	self:event("stop")
	self.writer:close(deadline_ms)
end

local function start_members(self)
	return members({
		run = self.run, version = native.version, wallet = self.tee.address, policy = self.policy_hash, format = 1,
	})
end

-- Returns true | nil, message.
local function open(self)
	local config = self.config
	self.place = config.AUDIT
	self.run = native.random_hex(RUN_BYTES)
	local message
	self.log_file, message = native.audit({
		path = config.AUDIT ~= "stdout" and config.AUDIT or nil, start = start_members(self), start_ms = self.wall_ms(),
		max_file = config.AUDIT_FILE_BYTES, max_waiting = MAX_WAITING,
	})
	if not self.log_file then return nil, message end
	self.refusals = refusals.new({ mono_ms = self.mono_ms })
	self.writer = writer.new({
		native = self.log_file, tee = self.tee, run = self.run, is_file = config.AUDIT ~= "stdout", log = self.log,
		wall_ms = self.wall_ms, mono_ms = self.mono_ms,
		add_signature = function(time_ms, fields)
			local wallet = fields.wallet
			fields.wallet = nil
			local waiting, failure = self.log_file:add(
				time_ms, "signature", wallet, nil, nil, nil, nil, nil, nil, nil, nil, members(fields))
			return waiting and true or nil, failure
		end,
	})
	self.writer:write()
	return true
end

--- @param deps config (AUDIT, AUDIT_FILE_BYTES, AUDIT_RECORDS); tee; log, wall_ms, mono_ms; policy_hash (of the
--   policies that the node starts with)
-- @return audit; its fields for others: is_on, writer (kms.audit.writer), refusals (kms.audit.refusals) | nil, message
function M.new(deps)
	local self = setmetatable(needs.take(deps, "config tee log wall_ms mono_ms policy_hash"), Audit)
	self.is_on, self.wanted = self.config.AUDIT ~= "off", {}
	if not self.is_on then return self end
	for name in pairs(KEYS) do self.wanted[name] = true end
	for name in pairs(self.config.AUDIT_RECORDS and RECORDS or {}) do self.wanted[name] = true end
	self.wanted.session = true
	local ok, message = open(self)
	if not ok then return nil, message end
	return self
end

return M
