--- What a peer has not taken yet. It replied `later` to some records: they are of a time ahead of its clock, or it
-- had no room for them (docs/protocol.md section 9). The changes of those pages are sent again, page by page between
-- newer changes, after a pause that doubles each time: nothing waits for a record that stays `later`.
--
-- `cursor` is kms.sync.push's state of the peer. Its field `behind` is nil, or one range of changes for all that it has
-- not taken:
--   since, through  numbers of changes: the range is above `since`, up to `through`
--   records         that the peer named in the last replies about the range
--   due_ms, pause_ms  when the range is sent again, and the pause before
--   left            how often it is sent again at most
--   at              while it is sent: the number of the last change that was sent
--   found           while it is sent: the range that is left of it { since, through, records }

local needs = require("kms.base.needs")

local M = {}

local Behind = {}
Behind.__index = Behind

local MAX_PAUSE_MS = 600000
local MARGIN_MS = 1000
local OPAQUE_TRIES = 2 -- with an existing node, which does not say why it rejected records

-- Adds the page above `since` up to `through` to a range.
local function add_page(range, since, sent)
	range.since = math.min(range.since or since, since)
	range.through = math.max(range.through or 0, sent.through)
	range.records = (range.records or 0) + sent.later
end

--- A page of newer changes was sent, and the peer did not take all of it.
-- @param since number of the change before the page
-- @param sent of kms.sync.push_pages
function Behind:mark(cursor, since, sent)
	local range = cursor.behind
	if not range then
		local pause_ms = self.skew_ms + MARGIN_MS
		range = { pause_ms = pause_ms, due_ms = self.mono_ms() + pause_ms }
		cursor.behind = range
	end
	range.left = sent.opaque and OPAQUE_TRIES or math.huge
	add_page(range, since, sent)
end

--- The number of the change from which on the range is to be sent now, or nil.
function Behind:next(cursor)
	local range = cursor.behind
	if not range or self.mono_ms() < range.due_ms then return nil end
	return range.at or range.since
end

--- A page of the range was sent again. At the end of the range, what is left of it waits for its next time.
function Behind:resent(cursor, since, sent)
	local range = cursor.behind
	range.found = range.found or {}
	if sent.later > 0 then add_page(range.found, since, sent) end
	range.at = sent.through
	if sent.through < range.through then return end
	local found, left = range.found, range.left - 1
	if not found.since or left == 0 then
		cursor.behind = nil
		return
	end
	found.pause_ms, found.left = math.min(2 * range.pause_ms, MAX_PAUSE_MS), left
	found.due_ms = self.mono_ms() + found.pause_ms
	cursor.behind = found
end

--- The last change up to which the peer has taken everything.
function M.taken(cursor)
	return cursor.behind and math.min(cursor.behind.since, cursor.since) or cursor.since
end

-- Whether a range of changes has one above `since` up to `sequence`.
local function overlaps(range, since, sequence)
	return range ~= nil and sequence > range.since and since < range.through
end

--- The peer refused records of a page, or was not sent those that are too large for it: which ones is not known. One
-- range stands for all such pages, so that a write that waits is never counted where it may be missing.
function M.refuse(cursor, since, through)
	local range = cursor.refused or { since = since, through = through }
	range.since, range.through = math.min(range.since, since), math.max(range.through, through)
	cursor.refused = range
end

--- Whether a peer has taken the changes above `since` up to `sequence`, as far as is known: none counts as taken in a
-- range that the peer takes later, or in which it refused records.
function M.holds(cursor, since, sequence)
	return sequence <= cursor.since and not overlaps(cursor.behind, since, sequence)
		and not overlaps(cursor.refused, since, sequence)
end

--- @param deps mono_ms, skew_ms (MAX_CLOCK_SKEW_MS)
function M.new(deps)
	return setmetatable(needs.take(deps, "mono_ms skew_ms"), Behind)
end

return M
