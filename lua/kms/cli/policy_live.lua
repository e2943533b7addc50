--- `nova-kms policy show --socket`, `suspend` and `resume`: the policies of a running node.

local control_client = require("kms.cli.control_client")
local note = require("kms.policy.note")
local quantity = require("kms.config.quantity")
local session = require("kms.cli.session")
local suspensions = require("kms.policy.suspensions")
local table_lines = require("kms.cli.table").lines
local text = require("kms.base.text")
local times = require("kms.cli.times")

local M = {}

local shown, table_of, time, duration = session.shown, session.table_of, times.time, times.duration

local RULES_HEAD = { "RULE", "PASSED", "REFUSED", "FAILED", "LET THROUGH", "LAST HIT", "SUSPENDED FOR" }
local SUSPENDED_HEAD = { "SUSPENDED", "SINCE", "UNTIL", "LEFT", "USER", "WHY" }
local ENDED_HEAD = { "WAS SUSPENDED", "SINCE", "ENDED", "BY", "USER", "WHY" }
local HISTORY_HEAD = { "LOADED", "BY", "OUTCOME", "TIMES", "HASH OF THE FILES", "MISTAKE" }
local OUTCOMES = { in_force = "in force" }

local function seconds(value)
	return duration(type(value) == "number" and value * 1000 or nil)
end

local function rule_row(rule)
	local suspended = table_of(rule.suspended)
	return {
		shown(rule.name), shown(rule.passed), shown(rule.refused), shown(rule.failed), shown(rule.let_through),
		type(rule.last_hit_ms) == "number" and duration(rule.last_hit_ms) .. " ago" or "-", seconds(suspended.left_s),
	}
end

local function suspended_row(one)
	return { shown(one.rule), time(one.since_ms), time(one.until_ms), seconds(one.left_s), shown(one.uid), shown(one.why) }
end

local function ended_row(one)
	return { shown(one.rule), time(one.since_ms), time(one.ended_ms), shown(one.cause), shown(one.ended_uid),
		shown(one.why) }
end

local function history_row(load)
	return { time(load.at_ms), shown(load.by), OUTCOMES[load.outcome] or shown(load.outcome), shown(load.times),
		shown(load.hash), shown(load.error) }
end

-- Appends a table, with an empty line before it, where it has rows.
local function add_table(lines, head, list, row)
	if #table_of(list) == 0 then return end
	local rows = { head }
	for _, entry in ipairs(list) do rows[#rows + 1] = row(table_of(entry)) end
	lines[#lines + 1] = ""
	table.move(table_lines(rows), 1, #rows, #lines + 1, lines)
end

local function show(page)
	local failed = table_of(page.last_error)
	local lines = {
		("%-10s %s, api %s"):format("policy", shown(page.hash), shown(page.api)),
		("%-10s %s, by %s"):format("since", time(page.since_ms), shown(page.by)),
	}
	if page.hash ~= page.set_hash then
		table.insert(lines, 2, ("%-10s %s: rules are suspended, so attestation documents have the hash above"):format(
			"files", shown(page.set_hash)))
	end
	if failed.first then
		lines[#lines + 1] = ("%-10s refused at %s, the policies before it stay: %s"):format("reload", time(failed.at_ms),
			shown(failed.first))
	end
	add_table(lines, RULES_HEAD, page.rules, rule_row)
	add_table(lines, SUSPENDED_HEAD, page.suspended, suspended_row)
	add_table(lines, ENDED_HEAD, page.ended, ended_row)
	add_table(lines, HISTORY_HEAD, page.history, history_row)
	return lines
end

--- Shows the policies of the node that listens on parsed.socket.
-- @return exit code
function M.show(parsed, world)
	return control_client.run(parsed, world, "GET", "/policy", show)
end

-- ---- suspend, resume --------------------------------------------------------------------------------

local function fail(world, message)
	return session.fail(world, message, "ERR_USAGE")
end

-- The path of a rule on the control socket | nil, message.
local function rule_path(name)
	if name:find("^[%w_./-]+$") and #name <= 128 then return "/policy/suspended/" .. name end
	return nil, "RULE: allowed is a name as nova-kms policy show --socket shows it"
end

-- Seconds of a duration | nil, message.
local function seconds_of(given)
	if not given then return nil, "--for is missing: the time after which the rule is in force again, such as 10m" end
	local plain = given:find("^%d+$") and #given <= 9 and math.tointeger(tonumber(given))
	local value = plain or quantity.parse(given, "_SECONDS")
	if value and value >= 1 and value <= suspensions.MAX_SECONDS then return value end
	return nil, ("--for: '%s' is not a time from 1s to 24h (units: %s)"):format(text.excerpt(given, 60),
		quantity.units("_SECONDS"))
end

local function show_suspended(page)
	local one = table_of(page.suspended)
	return { ("suspended until %s: %s"):format(time(one.until_ms), shown(one.rule)) }
end

local function suspend(parsed, world)
	local path, message = rule_path(parsed.rule)
	if not path then return fail(world, message) end
	local span
	span, message = seconds_of(parsed["for"])
	if not span then return fail(world, message) end
	local ok
	ok, message = note.check(parsed.why)
	if not ok then return fail(world, "--why: " .. message) end
	local why = parsed.why and "&why=" .. text.percent_encode(parsed.why) or ""
	return control_client.run(parsed, world, "PUT", ("%s?for=%d%s"):format(path, span, why), show_suspended)
end

local function resume(parsed, world)
	local path, message = rule_path(parsed.rule)
	if not path then return fail(world, message) end
	return control_client.run(parsed, world, "DELETE", path, function(page)
		return { (page.resumed == true and "in force again: " or "was not suspended: ") .. shown(page.rule) }
	end)
end

local RULE = { name = "rule", help = "name of the rule, as `policy show --socket` shows it" }

local function options(...)
	local list = { ... }
	return table.move(control_client.OPTIONS, 1, #control_client.OPTIONS, #list + 1, list)
end

--- The commands that change a running node.
M.COMMANDS = {
	{
		name = "suspend", summary = "let through for a time what a rule of a running node refuses", arguments = { RULE },
		options = options(
			{ name = "for", value = "TIME", help = "how long, from 1s to 24h: 90 or 90s, 10m, 2h" },
			{ name = "why", value = "TEXT", help = ("text for the log and for other operators, at most %d bytes")
				:format(note.MAX) }),
		notes = ("For rules of access.lua, sync.accept and blacklist.rules; at most %d at once. The rule is still asked,\n"
			.. "and counted, and what it refuses goes on; one that fails refuses as ever. What the chain says,\n"
			.. "authentication and the node's own limits stay. A suspension ends by itself, by `policy resume`, when the\n"
			.. "rule's file changes, and with the node."):format(suspensions.MAX),
		run = suspend,
	},
	{
		name = "resume", summary = "end the suspension of a rule before its time", arguments = { RULE },
		options = control_client.OPTIONS, run = resume,
	},
}

return M
