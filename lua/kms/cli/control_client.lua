--- What the commands share that speak to a node's control socket.

local args = require("kms.cli.args")
local config = require("kms.config")
local exit = require("kms.cli.exit")
local fetch = require("kms.http.fetch")
local session = require("kms.cli.session")
local socket_path = require("kms.admin.socket_path")
local text = require("kms.base.text")

local M = {}

local MAX_ANSWER = 16 << 20

M.SOCKET = { name = "socket", value = "PATH", help = "control socket (default: CONTROL_SOCKET, DATA_DIR/control.sock)" }

--- For `status`, which asks the node's port otherwise.
M.SOCKET_FOR_STATUS = { name = "socket", value = "PATH", help = "ask this control socket instead of a URL" }

--- The options of all of them.
M.OPTIONS = { M.SOCKET, session.TIMEOUT, args.JSON }

-- Where the socket is, by --socket or the configuration.
local function find(parsed, world)
	if parsed.socket then return parsed.socket end
	local cfg, errors = config.load({ env = world.env, default_path = world.root .. "/config/node.lua" })
	if not cfg then return nil, table.concat(errors, "\n"), exit.CONFIG end
	local path = socket_path.path(cfg)
	if path then return path end
	return nil, "this configuration has no control socket (CONTROL_SOCKET); --socket names one", exit.CONFIG
end

local UNREACHABLE = { ERR_CONNECT = true, ERR_RESOLVE = true }

local function refusal(value, response)
	local message = type(value) == "table" and type(value.message) == "string" and value.message
	return text.printable(text.cut(message or ("HTTP %d"):format(response.status), 1000))
end

--- Gives a command to the node and prints its answer: the JSON as it came, or what show(answer)
-- returns, a list of lines.
-- @param method, path of kms.admin.commands
-- @return exit code
function M.run(parsed, world, method, path, show)
	local socket, message, code = find(parsed, world)
	if not socket then
		world.stderr:write("nova-kms: ", message, "\n")
		return code
	end
	local native, failed = session.native(world, session.SMALL)
	if not native then return failed end
	return session.wait(function()
		local value, response, why = fetch.json({
			url = "http://localhost" .. path, method = method, unix_socket = socket, timeout_ms = parsed.timeout * 1000,
			max_bytes = MAX_ANSWER,
		})
		if value == nil then
			if UNREACHABLE[why] then response = ("no node listens on %s, or not for this user"):format(socket) end
			return session.fail(world, response, why)
		end
		if response.status // 100 ~= 2 then
			if parsed.json then session.print(world, response.body) end
			return session.fail(world, refusal(value, response), "ERR_REFUSED")
		end
		if parsed.json then
			session.print(world, response.body)
		else
			for _, line in ipairs(show(value)) do session.print(world, line) end
		end
		return exit.OK
	end)
end

return M
