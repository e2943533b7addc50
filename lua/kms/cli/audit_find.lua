--- `nova-kms audit find` and `nova-kms audit show`: lines of an audit log, by what is asked for.

local args = require("kms.cli.args")
local calendar = require("kms.base.calendar")
local control_client = require("kms.cli.control_client")
local exit = require("kms.cli.exit")
local files = require("kms.base.files")
local order = require("kms.audit.order")
local reader = require("kms.audit.reader")
local session = require("kms.cli.session")
local text = require("kms.base.text")

local M = {}

local DAY_S = 86400
-- Members that a line shows in this order, before the others; those of the chain are not shown.
local FIRST = { "op", "app", "wallet", "name", "context", "code", "status", "rule", "request" }
local HIDDEN = { seq = true, prev = true, time_ms = true, event = true }
for _, name in ipairs(FIRST) do HIDDEN[name] = true end

-- ---- what is asked for -------------------------------------------------------------------------------

-- Unix ms of "2026-11-29", "2026-11-29T10:00" or "2026-11-29T10:00:00Z" (UTC). Returns ms, seconds that it names | nil.
local function parse_time(given)
	local year, month, day, rest = given:match("^(%d%d%d%d)-(%d%d)-(%d%d)(.*)$")
	if not year then return nil end
	local hour, minute, second = rest:match("^T(%d%d):(%d%d):?(%d?%d?)Z?$")
	if rest ~= "" and not hour then return nil end
	local seconds = calendar.unix_s(tonumber(year), tonumber(month), tonumber(day), tonumber(hour) or 0,
		tonumber(minute) or 0, tonumber(second) or 0)
	return seconds and seconds * 1000, hour == nil and DAY_S or (second or "") == "" and 60 or 1
end

local TIMES = "a time is 2026-11-29, 2026-11-29T10:00 or 2026-11-29T10:00:00Z, in UTC"

-- The hash that stands for a name, from the node. Returns it | nil, exit code, after what is wrong was printed.
local function look_up(native, parsed, world, kind, name)
	local hash
	local path = ("/audit/name/%s/%s/%s"):format(kind, parsed.app, native.hex_encode(native.sha256(name)))
	local asked = { socket = parsed.socket, timeout = parsed.timeout }
	local code = control_client.run(asked, world, "GET", path, function(page)
		hash = session.table_of(page).hash
		return {}
	end)
	if code ~= exit.OK then return nil, code end
	return hash
end

-- Returns function(line) -> whether it is asked for | nil, exit code.
local function matcher(parsed, world)
	local wanted, since_ms, until_ms = {}, 0, math.maxinteger
	local span_s
	if parsed.since then since_ms = parse_time(parsed.since) end
	if parsed["until"] then
		until_ms, span_s = parse_time(parsed["until"])
		until_ms = until_ms and until_ms + span_s * 1000 - 1
	end
	if not since_ms or not until_ms then
		return nil, session.fail(world, (since_ms and "--until: " or "--since: ") .. TIMES, "ERR_USAGE")
	end
	local names = { name = parsed.path and "path" or parsed.key and "key", context = parsed.context and "context" }
	if next(names) and not parsed.app then
		return nil, session.fail(world, "--app is missing: names are hashed for each application", "ERR_USAGE")
	end
	if parsed.path and parsed.key then return nil, session.fail(world, "give --path or --key", "ERR_USAGE") end
	local native, failed = session.native(world, session.SMALL)
	if not native then return nil, failed end
	for member, kind in pairs(names) do
		wanted[member], failed = look_up(native, parsed, world, kind, parsed[kind])
		if not wanted[member] then return nil, failed end
	end
	wanted.app, wanted.wallet, wanted.event = parsed.app, parsed.wallet, parsed.event
	return function(line)
		if line.time_ms < since_ms or line.time_ms > until_ms then return false end
		for member, value in pairs(wanted) do
			if line[member] ~= value and not (member == "wallet" and line.peer == value) then return false end
		end
		return true
	end
end

-- The files: those named, else AUDIT of the configuration and what was moved aside. Returns list | nil, exit code.
local function find_files(parsed, world)
	if #parsed.file > 0 then return parsed.file end
	local cfg, failed = session.config(world)
	if not cfg then return nil, failed end
	if cfg.AUDIT == "off" or cfg.AUDIT == "stdout" then
		return nil, session.fail(world, ("AUDIT=%s in this configuration: name files"):format(cfg.AUDIT), "ERR_CONFIG")
	end
	local folder, name = cfg.AUDIT:match("^(.*)/([^/]+)$")
	local list = {}
	for _, entry in ipairs(files.list(folder == "" and "/" or folder)) do
		local number = entry:sub(1, #name) == name and entry:sub(#name + 1)
		if number and (number == "" or number:find("^%.%d+$")) then list[#list + 1] = folder .. "/" .. entry end
	end
	if #list == 0 then return nil, session.fail(world, cfg.AUDIT .. ": no such file", "ERR_FILE_MISSING") end
	return list
end

-- ---- lines -------------------------------------------------------------------------------------------

local function shown_line(line)
	local parts = { ("%s.%03dZ"):format(os.date("!%Y-%m-%dT%H:%M:%S", line.time_ms // 1000), line.time_ms % 1000),
		("%d"):format(line.seq), text.excerpt(line.event, 40) }
	local function add(name)
		local value = line[name]
		if value ~= nil then parts[#parts + 1] = text.excerpt(name, 40) .. "=" .. session.shown(value) end
	end
	for _, name in ipairs(FIRST) do add(name) end
	local rest = {}
	for name in pairs(line) do
		if type(name) == "string" and not HIDDEN[name] then rest[#rest + 1] = name end
	end
	table.sort(rest)
	for _, name in ipairs(rest) do add(name) end
	return table.concat(parts, "  ")
end

-- Prints what a file has. Returns true | nil, message.
local function print_file(parsed, world, path, wants)
	local skipped = 0
	local ok, message = reader.each(path, function(raw)
		local line = reader.parse(raw)
		if not line then
			skipped = skipped + 1
		elseif wants(line) then
			session.print(world, parsed.json and raw or shown_line(line))
		end
		return true
	end)
	if ok and skipped > 0 then
		world.stderr:write(("nova-kms: %s: not of an audit log: %s\n"):format(path, text.count(skipped, "line")))
	end
	return ok, message
end

local function run(parsed, world)
	local list, failed = find_files(parsed, world)
	if not list then return failed end
	local wants
	wants, failed = matcher(parsed, world)
	if not wants then return failed end
	for _, path in ipairs(order.sorted(list)) do
		local file, unreadable = reader.open(path)
		if not file then return session.fail(world, unreadable, "ERR_FILE_MISSING") end
		file:close()
		local ok, message = print_file(parsed, world, path, wants)
		if not ok then return session.fail(world, ("%s: %s"):format(path, message), "ERR_UNVERIFIED") end
	end
	return exit.OK
end

-- ---- declarations ------------------------------------------------------------------------------------

local FILES = {
	name = "file", optional = true, many = true, help = "files of the log (default: AUDIT, and what was moved aside)",
}
local SINCE = { name = "since", value = "TIME", help = "no lines before this time (2026-11-29, 2026-11-29T10:00; UTC)" }
local UNTIL = { name = "until", value = "TIME", help = "no lines after this time; a day or minute counts to its end" }
local EVENT = { name = "event", value = "NAME", help = "lines about this event: derive, refused, secret_handed, ..." }

M.FIND = {
	name = "find",
	summary = "find who asked for a key, and when",
	arguments = { FILES },
	options = {
		{ name = "path", value = "PATH", help = "derivations of this path; needs --app, and a running node" },
		{ name = "context", value = "TEXT", help = "derivations in this context; likewise" },
		{ name = "key", value = "KEY", help = "operations on this record (AUDIT_RECORDS); likewise" },
		{ name = "app", value = "ID", type = "id", help = "lines about this application" },
		{ name = "wallet", value = "WALLET", type = "wallet",
			help = "lines about this wallet, of an application or a member" },
		EVENT, SINCE, UNTIL, control_client.SOCKET, session.TIMEOUT, args.JSON,
	},
	notes = "Names stand in the log as keyed hashes. A node of the cluster hashes --path, --context and --key: this\n"
		.. "command asks the one on its control socket, which notes the look-up in its own log. Who asked for a key\n"
		.. "yesterday:\n"
		.. "  nova-kms audit find --app 1000 --path wallet/root --since 2026-11-29 --until 2026-11-29",
	run = run,
}

M.SHOW = {
	name = "show",
	summary = "show a log for people to read; --json: its lines as they are",
	arguments = { FILES },
	options = { EVENT, SINCE, UNTIL, args.JSON },
	run = run,
}

return M
