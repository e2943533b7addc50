--- The program's Lua side: hands the command line to its command. Without one it serves:
-- what starts containers and services often names the program alone.
-- @return function(root, args) -> exit status; root is the folder that holds lua/ and config/

local uv = require("luv")

return function(root, args)
	local status = require("kms.cli").main(root, #args > 0 and args or { "serve" })
	-- luv 1.44 crashes when Lua ends while a handle is being closed: let the loop finish with them.
	uv.run("nowait")
	return status
end
