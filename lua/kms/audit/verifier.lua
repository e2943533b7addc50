--- Checks the lines of an audit log, in their order: that each follows the one before, and what the node's wallet has
-- signed. Needs no node and no secret.
--
-- A signature counts for the lines of its own run only: what stands behind the last signature of a run that crashed
-- could be anybody's, although the next run chains it.

local native = require("kms_native")
local reader = require("kms.audit.reader")
local signed = require("kms.audit.signed")
local count = require("kms.base.text").count

local M = {}

local Verifier = {}
Verifier.__index = Verifier

local NO_HASH = ("0"):rep(64)
local MAX_NAMED = 16 -- wallets, and gaps, that are listed

-- ---- runs --------------------------------------------------------------------------------------------

local function begin_run(self, id, line)
	self.run = { id = id, first = line.seq, signed_plain = self.plain, signed_seq = line.seq - 1 }
	self.runs = self.runs + 1
end

-- What no signature of the run covers; signatures do not count.
local function end_run(self)
	local run = self.run
	if not run then return end
	self.run = nil
	local left = self.plain - run.signed_plain
	if left == 0 then return end
	-- Of all runs together: whoever can write the file can begin as many runs as he likes.
	self.unsigned = self.unsigned + left
	if #self.gaps == MAX_NAMED then return end
	self.gaps[#self.gaps + 1] = { first = run.signed_seq + 1, last = self.head.seq, lines = left }
end

-- ---- signatures --------------------------------------------------------------------------------------

local function is_text(value, pattern, length)
	return type(value) == "string" and #value == length and value:find(pattern) ~= nil
end

-- The hash of line `seq`, and how many lines that are no signatures there were up to it; nil: it is too far back.
local function known(self, seq)
	local slot = seq % signed.SPAN
	if self.ring_seq[slot] == seq then return self.ring_hash[slot], self.ring_plain[slot] end
end

local function check_signer(self, line)
	local wallet = native.address(tostring(line.wallet))
	if not wallet or not is_text(line.run, "^%x+$", 16) or not is_text(line.signed_hash, "^%x+$", 64) then
		return nil, "the signature is malformed"
	end
	local text = signed.text(line.wallet, line.run, line.signed_seq, line.signed_hash, line.time_ms)
	if native.signer(text, tostring(line.signature)) ~= wallet then return nil, "the signature is not the wallet's" end
	if next(self.expected) and not self.expected[wallet] then return nil, "is signed by " .. wallet end
	if not self.wallets[wallet] then
		self.wallets[wallet] = true
		if #self.wallets < MAX_NAMED then table.insert(self.wallets, wallet) end
	end
	return true
end

local function check_signature(self, line)
	line.signed_seq = type(line.signed_seq) == "number" and math.tointeger(line.signed_seq) or 0
	local ok, message = check_signer(self, line)
	if not ok then return nil, message end
	local run = self.run
	run.id = run.id or line.run
	if line.run ~= run.id then return nil, "the signature is of another run" end
	if line.signed_seq >= line.seq then return nil, "the signature is of a line that comes later" end
	if line.signed_seq < run.first then
		if run.is_whole then return nil, "the signature is of a line before its run" end
		return true -- of lines in an earlier file: it says nothing about those here
	end
	local hash, plain = known(self, line.signed_seq)
	if hash ~= line.signed_hash then return nil, "another line than the one here is signed" end
	self.signatures = self.signatures + 1
	run.signed_plain, run.signed_seq = math.max(run.signed_plain, plain), math.max(run.signed_seq, line.signed_seq)
	return true
end

-- ---- lines -------------------------------------------------------------------------------------------

-- Whether a line follows the one before. Returns true | nil, message.
local function check_place(self, line)
	local head = self.head
	if line.seq == 1 and line.prev == NO_HASH then
		end_run(self)
		self.chains = self.chains + 1
		return line.event == "start" or nil, "a chain begins with another line than a start"
	end
	if not head then
		self.begins_at = line.seq
		if line.event ~= "start" then begin_run(self, nil, line) end
		return true
	end
	if line.seq > head.seq + 1 then return nil, ("lines %d to %d are missing"):format(head.seq + 1, line.seq - 1) end
	if line.seq <= head.seq then return nil, ("line %d stands behind line %d"):format(line.seq, head.seq) end
	if line.prev ~= head.hash then return nil, "the line before it is not the one that was written" end
	return true
end

-- What a crash has left of a line, before a start.
local function check_torn(self, line)
	local torn = self.junk
	self.junk, self.junk_nuls = 0, 0
	if line.event ~= "start" then return torn == 0 or nil, "what stands before it is no line of an audit log" end
	if line.torn ~= torn then
		return nil, ("%s before it are no line, and it names another number"):format(count(torn, "byte"))
	end
	self.torn = self.torn + (torn > 0 and 1 or 0)
	if not is_text(line.run, "^%x+$", 16) then return nil, "the start is malformed" end
	end_run(self)
	begin_run(self, line.run, line)
	self.run.is_whole = true
	return true
end

local function remember(self, line, raw)
	local hash = native.hex_encode(native.sha256(raw))
	if line.event ~= "signature" then self.plain = self.plain + 1 end
	local slot = line.seq % signed.SPAN
	self.ring_seq[slot], self.ring_hash[slot], self.ring_plain[slot] = line.seq, hash, self.plain
	self.head, self.lines = { seq = line.seq, hash = hash, time_ms = line.time_ms }, self.lines + 1
	if line.event == "lost" then self.lost = self.lost + (math.tointeger(line.lines) or 0) end
end

-- How many bytes of a line are NUL, of which `left_out` are not in its text.
local function count_nuls(raw, left_out)
	return select(2, raw:gsub("\0", "")) + left_out
end

local function take(self, raw, left_out)
	local line = reader.parse(raw)
	if not line then
		self.junk = self.junk + #raw + left_out + 1
		self.junk_nuls = self.junk_nuls + count_nuls(raw, left_out)
		return true
	end
	local ok, message = check_place(self, line)
	if ok then ok, message = check_torn(self, line) end
	if ok and line.event == "signature" then ok, message = check_signature(self, line) end
	if not ok then return nil, message end
	remember(self, line, raw)
	return true
end

--- Checks the next file; its first line follows the last one of the file before.
-- @return true | nil, message, which names the first line that is wrong
function Verifier:file(path)
	self.junk, self.junk_nuls = 0, 0
	local junk_line
	local ok, message = reader.each(path, function(raw, number, is_whole, left_out)
		-- The next run, or the next file, has that line whole.
		if not is_whole then
			self.tail, self.tail_nuls = #raw + left_out, count_nuls(raw, left_out)
			return true
		end
		local fine, why = take(self, raw, left_out)
		junk_line = self.junk > 0 and (junk_line or number) or nil
		if fine then return true end
		return nil, ("line %d: %s"):format(number, why)
	end)
	if not ok then return nil, message end
	if self.junk == 0 then return true end
	local nuls = reader.nuls(self.junk_nuls)
	return nil, ("line %d: is no line of an audit log%s"):format(junk_line, nuls)
end

--- Ends the check.
-- @return { lines, chains, runs, first_seq, last_seq, last_hash, last_time_ms, signatures, wallets, unsigned, lost,
--   torn, gaps (list of { first, last, lines }: lines of a run that no signature covers), too_many (unsigned, where it
--   is more than max_unsigned, or nil), tail (bytes of an incomplete last line) }
function Verifier:result()
	end_run(self)
	local head = self.head or {}
	return {
		lines = self.lines, chains = self.chains, runs = self.runs, first_seq = self.begins_at or 1, last_seq = head.seq,
		last_hash = head.hash, last_time_ms = head.time_ms, signatures = self.signatures, wallets = self.wallets,
		unsigned = self.unsigned, lost = self.lost, torn = self.torn, gaps = self.gaps,
		too_many = self.unsigned > self.max_unsigned and self.unsigned or nil, tail = self.tail,
		tail_nuls = self.tail_nuls,
	}
end

--- @param options wallets: list of those that may have signed; empty: any; max_unsigned: lines that may have no
--   signature, in all runs together
function M.new(options)
	local expected = {}
	for _, wallet in ipairs(options.wallets) do expected[wallet] = true end
	return setmetatable({
		expected = expected, max_unsigned = options.max_unsigned, wallets = {}, gaps = {}, ring_seq = {}, ring_hash = {},
		ring_plain = {}, plain = 0, lines = 0, chains = 0, runs = 0, signatures = 0, unsigned = 0, lost = 0, torn = 0,
		junk = 0, junk_nuls = 0, tail = 0, tail_nuls = 0,
	}, Verifier)
end

return M
