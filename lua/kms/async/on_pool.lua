--- Calls functions of luv that read or write files on its pool, where a slow disk holds nobody up.

local loop = require("kms.base.loop")

local M = {}

--- Calls one of them; yields.
-- @param fn of luv, which takes a callback as its last argument
-- @return its result | nil, message
function M.call(fn, ...)
	local co = coroutine.running()
	local args = table.pack(...)
	args[args.n + 1] = function(message, result) loop.resume(co, result, message) end
	local request, message = fn(table.unpack(args, 1, args.n + 1))
	if not request then return nil, message end
	return coroutine.yield()
end

return M
