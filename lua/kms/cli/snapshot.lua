--- `nova-kms snapshot`: lists sealed snapshots, has a node write one, and has a node open them all.

local control_client = require("kms.cli.control_client")
local anchors = require("kms.cli.snapshot_anchor")
local args = require("kms.cli.args")
local exit = require("kms.cli.exit")
local files = require("kms.base.files")
local json = require("kms.base.json")
local names = require("kms.snapshot.names")
local session = require("kms.cli.session")
local table_lines = require("kms.cli.table").lines
local time = require("kms.cli.times").time
local uv = require("luv")

local shown, table_of = session.shown, session.table_of

local VERIFY_S = 3600

-- ---- list ------------------------------------------------------------------------------------------

-- What the names in a wallet's folder say.
local function read_wallet(path)
	local found = { manifests = 0, files = 0, bytes = 0, newest = 0 }
	for _, name in ipairs(files.list(path)) do
		local sequence, kind = names.parse(name)
		local stat = sequence and uv.fs_stat(path .. "/" .. name)
		if stat then
			found.bytes = found.bytes + stat.size
			if kind == "manifest" then
				found.manifests, found.newest = found.manifests + 1, math.max(found.newest, sequence)
			else
				found.files = found.files + 1
			end
		end
	end
	return found
end

-- All wallets of all secrets in a folder: list of tables.
local function read_folder(folder)
	local list = {}
	for _, secret in ipairs(files.list(folder)) do
		for _, wallet in ipairs(secret:find("^%x+$") and #secret == 16 and files.list(folder .. "/" .. secret) or {}) do
			if names.is_wallet(wallet) then
				local found = read_wallet(("%s/%s/%s"):format(folder, secret, wallet))
				found.secret, found.wallet = secret, wallet
				list[#list + 1] = found
			end
		end
	end
	return list
end

local NO_BUCKETS = "list reads folders: a bucket is listed by its own tools, or by `nova-kms snapshot verify`"

-- The folder, from --folder or the configuration. Returns it | nil, exit code.
local function find_folder(parsed, world)
	if parsed.folder then return parsed.folder end
	local cfg, failed = session.config(world)
	if not cfg then return nil, failed end
	if cfg.SNAPSHOT == "odyn" then return nil, session.fail(world, NO_BUCKETS, "ERR_USAGE") end
	if cfg.SNAPSHOT ~= "off" then return cfg.SNAPSHOT end
	return nil, session.fail(world, "SNAPSHOT is off in this configuration: name a folder with --folder", "ERR_CONFIG")
end

local LIST_HEAD = { "SECRET", "WALLET", "NEWEST", "MANIFESTS", "FILES", "BYTES" }

local function run_list(parsed, world)
	local folder, failed = find_folder(parsed, world)
	if not folder then return failed end
	if folder:find("^s3://") then return session.fail(world, NO_BUCKETS, "ERR_USAGE") end
	if not uv.fs_stat(folder) then return session.fail(world, folder .. ": no such folder", "ERR_FILE_MISSING") end
	local list = read_folder(folder)
	if parsed.json then
		session.print(world, json.encode({ snapshots = json.list(list) }))
		return exit.OK
	end
	local rows = { LIST_HEAD }
	for _, found in ipairs(list) do
		rows[#rows + 1] = {
			found.secret, found.wallet, found.manifests > 0 and time(found.newest) or "-", shown(found.manifests),
			shown(found.files), shown(found.bytes),
		}
	end
	for _, line in ipairs(#rows > 1 and table_lines(rows) or { "no snapshots" }) do session.print(world, line) end
	return exit.OK
end

-- ---- save and verify -------------------------------------------------------------------------------

local function show_saved(page)
	return { "newest snapshot: " .. time(page.saved_at_ms) }
end

local VERIFY_HEAD = { "WALLET", "NEWEST", "MANIFESTS", "FILES", "BYTES", "BAD" }

local function show_verified(page)
	local rows, lines = { VERIFY_HEAD }, {}
	for _, value in ipairs(table_of(page.wallets)) do
		local found = table_of(value)
		local bad = table_of(found.bad)
		rows[#rows + 1] = {
			shown(found.wallet), time(found.newest_time), shown(found.manifests), shown(found.files), shown(found.bytes),
			shown(#bad),
		}
		for _, item in ipairs(bad) do
			local file = table_of(item)
			lines[#lines + 1] = ("bad: %s %s %s: %s"):format(shown(found.wallet), shown(file.kind), shown(file.sequence),
				shown(file.reason))
		end
	end
	local all = #rows > 1 and table_lines(rows) or { "no snapshots" }
	return table.move(lines, 1, #lines, #all + 1, all)
end

-- Compares with the chain where --rpc names servers of it. Returns exit code.
local function check_anchor(parsed, world, page, native)
	if not parsed.rpc then return exit.OK end
	local found, message, code = anchors.newest(native, parsed.kms_registry, parsed.rpc)
	if found == nil then return session.fail(world, message, code) end
	local ok, line = anchors.compare(page.wallets, found, time)
	if parsed.json then world.stderr:write(line, "\n") else session.print(world, line) end
	return ok and exit.OK or exit.FAILED
end

local function run_verify(parsed, world)
	return control_client.run(parsed, world, "GET", "/snapshots/verify", show_verified, function(page, native)
		local code = check_anchor(parsed, world, table_of(page), native)
		return code == exit.OK and page.bad ~= 0 and exit.FAILED or code
	end)
end

local WAIT = {
	name = "timeout", value = "SECONDS", help = "how long to wait for the node", type = "int", min = 1, max = VERIFY_S,
	default = VERIFY_S,
}
local FOLDER = { name = "folder", value = "PATH", help = "folder with snapshots (default: SNAPSHOT)" }
local RPC = {
	name = "rpc", value = "URL", type = "url", many = true,
	help = "compare with the newest anchor that this RPC server shows; several must agree",
}
local CONTRACT = {
	name = "kms-registry", value = "ADDRESS", type = "contract", help = "with --rpc: the KMSRegistry contract",
}

return {
	name = "snapshot",
	summary = "list sealed snapshots, write one now, check that all of them open",
	notes = "Nothing here restores: a node that starts with an empty store and finds no member with a complete one\n"
		.. "restores by itself (docs/snapshots.md).",
	commands = {
		{
			name = "list", summary = "list what the names in the folder say; needs no node and no secret",
			options = { FOLDER, args.JSON }, run = run_list,
		},
		{
			name = "save", summary = "have a node write a snapshot now, where something changed",
			options = { control_client.SOCKET, WAIT, args.JSON },
			run = function(parsed, world) return control_client.run(parsed, world, "POST", "/snapshots", show_saved) end,
		},
		{
			name = "verify", summary = "have a node open every file of every node, and name those that do not",
			options = { RPC, CONTRACT, control_client.SOCKET, WAIT, args.JSON }, run = run_verify,
		},
	},
}
