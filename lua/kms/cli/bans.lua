--- `nova-kms bans`: lists and lifts a node's bans of peers.

local control_client = require("kms.cli.control_client")
local session = require("kms.cli.session")
local table_lines = require("kms.cli.table").lines
local time = require("kms.cli.times").time

local HEAD = { "WALLET", "SCOPE", "EVENT", "RULE", "UNTIL", "LEFT" }

local shown, table_of = session.shown, session.table_of

local function show_list(page)
	local rows = { HEAD }
	for _, entry in ipairs(table_of(page.bans)) do
		local ban = table_of(entry)
		rows[#rows + 1] = {
			shown(ban.wallet), shown(ban.scope), shown(ban.event), shown(ban.rule), time(ban.until_ms),
			shown(ban.left_s) .. " s",
		}
	end
	if #rows == 1 then return { "no bans" } end
	return table_lines(rows)
end

local function show_lift(page)
	return { (page.lifted == true and "lifted: " or "nothing to lift: ") .. shown(page.wallet) }
end

local function run_lift(parsed, world)
	return control_client.run(parsed, world, "DELETE", "/bans/" .. parsed.wallet, show_lift)
end

return {
	name = "bans",
	summary = "list and lift a node's bans of peers",
	commands = {
		{
			name = "list", summary = "list bans in force, with reason and end", options = control_client.OPTIONS,
			run = function(parsed, world) return control_client.run(parsed, world, "GET", "/bans", show_list) end,
		},
		{
			name = "lift", summary = "lift all bans of a peer, and clear the counts that led to them",
			arguments = { { name = "wallet", type = "wallet", help = "wallet of the peer" } },
			options = control_client.OPTIONS, run = run_lift,
		},
	},
}
