--- Runs programs to their end, as somebody at a terminal would; what they print goes to a log. Yields.

local process = require("devnet.process")

local M = {}

local NOT_FOUND = 127 -- exit code of setpriv where there is no such program
local SHOWN_BYTES = 2000 -- of an output, in messages
local INHERITED = { "PATH", "ASAN_OPTIONS", "UBSAN_OPTIONS" } -- what finds programs, and what sanitizers read

local function size_of(path)
	local file = io.open(path, "rb")
	if not file then return 0 end
	local size = file:seek("end")
	file:close()
	return size
end

-- What was added to a log behind an offset, at most its last SHOWN_BYTES.
local function read_from(path, offset)
	local file = assert(io.open(path, "rb"))
	file:seek("set", math.max(offset, file:seek("end") - SHOWN_BYTES))
	local text = file:read("a")
	file:close()
	return text
end

local function environment()
	local env = {}
	for _, name in ipairs(INHERITED) do env[name] = os.getenv(name) end
	return env
end

--- Runs a program.
-- @param options  program; args; log: file to append its output to; timeout_ms
-- @return exit code, output | nil, message: it did not start, or not end
function M.run(options)
	local offset = size_of(options.log)
	local child, message = process.start({
		program = options.program, args = options.args, log = options.log, env = environment(),
	})
	if not child then return nil, message end
	if not child:wait(options.timeout_ms) then
		child:kill()
		return nil, ("%s did not end within %d s"):format(options.program, options.timeout_ms // 1000)
	end
	if child.code == NOT_FOUND then return nil, ("cannot run '%s'"):format(options.program) end
	return child.signal == 0 and child.code or nil, read_from(options.log, offset)
end

return M
