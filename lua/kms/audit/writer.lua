--- Writes an audit log in batches and has the node's wallet sign it. Nothing here holds a request up: what cannot be
-- written waits in memory, and what cannot wait is counted (csrc/audit).

local loop = require("kms.base.loop")
local needs = require("kms.base.needs")
local signed = require("kms.audit.signed")

local M = {}

local Writer = {}
Writer.__index = Writer

local BATCH_MS = 200 -- from a line to its file
local BATCH_BYTES = 65536 -- of lines that are not waited for
local RETRY_MS = 1000 -- after a failure
local SIGN_LINES, SIGN_MS = 1000, 10000 -- the most that is unsigned
local CLOSE_POLL_MS = 10
local HUNG_MS = 10000 -- after which a disk that does not answer counts as failing

local REASONS = {
	ERR_FILE_FORMAT = "the file holds something else, or the lines of another log: move it away",
	ERR_FILE_MODE = "the file belongs to another user, may be written by others, or is no regular file",
}

-- ---- state -------------------------------------------------------------------------------------------

local function reason_of(self, message, code)
	if code == "ERR_BUSY" then
		return self.is_file and "another process writes the file" or "the reader of standard output does not read"
	end
	return REASONS[code] or message
end

-- One line in the log for each change.
local function set_failure(self, failure)
	if failure == self.failure then return end
	self.failure = failure
	if failure then
		self.failures = self.failures + 1
		return self.log:error("the audit log is not written", { reason = failure })
	end
	self.log:info("the audit log is written again")
end

local function note_rotation(self, code)
	if code == self.rotation_error then return end
	self.rotation_error = code
	if code ~= 0 then self.log:error("the audit log's file cannot be moved aside, and grows on", { errno = code }) end
end

--- Why nothing is written now, or nil.
function Writer:trouble()
	if self.failure or not self.writing then return self.failure end
	local hung_ms = self.mono_ms() - self.began_ms
	return hung_ms >= HUNG_MS and "the disk has not answered for some time" or nil
end

--- Lines in the file that no signature covers; signatures do not count.
function Writer:unsigned()
	return math.max(0, self.state.lines - self.signature_lines - self.covered)
end

-- ---- signing -----------------------------------------------------------------------------------------

-- Adds a signature of what is in the file; yields. Returns whether it did.
local function sign(self)
	local state, wallet = self.state, self.tee.address
	if not wallet or self:unsigned() == 0 then return false end
	local time_ms, covered = self.wall_ms(), state.lines - self.signature_lines
	local signature, message = self.tee:sign(signed.text(wallet, self.run, state.sequence, state.hash, time_ms))
	if signature and self.state.lines - state.lines > signed.SPAN then
		signature, message = nil, "the signature came too late"
	end
	if signature then
		signature, message = self.add_signature(time_ms, {
			wallet = wallet, signed_seq = state.sequence, signed_hash = state.hash, signature = signature, run = self.run,
		})
	end
	if not signature then
		self.signatures.failed = self.signatures.failed + 1
		self.log:limited("audit signature", 60, "error", "the audit log is not signed", { reason = message })
		return false
	end
	self.signature_lines, self.covered, self.signed_ms = self.signature_lines + 1, covered, time_ms
	self.signatures.ok = self.signatures.ok + 1
	return true
end

local function sign_and_write(self)
	self.sign_timer = nil
	if self.signing then return end
	self.signing = true
	local _, added = loop.try(sign, self)
	self.signing = false
	if added then self.sync = true end
	if added then return self:write() end
	self:sign_in(SIGN_MS)
end

--- Signs after that many milliseconds, unless that is due earlier anyway.
function Writer:sign_in(ms)
	if self.sign_timer or self.signing or self.closed or self:unsigned() == 0 then return end
	self.sign_timer = loop.after(ms, function() loop.spawn(sign_and_write, self) end)
end

-- ---- writing -----------------------------------------------------------------------------------------

local function after_write(self)
	if self.failure then return self:write_in(RETRY_MS) end
	local _, _, waiting = self.native:counts()
	if waiting > 0 then self:write_in(waiting >= BATCH_BYTES and 0 or BATCH_MS) end
	if self:unsigned() < SIGN_LINES or self.signing then return self:sign_in(SIGN_MS) end
	loop.close(self.sign_timer)
	sign_and_write(self)
end

local function write(self)
	local sync = self.sync
	local state, _, message, code = self.native:write(self.wall_ms(), sync)
	self.state, self.writing = state, false
	if not code and sync then self.sync = false end
	set_failure(self, code and reason_of(self, message, code) or nil)
	note_rotation(self, state.rotation_error)
	if not self.closed then after_write(self) end
end

--- Writes what waits now, unless that is being done.
function Writer:write()
	if self.writing then return end
	loop.close(self.timer)
	self.timer, self.writing, self.began_ms = nil, true, self.mono_ms()
	loop.spawn(write, self)
end

--- Writes what waits after that many milliseconds, unless that is due anyway.
function Writer:write_in(ms)
	if self.timer or self.writing then return end
	self.timer = loop.after(ms, function()
		self.timer = nil
		self:write()
	end)
end

--- To be called when a line was added.
-- @param waiting bytes that wait
function Writer:added(waiting)
	if waiting < BATCH_BYTES and self.timer or self.failure or self.writing then return end
	if waiting >= BATCH_BYTES then return self:write() end
	self:write_in(BATCH_MS)
end

-- Writes until nothing waits or it fails; yields.
local function write_out(self, deadline_ms)
	repeat
		self:write()
		while self.writing and self.mono_ms() < deadline_ms do loop.sleep(CLOSE_POLL_MS) end
		local _, _, waiting = self.native:counts()
	until waiting == 0 or self.failure or self.mono_ms() >= deadline_ms
	return not self.failure and not self.writing
end

--- Writes and signs what there is, on a node that stops; yields.
-- @param deadline_ms monotonic time
function Writer:close(deadline_ms)
	self.closed = true
	while self.writing and self.mono_ms() < deadline_ms do loop.sleep(CLOSE_POLL_MS) end
	if write_out(self, deadline_ms) and not self.signing and sign(self) then
		self.sync = true
		write_out(self, deadline_ms)
	end
	loop.close(self.timer)
	loop.close(self.sign_timer)
end

--- @param deps native (native.audit); tee (address, sign); run; is_file; add_signature (function(time_ms, members) ->
--   true | nil, message); log, wall_ms, mono_ms
-- @return writer; its fields for others: state (of native.audit's write), failures (how often it began not to be
--   written), signatures ({ ok, failed }), signed_ms (time of the last one, or nil)
function M.new(deps)
	local self = setmetatable(needs.take(deps, "native tee run is_file add_signature log wall_ms mono_ms"), Writer)
	self.state = { sequence = 0, hash = ("0"):rep(64), lines = 0, bytes = 0, file_bytes = 0, rotation_error = 0 }
	self.writing, self.signing, self.sync, self.closed = false, false, false, false
	self.signature_lines, self.covered, self.failures, self.rotation_error = 0, 0, 0, 0
	self.signatures = { ok = 0, failed = 0 }
	return self
end

return M
