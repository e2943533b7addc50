--- `nova-kms top`: a node's state in a terminal, shown again every few seconds: what the status page shows.

local args = require("kms.cli.args")
local control_client = require("kms.cli.control_client")
local session = require("kms.cli.session")
local text = require("kms.base.text")
local duration = require("kms.cli.times").duration
local table_lines = require("kms.cli.table").lines

local shown, table_of = session.shown, session.table_of

local CLEAR = "\27[H\27[2J" -- ECMA-48: cursor to the start, erase the display
local LARGEST = 2 ^ 53
local UNITS = { "B", "KiB", "MiB", "GiB", "TiB" }
local MEMBERS_HEAD = { "MEMBER", "STATE", "BEHIND", "SAME AS HERE", "BANS", "URL" }

-- A number that Lua writes as a whole one, too; 0 for what is none.
local function number(value)
	return type(value) == "number" and value > -LARGEST and value < LARGEST and value or 0
end

local function size(bytes)
	local value, at = number(bytes), 1
	while value >= 1024 and at < #UNITS do value, at = value / 1024, at + 1 end
	return at == 1 and ("%d B"):format(value // 1) or ("%.1f %s"):format(value, UNITS[at])
end

local function part(used, limit, format)
	local share = number(limit) > 0 and 100 * number(used) / limit or 0
	return ("%s of %s (%.0f %%)"):format(format(used), format(limit), share)
end

local function count(value) return ("%d"):format(number(value) // 1) end

-- ---- rates ------------------------------------------------------------------------------------------

local function sum(counts)
	local all = 0
	for _, value in pairs(table_of(counts)) do all = all + number(value) end
	return all
end

-- The duration below which a part `q` of the requests between two reports were, as text.
local function quantile(now, before, q)
	local bounds, counts = table_of(now.bounds_s), table_of(now.counts)
	local fresh, all = {}, 0
	for i, value in ipairs(counts) do
		fresh[i] = number(value) - number(table_of(before.counts)[i])
		all = all + fresh[i]
	end
	local seen = 0
	for i, value in ipairs(fresh) do
		seen = seen + value
		if all > 0 and seen >= q * all then return ("%s%.1f ms"):format(bounds[i] and "<" or ">", number(bounds[i]
			or bounds[#bounds]) * 1000) end
	end
	return "-"
end

-- What happened between two reports. Returns a text.
local function traffic(page, before)
	local now = table_of(page.requests)
	if not before then
		return ("%s since the start, %s refused"):format(text.count(count(sum(now.by_route)), "request"),
			count(sum(now.by_code)))
	end
	local earlier, passed_s = table_of(before.requests), (number(page.up_ms) - number(before.up_ms)) / 1000
	-- A node that restarted counts from 0 again.
	if passed_s <= 0 then return "the node has restarted" end
	local durations, earlier_durations = table_of(now.durations), table_of(earlier.durations)
	return ("%.1f requests/s, %.1f refused/s, median %s, p99 %s"):format(
		(sum(now.by_route) - sum(earlier.by_route)) / passed_s, (sum(now.by_code) - sum(earlier.by_code)) / passed_s,
		quantile(durations, earlier_durations, 0.5), quantile(durations, earlier_durations, 0.99))
end

-- ---- lines ------------------------------------------------------------------------------------------

local function service(page, node)
	if page.draining == true then return "stopping after the requests that run" end
	if node.service_available == true then return "serves applications" end
	return "SERVES NO APPLICATION: " .. shown(node.service_unavailable_reason)
end

local function custodians(page)
	local set = table_of(page.custodians)
	if not set.list then return "no custodians" end
	local never, oldest = 0, nil
	for _, one in ipairs(table_of(set.list)) do
		local at = table_of(one).checked_at_ms
		if type(at) ~= "number" then never = never + 1 else oldest = math.min(oldest or at, at) end
	end
	return ("%s of %d custodians restore it, oldest proof %s%s"):format(shown(set.threshold), #table_of(set.list),
		oldest and duration(number(page.now_ms) - oldest) .. " ago" or "none",
		never > 0 and (", %d never"):format(never) or "")
end

local function member_row(member, sequence)
	local repair, bans = table_of(member.repair), {}
	for i, ban in ipairs(table_of(member.bans)) do
		bans[i] = ("%s, %s s left"):format(shown(table_of(ban).event), shown(table_of(ban).left_s))
	end
	local behind = type(member.acknowledged) == "number" and count(math.max(0, sequence - member.acknowledged)) or "-"
	local same = repair.lag_s and duration(number(repair.lag_s) * 1000) .. " ago" or "-"
	return { shown(member.wallet), member.state == "self" and "this node" or shown(member.state), behind, same,
		#bans > 0 and table.concat(bans, "; ") or "-", shown(member.url) }
end

local function members(page)
	local rows = { MEMBERS_HEAD }
	local sequence = number(table_of(table_of(page.status).sync).sequence)
	for _, member in ipairs(table_of(page.members)) do rows[#rows + 1] = member_row(table_of(member), sequence) end
	return table_lines(rows)
end

local function lines_of(page, before)
	local status, limits, store = table_of(page.status), table_of(page.limits), table_of(page.store)
	local node, data, policy = table_of(status.node), table_of(status.data_store), table_of(status.policy)
	local sessions, guarded, chain = table_of(page.sessions), table_of(page.guarded), table_of(page.chain)
	local failed = table_of(policy.last_error).first
	local lines = {}
	local function line(name, format, ...) lines[#lines + 1] = ("%-9s "):format(name) .. format:format(...) end
	line("node", "%s, %s, up %s, %s", shown(node.tee_wallet), shown(page.version), duration(page.up_ms),
		shown(node.node_url))
	line("service", "%s", service(page, node))
	line("secret", "%s; %s", shown(table_of(node.master_secret).state), custodians(page))
	line("chain", "newest block %s old, view %s old", duration(chain.head_age_ms), duration(chain.view_age_ms))
	line("traffic", "%s", traffic(page, before))
	line("load", "%s running, connections %s, sessions %s", count(page.running),
		part(page.connections, limits.connections, count),
		part(number(sessions.applications) + number(sessions.members), limits.sessions, count))
	line("memory", "guarded %s", part(guarded.used, guarded.size, size))
	line("store", "%s, %s, applications %s, %s", text.count(count(data.total_keys), "record"),
		part(store.total_bytes, limits.store_bytes, size), part(data.namespaces, limits.namespaces, count),
		text.count(count(store.evictions), "eviction"))
	line("snapshot", "%s", shown(table_of(status.snapshot).state))
	line("audit", "%s", shown(table_of(status.audit).state))
	line("policy", "%s%s", shown(policy.hash), failed and "; LAST RELOAD REFUSED: " .. shown(failed) or "")
	for _, one in ipairs(table_of(policy.suspended)) do
		line("", "SUSPENDED, %s left: %s", duration(number(table_of(one).left_s) * 1000), shown(table_of(one).rule))
	end
	lines[#lines + 1] = ""
	return table.move(members(page), 1, #table_of(page.members) + 1, #lines + 1, lines)
end

local function run(parsed, world)
	local before
	local on_terminal = world.is_terminal and world.is_terminal() and not parsed.json
	local count_of = parsed.count or 0
	return control_client.watch(parsed, world, "/facts", count_of, parsed.interval * 1000, function(page, body)
		if parsed.json then
			session.print_json(world, body)
		else
			local lines = lines_of(page, before)
			if on_terminal then
				world.stdout:write(CLEAR)
			elseif before then
				session.print(world, "")
			end
			for _, line in ipairs(lines) do session.print(world, line) end
		end
		world.stdout:flush()
		before = page
	end)
end

return {
	name = "top",
	summary = "watch a node: state, traffic, store, members",
	notes = "Asks the node on its control socket, until Ctrl-C. Away from a terminal each report follows the one\n"
		.. "before; --json prints a line of JSON a report.",
	options = {
		control_client.SOCKET, session.TIMEOUT, args.JSON,
		{ name = "interval", value = "SECONDS", type = "int", min = 1, max = 3600, default = 2,
			help = "time between reports" },
		{ name = "count", value = "N", type = "int", min = 1, max = 1000000, help = "end after N reports" },
	},
	run = run,
}
