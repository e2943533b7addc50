--- What is pushed to a peer, page by page: which changes are for it, and how much a body of it holds
-- (docs/protocol.md section 9). `cursor` is kms.sync.push's memory of the peer.

local native = require("kms_native")

local M = {}

local Pages = {}
Pages.__index = Pages

local AROUND_BYTES = 4096 -- what is around the records, at the most
local EXISTING_BYTES = 990000 -- of records whose envelope an existing node takes: its bodies end at 2 MB
local TIMEOUT_MS = 30000
local MIN_PAGE_BYTES = 65536 -- to which pages shrink for a peer that says 413

local function page_options(self, peer, cursor, since)
	local settings, ours = self.settings(), self.peers:understands(peer, "store")
	local most = ours and math.max(self.max_body_bytes // 2 - AROUND_BYTES, 1) or EXISTING_BYTES
	return {
		since = since, except = peer.number, local_only = ours, max_records = settings.max_records,
		max_bytes = math.min(settings.max_bytes, most, cursor.page_bytes or most), max_record_bytes = most,
	}
end

--- The peer's limit is lower than this node's: shorter pages from now on. No record is skipped for
-- that: anybody on the way can say 413.
function Pages:shorten(peer, cursor)
	local options = page_options(self, peer, cursor, cursor.since)
	cursor.page_bytes = math.max(options.max_bytes // 2, MIN_PAGE_BYTES)
end

local function note_skipped(self, peer, cursor, count)
	if not count or count == 0 then return end
	cursor.skipped, self.counts.skipped = cursor.skipped + count, self.counts.skipped + count
	self.log:warn("records too large for this peer are not sent", { peer = peer.wallet, records = count })
end

--- Passes over what is not for this peer.
-- @return whether there is something to send | nil, message
function Pages:has_news(peer, cursor)
	while cursor.since < self.store:sequence() do
		local options, life = page_options(self, peer, cursor, cursor.since), cursor.life
		options.max_records, options.prefix, options.suffix = 1, "", ""
		local page, through, _, skipped = self.store:delta(options)
		if page == nil then return nil, through end
		if page then
			page:close()
			return true
		end
		-- Its store may have become a new one while this one was looked through.
		if cursor.life == life then
			note_skipped(self, peer, cursor, skipped)
			cursor.since = through
		end
	end
	return false
end

--- Sends what is above `since`.
-- @return the number of the last change that it covers, whether some of them were stamped in the peer's
-- future | nil, message, code
function Pages:send(peer, cursor, since)
	local through, records, skipped
	local answer, message, code = self.caller:exchange(peer, function(signature)
		local page
		local options = page_options(self, peer, cursor, since)
		options.prefix, options.suffix = self.writer:delta(signature)
		page, through, records, skipped = self.store:delta(options)
		if page then return page end
		if page == nil then return nil, through, records end
		return nil, "nothing to send", "ERR_NOTHING"
	end, { master = self.secret(), timeout_ms = TIMEOUT_MS })
	if not answer and code ~= "ERR_NOTHING" then return nil, message, code end
	note_skipped(self, peer, cursor, skipped)
	if not answer then return through end
	local counts = answer:counts()
	self.counts.pushes, self.counts.records = self.counts.pushes + 1, self.counts.records + records
	self.counts.rejected = self.counts.rejected + math.min(counts.rejected or 0, records)
	self.log:debug("pushed", {
		peer = peer.wallet, records = records, merged = counts.merged, rejected = counts.rejected,
	})
	return through, records > 0 and ((counts.future or 0) > 0
		or (counts.future == nil and (counts.rejected or 0) > 0))
end

--- Learns what a peer is: large records are for those that say that they take them.
-- @return true | nil, message, code
function Pages:greet(peer)
	local answer, message, code = self.caller:exchange(peer, function(signature)
		local before, behind = self.writer:delta(signature)
		return native.text_body(before .. "{}" .. behind)
	end, { master = self.secret() })
	if not answer then return nil, message, code end
	return true
end

--- @param deps caller, writer, peers, store, log, secret, settings, max_body_bytes as kms.sync.push
-- takes them; counts (what it counts in: pushes, records, rejected, skipped)
function M.new(deps)
	return setmetatable({
		caller = deps.caller, writer = deps.writer, peers = deps.peers, store = deps.store, log = deps.log,
		secret = deps.secret, settings = deps.settings, max_body_bytes = deps.max_body_bytes, counts = deps.counts,
	}, Pages)
end

return M
