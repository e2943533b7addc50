--- The Lua side of the program: passes the command line to its command. Without arguments it serves where the
-- environment configures a node, since containers often start the program without any, and else shows its usage.
-- @return function(root, args) -> exit code; root is the folder that holds lua/ and config/

local uv = require("luv")
local cli = require("kms.cli")
local config = require("kms.config")

-- Commands of a source tree that are not installed (lua/devnet).
local function devnet_commands()
	if not package.searchpath("devnet.command", package.path) then return {} end
	return { { name = "devnet", module = "devnet.command" }, { name = "devnet-odyn", module = "devnet.odyn_command" } }
end

-- Lua collects garbage in proportion to what was allocated. With its own factor of 100 a string of 256 KiB runs a whole
-- collection at once, and the loop stands still for milliseconds; this one takes a few percent more memory.
-- A collection begins when there is four times of what was left by the one before, instead of twice: of 2 MiB, which is
-- what an idle node has, 8. That took 2 to 3 % off a derive's CPU time.
collectgarbage("incremental", 400, 8, 0)

return function(root, args)
	local world = cli.world(root, devnet_commands())
	if #args == 0 and config.is_in_environment(world.env) then args = { "serve" } end
	local status = cli.main(args, world)
	-- luv 1.44 crashes when Lua ends while a handle is closing: let the loop finish closing them.
	uv.run("nowait")
	return status
end
