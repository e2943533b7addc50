--- `nova-kms peers`: lists the peers of a node: their state, replication, bans.

local control_client = require("kms.cli.control_client")
local session = require("kms.cli.session")
local table_lines = require("kms.cli.table").lines

local HEAD = { "WALLET", "STATE", "ACKNOWLEDGED", "SKIPPED", "LATER", "SAME AS HERE", "REPAIRED", "URL", "BANS" }

local shown, table_of = session.shown, session.table_of

local function bans_of(peer)
	local parts = {}
	for i, entry in ipairs(table_of(peer.bans)) do
		local ban = table_of(entry)
		parts[i] = ("%s for %s, %s s left"):format(shown(ban.scope), shown(ban.event), shown(ban.left_s))
	end
	return #parts > 0 and table.concat(parts, "; ") or "-"
end

-- When this node and the peer last held the same.
local function same_of(repair)
	if repair.ever_equal == nil then return "-" end
	return repair.ever_equal and ("%s s ago"):format(shown(repair.lag_s)) or ("never (%s)"):format(shown(repair.result))
end

-- What repair moved to the peer and from it.
local function repaired_of(repair)
	if repair.given == nil then return "-" end
	return ("%s to it, %s from it"):format(shown(repair.given), shown(repair.wanted))
end

local function show(page)
	local rows = { HEAD }
	for _, member in ipairs(table_of(page.peers)) do
		local peer = table_of(member)
		rows[#rows + 1] = {
			shown(peer.wallet), shown(peer.state), ("%s of %s"):format(shown(peer.acknowledged), shown(page.sequence)),
			shown(peer.skipped), shown(peer.later), same_of(table_of(peer.repair)), repaired_of(table_of(peer.repair)),
			shown(peer.url), bans_of(peer),
		}
	end
	return table_lines(rows)
end

return {
	name = "peers",
	summary = "list the peers of a node: state, replication, bans",
	options = control_client.OPTIONS,
	run = function(parsed, world) return control_client.run(parsed, world, "GET", "/peers", show) end,
}
