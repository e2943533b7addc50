--- Pages of what a member holds, for a node that joins (docs/protocol.md section 9.3).

local native = require("kms_native")
local needs = require("kms.base.needs")
local record_counts = require("kms.sync.record_counts")

local M = {}

local Pages = {}
Pages.__index = Pages

local PAGE_BYTES = 2 << 20
local PAGE_SHARE = 4 -- a page is at most this part of MAX_SNAPSHOT_BYTES
local PAGE_MS, STALL_S = 120000, 10 -- the longest that the first page may take, and without a byte
local PROBE_MS = 30000 -- the longest that the answer may take that has no records
local LEAST_MS = 10000 -- that any other page may take, however late it is
local MIN_BYTES_PER_S = 65536 -- a member that is slower for long is left for the next round
local DOUBTFUL = { "total", "rejected", "poisoned", "future" }
local BEYOND = math.maxinteger -- `since` that asks only for the newest number

--- Asks for a page.
-- @param since number of the last change that is merged; nil: only the member's newest number is asked for
-- @param timeout_ms the longest that it may take; nil: PROBE_MS
-- @return { last (number), sequence (the member's newest number), complete, response, bytes } | nil, message, code
function Pages:ask(peer, secret, since, timeout_ms)
	since = since or BEYOND
	local response, message, code, bytes = self.exchange:call(peer, function(proof)
		return native.text_body(self.writer:page_request(proof, since, self.page_bytes))
	end, { master = secret, timeout_ms = timeout_ms or PROBE_MS, stall_s = STALL_S, max_bytes = self.max_body_bytes })
	if not response then return nil, message, code end
	local last, sequence = response:number("until"), response:number("sequence")
	if not response:flag("data") or not last or not sequence then
		return nil, (self.exchange:distrust(peer, "a page without its numbers")), "ERR_RECORD"
	end
	-- Every page must lead on, or a member could ask for this node's time without end.
	if since < sequence and (last <= since or last > sequence) then
		return nil, "a page that is out of order", "ERR_RECORD"
	end
	return { last = last, sequence = sequence, complete = response:flag("complete") == true, response = response,
		bytes = bytes or 0 }
end

-- Merges the records of a page. Returns true | nil, message, code.
local function merge(self, peer, page, secret, state)
	local ok, failure, failure_code = self.accept(page.response, peer)
	if not ok then return nil, failure, failure_code end
	if self.peers:understands(peer, "fingerprint") then page.response:set_settles() end
	local counts, message, code = page.response:apply(self.store, secret, peer.number, self.clock:now())
	if not counts then return nil, message, code end
	record_counts.add(self.counts, counts)
	for _, name in ipairs(DOUBTFUL) do state.counts[name] = (state.counts[name] or 0) + (counts[name] or 0) end
	return true
end

-- Records under another secret, or of another time, are not what the cluster holds.
local function is_plausible(counts)
	return counts.poisoned + counts.future == 0 or counts.rejected < counts.total
end

-- Whether records wait for this node's clock to reach their time. Where it was set back at a restart, they are the
-- newest ones, this node's own among them; after ahead_ms only a member that lies has any.
local function is_ahead(self, state)
	return state.counts.future > 0 and self.mono_ms() - self.started_ms < self.ahead_ms
end

-- How long a page may take.
local function time_left(self, state)
	return math.min(PAGE_MS, math.max(LEAST_MS, state.end_ms - self.mono_ms()))
end

--- Merges what a member has from state.since on, up to its newest change when the last page was made: a record that
-- changes before its page is made comes in none of the pages up to an earlier change.
-- @param state fills (whether no other member has given its records), since (number), counts (of its records: total,
--   rejected, and of these poisoned and future), end_ms (when the visit ends; each page moves it by the time that its
--   bytes take at MIN_BYTES_PER_S), and progress, which this sets once a page is merged
-- @return whether the member is complete | nil, message, code
function Pages:take(peer, secret, state)
	local store, timeout_ms = peer.store, state.fills and PAGE_MS or time_left(self, state)
	repeat
		local page, message, code = self:ask(peer, secret, state.since, timeout_ms)
		if not page then return nil, message, code end
		if peer.store ~= store then return nil, "the member has restarted", "ERR_STATE" end
		local ok
		ok, message, code = merge(self, peer, page, secret, state)
		if not ok then return nil, message, code end
		state.since, state.progress = math.max(state.since, math.min(page.last, page.sequence)), true
		if state.since >= page.sequence then
			if is_ahead(self, state) then
				state.since, state.counts, state.progress = nil, {}, false
				return nil, "some of its records are ahead of this node's clock", "ERR_STATE"
			end
			if not is_plausible(state.counts) then
				state.progress = false
				return nil, "all of its records were rejected", "ERR_RECORD"
			end
			return page.complete
		end
		state.end_ms = state.end_ms + page.bytes * 1000 // MIN_BYTES_PER_S
		timeout_ms = time_left(self, state)
		if self.mono_ms() >= state.end_ms then return nil, "its pages have not ended in time", "ERR_STATE" end
	until not self.goes_on(secret)
	return nil, "not a member any more", "ERR_STATE"
end

--- @param deps as kms.sync.join_member takes them; counts (of records and visits, for metrics)
-- @return pages
function M.new(deps)
	local self = needs.take(deps, "exchange writer peers store clock mono_ms max_body_bytes max_snapshot_bytes accept "
		.. "goes_on ahead_ms counts")
	self.started_ms = self.mono_ms()
	self.page_bytes = math.min(PAGE_BYTES, self.max_snapshot_bytes // PAGE_SHARE)
	return setmetatable(self, Pages)
end

return M
