--- Anchors of sealed snapshots on chain: hash and time of this node's newest manifest, once in a while, so that whoever
-- stores the snapshots cannot give an old state of all nodes for the newest. A failure is logged, counted and tried
-- again, later each time; nothing waits for any of this.

local loop = require("kms.base.loop")
local needs = require("kms.base.needs")

local M = {}

local Anchors = {}
Anchors.__index = Anchors

local POLL_MS = 5000 -- between two looks at the chain while a transaction is in flight
local RETRY_MS, MAX_RETRY_MS = 60000, 3600000

-- ---- this node's anchor ------------------------------------------------------------------------------

local function note_failure(self, message)
	self.counts.failed, self.failure, self.sent = self.counts.failed + 1, message, nil
	self.next_ms = self.mono_ms() + self.retry_ms
	self.retry_ms = math.min(2 * self.retry_ms, MAX_RETRY_MS)
	self.log:limited("anchor", 60, "error", "sealed snapshot not anchored on chain", {
		reason = message, failures = self.counts.failed,
	})
end

local function note_success(self)
	self.counts.ok, self.failure, self.retry_ms = self.counts.ok + 1, nil, RETRY_MS
	self.log:info("sealed snapshot anchored on chain", { manifest = self.own.manifest, time = self.own.time })
	self.sent = nil
end

-- What is to be anchored now: { hash, time_s } | nil.
local function wanted(self)
	local saved = self.saved()
	if not saved then return nil end
	local time_s, last_s = saved.time // 1000, self.own and self.own.time or 0
	if time_s <= last_s or self.wall_ms() // 1000 - last_s < self.every_s then return nil end
	return { hash = "0x" .. saved.sha256, time_s = time_s }
end

-- Reads this node's anchor. Returns true | nil, message.
local function read_own(self, secret)
	local view, message = self.chain:snapshot()
	if not view then return nil, message end
	local own
	own, message = view:snapshot_anchor(self.tee.address)
	if own == nil then return nil, message end
	self.own, self.own_secret = own or nil, secret
	return true
end

-- After a transaction was sent: whether the chain shows it.
local function watch(self)
	if self.own and self.own.time >= self.sent.time_s then return note_success(self) end
	if not self.chain:is_anchoring() then return note_failure(self, "anchorSnapshot did not get on chain") end
	self.next_ms = self.mono_ms() + POLL_MS
end

local function send(self, anchor)
	local ok, message = self.chain:anchor_snapshot(anchor.hash, anchor.time_s, self.tee)
	if not ok then return note_failure(self, message) end
	self.sent, self.next_ms = anchor, self.mono_ms() + POLL_MS
end

local function run(self, secret)
	-- An anchor of before a failure, or of another secret, is not what the chain shows now.
	local is_known = self.own_secret == secret and not self.sent and not self.failure
	if not is_known then
		local ok, message = read_own(self, secret)
		if not ok then return note_failure(self, message) end
	end
	if self.sent then return watch(self) end
	local anchor = wanted(self)
	if anchor then return send(self, anchor) end
	self.failure = nil
end

--- Looks whether something is to be anchored, and does it in the background. To be called often.
function Anchors:tick()
	local secret = self.secrets.current
	if self.running or not secret or not self.goes_on(secret) or self.mono_ms() < self.next_ms then return end
	self.running = true
	loop.spawn(function()
		local ok = loop.try(run, self, secret)
		self.running = false
		if not ok then note_failure(self, "it broke down") end
	end)
end

--- Age of this node's last anchor in seconds, or nil: there is none, or it is not known.
function Anchors:age_s()
	return self.own and math.max(0, self.wall_ms() // 1000 - self.own.time)
end

--- What GET /status shows.
function Anchors:status()
	local state = self.failure and "failing" or self.sent and "sending" or "ok"
	return {
		state = state, anchored_at_ms = self.own and self.own.time * 1000, age_s = self:age_s(),
		failures = self.counts.failed, last_failure = self.failure,
	}
end

-- ---- of all nodes ------------------------------------------------------------------------------------

--- The newest anchor of all nodes; yields.
-- @return anchor (kms.chain.snapshot) | false: there is none | nil, message, code
function Anchors:newest()
	local view, message, code = self.chain:snapshot()
	if not view then return nil, message, code end
	return view:newest_snapshot_anchor()
end

--- Asks, until there is an answer, whether the registry has anchors; yields.
-- @return true: it has, or it cannot be read now | nil, message: it has none
function Anchors:probe()
	if self.probed then return true end
	local anchor, message, code = self:newest()
	if anchor ~= nil then self.probed = true end
	if code ~= "ERR_NOT_FOUND" then return true end
	return nil, ("SNAPSHOT_ANCHOR=true, but %s (docs/upgrading.md): deploy the contract of this version, or set "
		.. "SNAPSHOT_ANCHOR=false"):format(message)
end

--- @param deps chain (kms.chain.evm); tee; secrets (kms.node.master_secrets); saved (function -> { time (Unix ms),
--   sha256 (hex) } of the newest manifest of this process, or nil); goes_on (function(secret) -> whether this node is a
--   member with it); log, mono_ms, wall_ms; every_s (SNAPSHOT_ANCHOR_SECONDS)
-- @return anchors; its field for others: counts { ok, failed }
function M.new(deps)
	local self = setmetatable(needs.take(deps, "chain tee secrets saved goes_on log mono_ms wall_ms every_s"), Anchors)
	self.next_ms, self.retry_ms, self.counts = 0, RETRY_MS, { ok = 0, failed = 0 }
	return self
end

return M
