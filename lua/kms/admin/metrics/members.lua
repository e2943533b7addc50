--- Metrics of single members. Labels never name a wallet: a member is the position of its wallet among those of all
-- members, in order, from 1. It is the same on all nodes until the list on chain changes.

local needs = require("kms.base.needs")

local M = {}

local MOST = 32 -- members with a series of their own; those beyond count as "other"

-- Calls fn(position, wallet) for each other member.
local function each(peers, fn)
	local wallets, own = {}, {}
	for i, instance in ipairs(peers:list()) do
		wallets[i] = instance.wallet
		own[instance.wallet] = true
	end
	for _, peer in ipairs(peers:others()) do own[peer.wallet] = nil end
	table.sort(wallets)
	for position, wallet in ipairs(wallets) do
		if not own[wallet] then fn(tostring(position), wallet) end
	end
end

--- Declares them.
-- @param set kms.admin.metrics
-- @param deps peers (kms.peers); pusher, repair (kms.sync)
function M.declare(set, deps)
	deps = needs.take(deps, "peers pusher repair")
	local positions = {}
	for i = 1, MOST do positions[i] = tostring(i) end
	local label = { { "member", positions } }
	set:read("gauge", "kms_sync_member_lag", "Changes that a member has not acknowledged.", label, function(put)
		local status = deps.pusher:status()
		each(deps.peers, function(position, wallet)
			local peer = status.peers[wallet]
			if peer then put(math.max(0, status.sequence - peer.acknowledged), position) end
		end)
	end)
	set:read("gauge", "kms_repair_member_lag_seconds", "Time since a comparison with a member found no difference.", label,
		function(put)
			local status = deps.repair:status()
			each(deps.peers, function(position, wallet)
				local state = status[wallet]
				if state then put(state.lag_s, position) end
			end)
		end)
	set:read("gauge", "kms_member_ok", "Whether a member answers and is not banned.", label, function(put)
		each(deps.peers, function(position, wallet)
			put(deps.peers:state(wallet) == "ok" and 1 or 0, position)
		end)
	end)
end

return M
