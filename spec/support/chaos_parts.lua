--- The parts of a cluster that chaos kills (spec.support.chaos): each with a name, may_fail(),
-- down_ms(random) (how long it stays away), kill() and start(), which returns when it answers.

local fetch = require("kms.http.fetch")
local loop = require("kms.base.loop")
local wait = require("spec.support.wait")

local M = {}

local function short(random)
	return random(100, 3000)
end

-- Either a moment, or longer than a chain view is valid.
local function short_or_long(random)
	return random(0, 1) == 0 and random(100, 1500) or random(5500, 7000)
end

local function wait_answer(process, port, path)
	wait.until_true("an answer to " .. path, function()
		local response = fetch.request({ url = ("http://127.0.0.1:%d%s"):format(port, path), timeout_ms = 500 })
		return (response and response.status == 200) or not process:alive()
	end)
end

local function chain_part(kept, watch)
	return {
		name = "chain", may_fail = function() return true end, down_ms = short_or_long,
		kill = function()
			watch:chain_is_away()
			kept:kill()
		end,
		start = function()
			watch:chain_is_back()
			kept:start()
		end,
	}
end

-- A node may fail once the others have made good what earlier kills cost: the last one that holds a record never does.
local function node_part(node, repaired)
	return {
		name = "node " .. node.index, down_ms = short,
		may_fail = function() return repaired:is_repaired() end,
		kill = function()
			repaired:goes(node)
			node.process:kill()
		end,
		start = function()
			assert(node:start())
			repaired:comes(node)
			-- Its TEE service may be away: it answers once that is back.
			loop.sleep(50)
		end,
	}
end

local function tee_part(node, watch)
	return {
		name = "TEE service " .. node.index, may_fail = function() return true end, down_ms = short,
		kill = function()
			node.odyn:kill()
			watch:tee_is_away(node)
		end,
		start = function()
			watch:tee_is_back(node)
			assert(node:start_odyn())
			wait_answer(node.odyn, node.odyn_port, "/v1/eth/address")
		end,
	}
end

--- Waits until a node answers, whether it serves or not.
function M.wait_answer(node)
	wait_answer(node.process, node.port, "/health")
end

--- All parts, each as often as it should fail: the chain is one, and all nodes feel it.
-- @param net of devnet; kept of spec.support.kept_chain; watch of spec.support.chaos_load; repaired of
-- spec.support.repaired
function M.of(net, kept, watch, repaired)
	local chain = chain_part(kept, watch)
	local parts = { chain, chain }
	for _, node in ipairs(net.nodes) do
		parts[#parts + 1] = node_part(node, repaired)
		if node.odyn then parts[#parts + 1] = tee_part(node, watch) end
	end
	return parts
end

return M
