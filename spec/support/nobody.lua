--- Processes of one unprivileged user: the node and programs that attack it. As root that user is
-- nobody, otherwise the user who runs the tests.

local files = require("spec.support.files")
local nodes = require("spec.support.node")
local public_copy = require("spec.support.public_copy")
local uv = require("luv")

local M = {}

M.uid = uv.getuid() == 0 and 65534 or nil

--- A folder of that user's.
function M.temp_dir()
	local dir = files.temp_dir()
	if M.uid then assert(uv.fs_chown(dir, M.uid, M.uid)) end
	return dir
end

--- Starts a node as that user. Options as nodes.start has them.
function M.start(options)
	options.dir, options.uid = options.dir or M.temp_dir(), M.uid
	return nodes.start(options)
end

--- Runs a program of the build's spec folder as that user.
-- @return what nodes.run does
function M.run(name, args)
	return nodes.run(args, { program = M.program(name), uid = M.uid, env = M.env() })
end

-- That user's path of what lies in the build folder.
local function path_for(path)
	return M.uid and public_copy.moved(path, nodes.build_dir) or path
end

--- The path of such a program.
function M.program(name)
	return path_for(("%s/spec/%s"):format(nodes.build_dir, name))
end

--- The least environment of such a program.
function M.env()
	return { PATH = os.getenv("PATH"), ASAN_OPTIONS = os.getenv("ASAN_OPTIONS") }
end

--- Starts one that goes on until it is killed.
-- @param env  more variables
-- @return { pid, code, signal }: the last two once it has ended
function M.spawn(name, args, env)
	local all, argv = {}, { "--pdeathsig", "KILL", M.program(name) }
	for key, value in pairs(M.env()) do all[#all + 1] = key .. "=" .. value end
	for key, value in pairs(env or {}) do all[#all + 1] = key .. "=" .. path_for(tostring(value)) end
	table.move(args, 1, #args, #argv + 1, argv)
	local process, handle = {}, nil
	handle, process.pid = uv.spawn("setpriv", { args = argv, env = all, uid = M.uid, gid = M.uid }, function(code, signal)
		process.code, process.signal = code, signal
		handle:close()
	end)
	assert(handle, process.pid)
	return process
end

return M
