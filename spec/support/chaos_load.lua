--- Applications that write and read while parts of a cluster are killed (spec.support.chaos). Every write that was
-- answered must be on every node at the end. One may be missing: it was answered with a single copy, and its node was
-- killed before another one had it. No answer may rest on trust that has run out.

local app_client = require("spec.support.app_client")
local loop = require("kms.base.loop")
local uv = require("luv")

local M = {}

local Load = {}
Load.__index = Load

local TIMEOUT_MS = 3000
local WRITE_MS, READ_MS, POLL_MS = 150, 100, 150
-- REGISTRY_CACHE_TTL_SECONDS, and a request that was under way; a view of the chain may be a
-- second old when it is taken.
local CACHED_MS, VIEW_MS, SLACK_MS = 1000, 1000, 1000
-- PEER_CACHE_TTL_SECONDS, and the tick that sees its end.
local MEMBER_MS = 3000 + 1000

local function now_ms()
	return uv.hrtime() // 1000000
end

--- The chain, or a TEE service, is about to go away, and about to come back.
function Load:chain_is_away() self.chain_down_ms = now_ms() end
function Load:chain_is_back() self.chain_down_ms = nil end
function Load:tee_is_away(node) self.tee_down_ms[node] = now_ms() end
function Load:tee_is_back(node) self.tee_down_ms[node] = nil end

--- The chain has just said that an application is not verified any more; nil: that it is again.
function Load:shut_out(app)
	self.refused_app, self.refused_ms = app, now_ms()
end

--- Whether there is such an application.
function Load:is_shut_out()
	return self.refused_app ~= nil
end

-- ---- which writes a kill may cost -----------------------------------------------------------------------

local function another_holds(self, node, sync, sequence)
	for _, other in ipairs(self.net.nodes) do
		local peer = other ~= node and sync.peers[other.wallet]
		if type(peer) == "table" and (peer.acknowledged or 0) >= sequence then return true end
	end
	return false
end

-- Writes of a node's present process that were answered with a single copy, and which no other node has acknowledged
-- so far.
local function settle(self, node, page, asked_ms)
	local left = {}
	for _, write in ipairs(self.single[node]) do
		if write.process == node.process then
			if not write.sequence and write.done_ms < asked_ms then write.sequence = page.sync.sequence end
			write.replicated = write.sequence and another_holds(self, node, page.sync, write.sequence)
			if not write.replicated then left[#left + 1] = write end
		end
	end
	self.single[node] = left
end

local function may_be_lost(write)
	return write.copies < 2 and not write.replicated and not write.process:alive()
end

-- A page is of a moment after it was asked for; it may be on its way for a while.
local function check_member(self, node, page, asked_ms)
	if page.node.service_available ~= true then return end
	local down_ms = self.chain_down_ms
	if down_ms and asked_ms - down_ms > MEMBER_MS + SLACK_MS then
		self.chaos:violation("node %d serves, and the chain is away for %d ms", node.index, asked_ms - down_ms)
	end
end

local function poll(self, node)
	while not self.over do
		local process, asked_ms = node.process, now_ms()
		local page = process:alive() and node:status()
		if page and process == node.process then
			check_member(self, node, page, asked_ms)
			if page.sync then settle(self, node, page, asked_ms) end
		end
		loop.sleep(POLL_MS)
	end
end

-- ---- writing and reading --------------------------------------------------------------------------------

local function acknowledged(self, node, entry, copies)
	entry.done_ms, entry.copies = now_ms(), copies
	self.acknowledged[#self.acknowledged + 1] = entry
	if copies < 2 then table.insert(self.single[node], entry) end
end

local function write(self, node)
	local connection, number = self.clients[node], 0
	while not self.finished do
		number = number + 1
		local entry = { key = ("node %d/%d"):format(node.index, number), process = node.process }
		entry.value = ("%s at %d"):format(entry.key, uv.hrtime())
		self.writes = self.writes + 1
		local answer = node.process:alive() and connection:call("put", { key = entry.key, value = entry.value })
		if answer then acknowledged(self, node, entry, answer.copies) end
		loop.sleep(WRITE_MS)
	end
end

-- An answer: it must not rest on what the chain, or the TEE service, can no longer say.
local function check_trust(self, node, app, asked_ms)
	local shut_out = app == self.refused_app and self.refused_ms
	local chain_down, tee_down = self.chain_down_ms, self.tee_down_ms[node]
	if shut_out and asked_ms - shut_out > CACHED_MS + VIEW_MS + SLACK_MS then
		self.chaos:violation("node %d serves who was shut out %d ms ago", node.index, asked_ms - shut_out)
	end
	if chain_down and asked_ms - chain_down > CACHED_MS + SLACK_MS then
		self.chaos:violation("node %d serves, %d ms after the chain went away", node.index, asked_ms - chain_down)
	end
	if tee_down and asked_ms > tee_down then
		self.chaos:violation("node %d answers without its TEE service", node.index)
	end
end

-- A client for each read: an open session goes on without the TEE service, which its opening needs.
local function read(self, node, app)
	while not self.finished do
		local connection, asked_ms = app_client.connect(node, app, TIMEOUT_MS), now_ms()
		local answer, _, code = nil, nil, nil
		if node.process:alive() then answer, _, code = connection:call("derive", { path = "p" }) end
		connection:close()
		if answer then check_trust(self, node, app, asked_ms) else self.refused = self.refused + 1 end
		if code == "ERR_UNVERIFIED" then self.chaos:violation("node %d gives an answer that is not its own", node.index) end
		loop.sleep(READ_MS)
	end
end

--- Whether a node answers an application.
-- @return true | false, why not
function Load:serves(node)
	local answer, message = self.clients[node]:call("derive", { path = "p" })
	return answer ~= nil, message
end

-- ---- the end --------------------------------------------------------------------------------------------

local function verify_node(self, node)
	local connection, missing = self.clients[node], 0
	for _, entry in ipairs(self.acknowledged) do
		local value, message = app_client.read(connection, entry.key, self.scratch)
		if value == nil and may_be_lost(entry) then
			entry.lost = true
		elseif value ~= entry.value then
			missing = missing + 1
			if missing <= 3 then
				self.chaos:violation("%s (%d copies) is not on node %d: %s", entry.key, entry.copies, node.index,
					message or value and "another value" or "no record")
			end
		end
	end
	if missing > 3 then
		self.chaos:violation("%d of %d writes are not on node %d", missing, #self.acknowledged, node.index)
	end
end

--- Reads on every node what was acknowledged.
function Load:verify()
	for _, node in ipairs(self.net.nodes) do verify_node(self, node) end
end

--- Starts applications and watchers.
function Load:start()
	for _, node in ipairs(self.net.nodes) do
		self.single[node], self.clients[node] = {}, app_client.connect(node, self.net.apps[1], TIMEOUT_MS)
		loop.spawn(poll, self, node)
		loop.spawn(write, self, node)
		for _, app in ipairs(self.net.apps) do loop.spawn(read, self, node, app) end
	end
end

--- Ends writing and reading.
function Load:stop()
	self.finished = true
end

--- Ends watching, too.
function Load:stop_watching()
	self.over = true
end

--- How much there was.
-- @return { writes, acknowledged, copied (of those: answered with two copies or more), lost (of those: missing, as the
--   rules allow), refused (requests) }
function Load:counts()
	local copied, lost = 0, 0
	for _, entry in ipairs(self.acknowledged) do
		if entry.copies > 1 then copied = copied + 1 end
		if entry.lost then lost = lost + 1 end
	end
	return {
		writes = self.writes, acknowledged = #self.acknowledged, copied = copied, lost = lost, refused = self.refused,
	}
end

--- @param chaos  net, violation(format, ...)
function M.new(chaos)
	return setmetatable({
		chaos = chaos, net = chaos.net, scratch = chaos.net.dir .. "/value", single = {}, clients = {},
		acknowledged = {}, tee_down_ms = {}, writes = 0, refused = 0,
	}, Load)
end

return M
