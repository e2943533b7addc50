--- Watches from outside whether the nodes of a cluster have made good what earlier kills cost: all that run hold
-- the same, and each says that its store is complete. Only then may another node be killed by a test in which no write
-- with two copies may be lost. Runs in coroutines.

local fetch = require("kms.http.fetch")
local loop = require("kms.base.loop")
local native = require("kms_native")
local parallel = require("kms.async.parallel")
local uv = require("luv")

local M = {}

local Watch = {}
Watch.__index = Watch

local LOOK_MS, TIMEOUT_MS = 50, 2000
local NONCE_BYTES = 16

-- A node's digest of what it holds, from an hour on or from its own first one (docs/protocol.md section 9.1). Returns
-- { digest, hour } | nil, why not.
local function digest_of(node, nonce, hour)
	local url = ("%s/digest?nonce=%s"):format(node.url, nonce) .. (hour and "&hour=" .. hour or "")
	local response, message = fetch.json({ url = url, timeout_ms = TIMEOUT_MS })
	if not response then return nil, message end
	if response.status ~= 200 then return nil, ("GET /digest: HTTP %d"):format(response.status) end
	return response.value
end

-- Returns as digest_of, for a node that is complete.
local function content_of(node, nonce, hour)
	local page, message = node:status()
	if not page then return nil, message end
	if page.node.store_complete ~= true then return nil, "its store is not complete" end
	return digest_of(node, nonce, hour)
end

-- Returns list of { digest, hour }, one a node | nil, why not.
local function contents_of(nodes, nonce, hour)
	local why
	local contents = parallel.map(nodes, #nodes, function(node)
		local content, message = content_of(node, nonce, hour)
		if not content then why = ("node %d: %s"):format(node.index, message) end
		return content
	end)
	for i = 1, #nodes do
		if not contents[i] then return nil, why end
	end
	return contents
end

-- The latest of the hours, and whether all are the same.
local function latest_hour(contents)
	local latest, same = contents[1].hour, true
	for _, content in ipairs(contents) do
		same = same and content.hour == latest
		latest = math.max(latest, content.hour)
	end
	return latest, same
end

--- Whether nodes are complete and hold the same at this moment. Those that have begun to forget deletions earlier than
-- others are compared from that hour on. Yields.
-- @return true | false, why not
function M.hold_the_same(nodes)
	local nonce = native.hex_encode(uv.random(NONCE_BYTES))
	local contents, why = contents_of(nodes, nonce)
	if not contents then return false, why end
	local hour, same = latest_hour(contents)
	if not same then contents, why = contents_of(nodes, nonce, hour) end
	if not contents then return false, why end
	for _, content in ipairs(contents) do
		if content.digest ~= contents[1].digest then return false, "nodes hold different records" end
	end
	return true
end

local function present(self)
	local list = {}
	for _, node in ipairs(self.nodes) do
		if not self.away[node] then list[#list + 1] = node end
	end
	return list
end

local function watch(self)
	while not self.over do
		local changes, nodes = self.changes, present(self)
		if not self.repaired and #nodes > 1 and M.hold_the_same(nodes) and changes == self.changes then
			self.repaired = true
		end
		loop.sleep(LOOK_MS)
	end
end

--- A node is about to be killed. It counts as away from now on, whether or not it has ended.
function Watch:goes(node)
	self.away[node], self.repaired, self.changes = true, false, self.changes + 1
end

--- A node was started again.
function Watch:comes(node)
	self.away[node], self.repaired, self.changes = nil, false, self.changes + 1
end

--- Whether the nodes that run, two at least, have held the same since the last one went or came.
function Watch:is_repaired()
	return self.repaired
end

--- Ends the watch.
function Watch:stop()
	self.over = true
end

--- Begins to watch.
-- @param nodes of devnet
function M.new(nodes)
	local self = setmetatable({ nodes = nodes, away = {}, repaired = false, changes = 0 }, Watch)
	loop.spawn(watch, self)
	return self
end

return M
