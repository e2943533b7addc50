--- Shared by commands that talk to a node: options, initialization, exit codes, output.

local uv = require("luv")
local exit = require("kms.cli.exit")
local config = require("kms.config")
local text = require("kms.base.text")

local M = {}

--- Guarded memory in bytes: enough for keys and names; as much as the system grants.
M.SMALL, M.ALL = 8 << 20, 0

M.URL = {
	name = "url", value = "URL", type = "base_url", help = "base URL of the node (default: the configured BIND_ADDR)",
}
M.TIMEOUT = {
	name = "timeout", value = "SECONDS", help = "timeout of each request", type = "int", min = 1, max = 3600, default = 10,
}

-- Exit codes by error code; other errors are failures of the node or of this machine.
local EXITS = {
	ERR_CONNECT = exit.UNREACHABLE, ERR_RESOLVE = exit.UNREACHABLE, ERR_TIMEOUT = exit.UNREACHABLE,
	ERR_TLS = exit.UNVERIFIED, ERR_UNVERIFIED = exit.UNVERIFIED,
	ERR_USAGE = exit.USAGE, ERR_URL = exit.USAGE, ERR_ADDRESS = exit.USAGE, ERR_PEER_KEY = exit.USAGE,
	ERR_HEX = exit.USAGE, ERR_FIELD_MISSING = exit.USAGE, ERR_UTF8 = exit.USAGE, ERR_KEY_SIZE = exit.USAGE,
	ERR_VALUE_SIZE = exit.USAGE, ERR_FILE_MISSING = exit.USAGE, ERR_FILE_MODE = exit.USAGE,
	ERR_OUTCOME = exit.OUTCOME, ERR_FIELD_VALUE = exit.USAGE, ERR_FIELD_TYPE = exit.USAGE,
	ERR_FILE_FORMAT = exit.USAGE, ERR_STATE = exit.USAGE, ERR_CONFIG = exit.CONFIG,
}

--- A member of a decoded page as text for a terminal; "-" where it is absent or null.
function M.shown(value)
	if value == nil or type(value) == "userdata" then return "-" end
	local whole = type(value) == "number" and math.tointeger(value) -- cjson reads 7 as 7.0
	return text.printable(text.cut(tostring(whole or value), 300))
end

--- A number of things in a decoded page, in words: "1 key", "2 keys", "- keys" where it is absent.
-- @param value  the member; @param noun, plural  as kms.base.text.count takes them
function M.count(value, noun, plural)
	return text.count(M.shown(value), noun, plural)
end

--- A member that should be a table; an empty table where it is not.
function M.table_of(value)
	return type(value) == "table" and value or {}
end

--- Prints a line.
function M.print(world, line)
	world.stdout:write(line, "\n")
end

--- Prints JSON that a node has written.
function M.print_json(world, body)
	M.print(world, text.printable_json(body))
end

--- The exit code for an error.
function M.exit_code(code)
	return EXITS[code] or exit.FAILED
end

--- Prints one line with an error.
-- @return exit code for `code`
function M.fail(world, message, code)
	world.stderr:write("nova-kms: ", message, "\n")
	return M.exit_code(code)
end

--- Initializes guarded memory, once per process.
-- @param locked_bytes  M.SMALL or M.ALL
-- @return native module | nil, exit code, after the error was printed
function M.native(world, locked_bytes)
	local native = world.native()
	if native.ready() then return native end
	local ok, message, code = native.init(locked_bytes)
	if not ok then return nil, M.fail(world, message, code) end
	return native
end

--- The bytes of the teePubkey that an option names, whose form kms.cli.option_types has checked.
-- @param option  its name; @param digits  its value
-- @return bytes | nil, message, code
function M.tee_pubkey(native, option, digits)
	local bytes = native.hex_decode(digits)
	if native.peer_point(bytes) then return bytes end
	return nil, ("--%s: '%s' is no P-384 key"):format(option, text.cut(digits, 32)), "ERR_USAGE"
end

--- The configuration as a node on this machine has it, NOVA_KMS_CONFIG included.
-- @return configuration | nil, exit code, after the mistakes were printed
function M.config(world)
	local cfg, errors = config.load({ env = world.env, default_path = world.root .. "/config/node.lua" })
	if cfg then return cfg end
	return nil, M.fail(world, table.concat(errors, "\n"), "ERR_CONFIG")
end

--- The URL of a node for clients on its machine. A wildcard address cannot be called.
function M.local_url(cfg)
	local host, port = cfg.BIND_ADDR:match("^(.*):(%d+)$")
	if host == "0.0.0.0" or host == "[::]" then host = "127.0.0.1" end
	return ("http://%s:%s"):format(host, port)
end

--- The URL to call: --url, or that of the configured node.
-- @return URL | nil, exit code, after the mistakes of the configuration were printed
function M.url(parsed, world)
	if parsed.url then return parsed.url end
	local cfg, failed = M.config(world)
	if not cfg then return nil, failed end
	return M.local_url(cfg)
end

--- The path of a seed: --seed, or a file of DATA_DIR.
-- @return path | nil, exit code, after the mistakes of the configuration were printed
function M.seed_path(parsed, world, name)
	if parsed.seed then return parsed.seed end
	local cfg, failed = M.config(world)
	if not cfg then return nil, failed end
	return cfg.DATA_DIR .. "/" .. name
end

--- Runs fn() in a coroutine to its end, and the loop meanwhile.
-- @return what fn returned; throws what it threw
function M.wait(fn)
	local ok, result
	coroutine.wrap(function() ok, result = xpcall(fn, debug.traceback) end)()
	while ok == nil do uv.run("once") end
	if not ok then error(result, 0) end
	return result
end

return M
