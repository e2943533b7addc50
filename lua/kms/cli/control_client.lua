--- Shared by commands that use a node's control socket.

local args = require("kms.cli.args")
local exit = require("kms.cli.exit")
local fetch = require("kms.http.fetch")
local loop = require("kms.base.loop")
local session = require("kms.cli.session")
local socket_path = require("kms.admin.socket_path")
local text = require("kms.base.text")
local uv = require("luv")
local wakeup = require("kms.async.wakeup")

local M = {}

local MAX_RESPONSE = 16 << 20 -- bytes

M.SOCKET = { name = "socket", value = "PATH", help = "control socket (default: CONTROL_SOCKET, DATA_DIR/control.sock)" }

--- The option of `status`, which otherwise uses the node's port.
M.SOCKET_FOR_STATUS = { name = "socket", value = "PATH", help = "use this control socket instead of a URL" }

--- The options of these commands.
M.OPTIONS = { M.SOCKET, session.TIMEOUT, args.JSON }

-- The path of the socket, from --socket or the configuration.
-- Returns path | nil, exit code, after what is wrong was printed.
local function find(parsed, world)
	if parsed.socket then return parsed.socket end
	local cfg, failed = session.config(world)
	if not cfg then return nil, failed end
	local path = socket_path.path(cfg)
	if path then return path end
	return nil, session.fail(world,
		"this configuration has no control socket (CONTROL_SOCKET): name one with --socket", "ERR_CONFIG")
end

-- Whether the process that listens on a socket may be told commands: the node's user is this one, or root. Root may
-- command everybody's. Waits. Returns true | nil, message.
local function check_listener(path)
	local native = require("kms_native")
	local pipe, waiting = uv.new_pipe(false), wakeup.new()
	local failure
	pipe:connect(path, function(message)
		failure = message
		waiting:wake()
	end)
	waiting:wait()
	local uid = not failure and native.peer_credentials(pipe:fileno())
	pipe:close()
	-- What fails here fails again, with its message, when the command is sent.
	if not uid or uid == 0 or uid == uv.getuid() or uv.getuid() == 0 then return true end
	return nil, ("%s: the process that listens there belongs to user %d"):format(path, uid)
end

local UNREACHABLE = { ERR_CONNECT = true, ERR_RESOLVE = true }

-- Why a socket cannot be reached, as the system says it.
local function unreachable(path)
	local _, why = uv.fs_stat(path)
	local usable
	if not why then usable, why = uv.fs_access(path, "W") end
	if not why and not usable then why = "permission denied" end
	why = why and why:gsub(": " .. path:gsub("%p", "%%%0") .. "$", "") or "connection refused"
	return ("no node answers on %s: %s"):format(path, why)
end

local function refusal(response)
	local value = response.value
	local message = type(value) == "table" and type(value.message) == "string" and value.message
	return text.printable(text.cut(message or ("HTTP %d"):format(response.status), 1000))
end

-- Sends a command; yields. Returns the decoded response, its text | nil, exit code, after the failure was printed.
local function ask(parsed, world, socket, method, path)
	local response, message, code = fetch.json({
		url = "http://localhost" .. path, method = method, unix_socket = socket, timeout_ms = parsed.timeout * 1000,
		max_bytes = MAX_RESPONSE,
	})
	if not response then
		if UNREACHABLE[code] then message = unreachable(socket) end
		return nil, session.fail(world, message, code)
	end
	if response.status // 100 ~= 2 then
		if parsed.json then session.print_json(world, response.body) end
		return nil, session.fail(world, refusal(response), "ERR_REFUSED")
	end
	if type(response.value) ~= "table" then
		return nil, session.fail(world, "the node's reply is not a JSON object", "ERR_UNVERIFIED")
	end
	return response.value, response.body
end

-- Runs use(socket, native), which yields, with the socket of a node that may be told commands.
-- Returns the exit code.
local function with_socket(parsed, world, use)
	local socket, exit_code = find(parsed, world)
	if not socket then return exit_code end
	local native, failed = session.native(world, session.SMALL)
	if not native then return failed end
	return session.wait(function()
		local ok, message = check_listener(socket)
		if not ok then return session.fail(world, message, "ERR_REFUSED") end
		return use(socket, native)
	end)
end

--- Sends a command to the node and prints the response: its JSON, or the lines of show().
-- @param method, path  of kms.admin.commands
-- @param show  function(decoded response) -> list of lines
-- @param check  function(decoded response, native) -> exit code, called after that; nil: always exit.OK. It may yield
-- @return exit code
function M.run(parsed, world, method, path, show, check)
	return with_socket(parsed, world, function(socket, native)
		local value, body = ask(parsed, world, socket, method, path)
		if value == nil then return body end
		if parsed.json then
			session.print_json(world, body)
		else
			for _, line in ipairs(show(value)) do session.print(world, line) end
		end
		return check and check(value, native) or exit.OK
	end)
end

--- Asks the node again and again, until `count` responses were shown or one does not come.
-- @param path  of a command that only reads
-- @param count  responses; 0: without end
-- @param interval_ms  between them
-- @param show  function(decoded response, its text), called with each
-- @return exit code
function M.watch(parsed, world, path, count, interval_ms, show)
	return with_socket(parsed, world, function(socket)
		local shown = 0
		while true do
			local value, body = ask(parsed, world, socket, "GET", path)
			if value == nil then return body end
			show(value, body)
			shown = shown + 1
			if shown == count then return exit.OK end
			loop.sleep(interval_ms)
		end
	end)
end

return M
