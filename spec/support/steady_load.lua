--- Applications that write to every node of a cluster, one writer a node, while its nodes are replaced. What was
-- acknowledged is counted, and must be on every node at the end. Functions yield.

local client = require("kms.client")
local loop = require("kms.base.loop")
local native = require("kms_native")
local parallel = require("kms.async.parallel")
local uv = require("luv")

local M = {}

local Load = {}
Load.__index = Load

local PAUSE_MS, POLL_MS = 20, 50
local AT_ONCE, WAIT_S = 8, 120
local DELETE_EACH, AGAIN_EACH = 5, 7 -- of a writer's keys: deleted, or written a second time

local function connect(node, app)
	return assert(client.open({
		url = node.url, seed = app.seed, node_wallet = node.wallet, node_pubkey = native.hex_encode(node.tee_pubkey),
		timeout_ms = 60000, -- a write whose reply comes too late counts as neither made nor lost
	}))
end

-- One write and what follows from it. What gets no answer is not counted: it may be there or not.
local function write(self, index, key)
	local entry = { key = key }
	local result = self.clients[index]:call("put", { key = key, value = "of node " .. index })
	entry.stamp = result and result.updated_at_ms
	if result and self.written[index] % AGAIN_EACH == 0 then
		result = self.clients[index]:call("put", { key = key, value = "again of node " .. index })
		entry.stamp = result and result.updated_at_ms
	elseif result and self.written[index] % DELETE_EACH == 0 then
		result = self.clients[index]:call("delete", { key = key })
		entry.deleted = true
	end
	if result then
		self.entries[#self.entries + 1] = entry
	else
		self.unanswered = self.unanswered + 1
	end
end

local function writer(self, index)
	while not self.finished do
		if self.paused[index] then
			self.idle[index] = true
		else
			self.idle[index] = false
			self.written[index] = self.written[index] + 1
			write(self, index, ("node %d/%d"):format(index, self.written[index]))
		end
		loop.sleep(PAUSE_MS)
	end
	self.idle[index] = true
end

local function wait_for(what, condition)
	local deadline = uv.hrtime() + WAIT_S * 1e9
	while not condition() do
		if uv.hrtime() > deadline then error(("waited %d s in vain for %s"):format(WAIT_S, what), 0) end
		loop.sleep(POLL_MS)
	end
end

-- Whether a node has an entry as it was acknowledged.
local function has(self, index, entry)
	local result, _, _, status = self.clients[index]:call("get", { key = entry.key })
	if entry.deleted then return not result and status == 404 end
	return result ~= nil and result.updated_at_ms == entry.stamp
end

--- Ends the writes to a node, and waits until the others have them.
function Load:pause(index)
	self.paused[index] = true
	wait_for("the end of a write", function() return self.idle[index] end)
	local result = assert(self.clients[index]:call("put", { key = "last of " .. index, value = "marker" }))
	local entry = { key = "last of " .. index, stamp = result.updated_at_ms }
	self.entries[#self.entries + 1] = entry
	for other in ipairs(self.clients) do
		wait_for("the last write on another node", function() return has(self, other, entry) end)
	end
end

--- Lets the writes to a node go on.
function Load:resume(index)
	self.paused[index], self.idle[index] = false, false
end

--- Waits until so many more writes were tried on a node.
function Load:wait_writes(index, count)
	local from = self.written[index]
	wait_for("writes to node " .. index, function() return self.written[index] >= from + count end)
end

--- Ends all writes.
function Load:stop()
	self.finished = true
	for index in ipairs(self.clients) do
		wait_for("the end of a write", function() return self.idle[index] end)
	end
end

--- What a node has otherwise than it was acknowledged; yields.
-- @param timeout_s  for how long it may still get it
-- @return list of texts
function Load:missing(index, timeout_s)
	local deadline, missing = uv.hrtime() + timeout_s * 1e9, {}
	parallel.map(self.entries, AT_ONCE, function(entry)
		while not has(self, index, entry) do
			if uv.hrtime() > deadline then
				missing[#missing + 1] = entry.key .. (entry.deleted and ": deleted, and back" or ": written, and lost")
				return
			end
			loop.sleep(POLL_MS)
		end
	end)
	return missing
end

--- Starts writing.
-- @param net  a devnet that serves
-- @return load { entries: acknowledged; unanswered: number of others }
function M.start(net)
	local self = setmetatable({
		clients = {}, entries = {}, written = {}, paused = {}, idle = {}, unanswered = 0,
	}, Load)
	for index, node in ipairs(net.nodes) do
		self.clients[index], self.written[index] = connect(node, net.apps[1]), 0
		loop.spawn(writer, self, index)
	end
	return self
end

return M
