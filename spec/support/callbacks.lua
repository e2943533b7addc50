--- Errors in luv's callbacks. luv ends the process over one, and busted with it, without its summary; specs that assert
-- in a callback, or use a handle there that is closed by then, must fail instead.

local uv = require("luv")

local M = {}

local failures = {} -- texts that no test has seen

local function noted(ok, ...)
	if ok then return ... end
	failures[#failures + 1] = (...)
end

local function traced(failure)
	return debug.traceback(tostring(failure), 2)
end

local function protected(fn)
	return function(...) return noted(xpcall(fn, traced, ...)) end
end

-- Passes a call on, with its callbacks protected.
local function forward(call)
	return function(...)
		for i = 1, select("#", ...) do
			if type((select(i, ...))) == "function" then
				local args = table.pack(...)
				for k = i, args.n do
					if type(args[k]) == "function" then args[k] = protected(args[k]) end
				end
				return call(table.unpack(args, 1, args.n))
			end
		end
		return call(...)
	end
end

-- These copy functions into other Lua states.
local COPIES = { new_work = true, new_thread = true }

local function cover(functions)
	for name, fn in pairs(functions) do
		if type(fn) == "function" and not COPIES[name] then functions[name] = forward(fn) end
	end
end

--- Protects every callback that luv is given from now on, by its functions and by the methods of its handles.
function M.protect()
	cover(uv)
	for name, value in pairs(debug.getregistry()) do
		if type(name) == "string" and name:find("^uv_") and type(value) == "table" and type(value.__index) == "table" then
			cover(value.__index)
		end
	end
end

--- Takes the oldest error that was not taken yet.
-- @return text with traceback | nil
function M.take()
	return table.remove(failures, 1)
end

return M
