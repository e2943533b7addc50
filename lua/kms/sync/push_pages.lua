--- The pages of a push to a peer: which changes it gets, and how large a page may be (docs/protocol.md section
-- 9). `cursor` is the peer's (kms.sync.cursor).

local behind = require("kms.sync.behind")
local needs = require("kms.base.needs")
local page_size = require("kms.sync.page_size")
local value_limit = require("kms.sync.value_limit")

local M = {}

local Pages = {}
Pages.__index = Pages

local FRAME_BYTES = 4096 -- the most that a body holds besides its records
local TIMEOUT_MS = 30000

local function page_options(self, peer, cursor, since, through)
	local settings, ours = self.settings(), self.peers:understands(peer, "store")
	local most = ours and math.max(self.max_body_bytes // 2 - FRAME_BYTES, 1) or value_limit.EXISTING_BYTES
	return {
		since = since, through = through, except = peer.number, local_only = ours,
		fingerprints = self.peers:understands(peer, "fingerprint"), max_records = settings.max_records,
		max_bytes = page_size.limit(cursor.size, math.min(settings.max_bytes, most)), max_record_bytes = most,
	}
end

local function count_skipped(self, peer, cursor, count)
	if not count or count == 0 then return end
	cursor.skipped, self.counts.skipped = cursor.skipped + count, self.counts.skipped + count
	self.log:warn("records too large for this peer are not sent", { peer = peer.wallet, records = count })
end

--- Moves the cursor past changes that are not for this peer.
-- @return whether there is a change to send | nil, message
function Pages:has_news(peer, cursor)
	while cursor.since < self.store:sequence() do
		local options, life = page_options(self, peer, cursor, cursor.since), cursor.life
		options.max_records, options.prefix, options.suffix = 1, "", ""
		local page, through_or_message, _, skipped = self.store:delta(options)
		if page == nil then return nil, through_or_message end
		if page then
			page:close()
			return true
		end
		-- The peer may have restarted meanwhile: then the cursor has been reset.
		if cursor.life == life then
			count_skipped(self, peer, cursor, skipped)
			if skipped and skipped > 0 then behind.refuse(cursor, cursor.since, through_or_message) end
			cursor.since = through_or_message
		end
	end
	return false
end

-- The body with the changes of a range { since, through }, for kms.sync.exchange.
-- @param page table that learns `through` (number of the last change covered), `records` and `skipped`
local function build(self, peer, cursor, range, page, proof)
	local options = page_options(self, peer, cursor, range.since, range.through)
	options.base64 = proof.base64
	options.prefix, options.suffix = self.writer:delta(proof)
	local body, through_or_message, records_or_code, skipped = self.store:delta(options)
	if body == nil then return nil, through_or_message, records_or_code end
	page.through, page.records, page.skipped = through_or_message, records_or_code, skipped
	if body then return body end
	return nil, "nothing to send", "ERR_NOTHING"
end

-- How many of a page's records the peer takes later. Nodes of earlier releases name those of the future, existing
-- nodes only say that they rejected some.
local function later_of(counts, records)
	return math.min(counts.later or counts.future or counts.rejected or 0, records)
end

--- Sends one page with the changes above `since`. Yields.
-- @param since number of a change
-- @param through number of the last change to send, or nil: the newest
-- @return { through: number of the last change covered; later: records that the peer did not take, but may later;
--   refused: whether it has not got others at all; opaque: whether it does not say why } | nil, message, code
function Pages:send(peer, cursor, since, through)
	local page, range, began_ms = {}, { since = since, through = through }, self.mono_ms()
	local response, message, code = self.exchange:call(peer, function(proof)
		return build(self, peer, cursor, range, page, proof)
	end, { master = self.secret(), timeout_ms = TIMEOUT_MS })
	if not response and code ~= "ERR_NOTHING" then
		page_size.failed(cursor.size, self.mono_ms() - began_ms, code)
		return nil, message, code
	end
	page_size.passed(cursor.size, self.mono_ms() - began_ms)
	if not through then count_skipped(self, peer, cursor, page.skipped) end
	if not response then return { through = page.through, later = 0, refused = page.skipped > 0 } end
	local counts = response:counts()
	local later = later_of(counts, page.records)
	local rejected = math.min(counts.rejected or 0, page.records)
	self.counts.pushes, self.counts.records = self.counts.pushes + 1, self.counts.records + page.records
	self.counts.rejected = self.counts.rejected + rejected
	self.log:debug("pushed", {
		peer = peer.wallet, records = page.records, merged = counts.merged, rejected = rejected, later = later,
	})
	local refused = rejected > later or page.skipped > 0
	return { through = page.through, later = later, refused = refused, opaque = not (counts.later or counts.future) }
end

--- @param deps exchange, writer, peers, store, log, mono_ms, secret, settings, max_body_bytes as kms.sync.push takes
--   them; counts: table that pushes, records, rejected and skipped are added to
function M.new(deps)
	return setmetatable(needs.take(deps,
		"exchange writer peers store log mono_ms secret settings max_body_bytes counts"), Pages)
end

return M
