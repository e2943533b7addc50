--- What members of a cluster that is whole and quiet show of each other (kms.peers): all are ok, at every moment. Of
-- one that ends, hangs or cannot be called the others show it in time, as docs/operating.md says.

local loop = require("spec.simulate.virtual_loop")

local M = {}

local SECOND_MS, INTERVAL_MS = 1000, 10000 -- DATA_SYNC_INTERVAL_SECONDS
local WATCHED_INTERVALS = 4
local ANSWER_MS = 1000 -- until calls that nothing delays have ended
local CONNECT_MS = 3000 -- deadline (kms.sync.calls)

-- What may become of a node: when the others show that, after how long and as which states.
local ENDS = {
	crash = { after_ms = 3 * INTERVAL_MS, states = { unreachable = true } },
	["cut calls"] = { after_ms = 6 * INTERVAL_MS + CONNECT_MS, states = { unreachable = true } },
	-- A question about what it holds has a later deadline.
	pause = { after_ms = 31 * INTERVAL_MS // 10, states = { unknown = true, unreachable = true } },
}

local OK, ANY = { ok = true }, setmetatable({}, { __index = function() return true end })

-- Says where a member shows another one as none of allowed(node, other): states; or nil.
local function wrong(cluster, allowed)
	for _, node in ipairs(cluster.own) do
		for _, other in ipairs(node.state == "up" and cluster.honest or {}) do
			local state = other ~= node and node.parts.peers:state(other.instance.wallet)
			if state and not allowed(node, other)[state] then
				return ("view: node %d shows node %d as %s at %d ms"):format(node.index, other.index, state, loop.now())
			end
		end
	end
	return nil
end

-- Lets time pass until a moment, and looks every second. Returns what is wrong, or nil.
local function watch(cluster, ends_ms, allowed)
	while loop.now() < ends_ms do
		cluster:run_until(math.min(loop.now() + SECOND_MS, ends_ms))
		local found = wrong(cluster, allowed)
		if found then return found end
	end
	return nil
end

--- Lets time pass until a moment; the cluster has been whole for long before its last intervals.
-- @return what is wrong, or nil
function M.settle(cluster, ends_ms)
	cluster:run_until(ends_ms - WATCHED_INTERVALS * INTERVAL_MS)
	local found = watch(cluster, ends_ms, function() return OK end)
	cluster:run_until(ends_ms)
	return found
end

local DO = {
	crash = function(cluster, last) cluster:crash(last.node) end,
	pause = function(cluster, last) cluster:pause(last.node, true) end,
	["cut calls"] = function(cluster, last) cluster:cut(last.from, last.node, true) end,
}

--- Has a node crash or hang, or cuts the calls of another one to it; lets time pass until the others must show it.
-- @param last { what ("crash", "pause" or "cut calls"), node, from: numbers }
-- @return what is wrong, or nil
function M.lose(cluster, last)
	DO[last.what](cluster, last)
	local ends = ENDS[last.what]
	local function is_lost(node, other)
		return other.index == last.node and (last.what ~= "cut calls" or node.index == last.from)
	end
	local found = watch(cluster, loop.now() + ends.after_ms + ANSWER_MS, function(node, other)
		return is_lost(node, other) and ANY or OK
	end)
	return found or wrong(cluster, function(node, other) return is_lost(node, other) and ends.states or OK end)
end

return M
