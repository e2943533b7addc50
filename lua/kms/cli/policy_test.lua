--- `nova-kms policy test`: runs an operator's specs with busted, in this process.

local uv = require("luv")

local exit = require("kms.cli.exit")

local M = {}

-- Where Debian installs busted and its modules. Only this command loads code from there.
local SYSTEM = "/usr/share/lua/5.4/?.lua;/usr/share/lua/5.4/?/init.lua"
	.. ";/usr/local/share/lua/5.4/?.lua;/usr/local/share/lua/5.4/?/init.lua"

local function has_specs(dir)
	local scan = uv.fs_scandir(dir)
	for name in function() return scan and uv.fs_scandir_next(scan) end do
		if name:find("_spec%.lua$") then return true end
	end
	return false
end

-- Runs busted, which calls os.exit when a test fails. Returns whether all passed | nil, message.
local function run_busted(runner, dir)
	local finished, real_exit = {}, os.exit
	os.exit = function(status) error(setmetatable({ status = status }, { __index = finished }), 0) end -- luacheck: ignore
	_G.arg = { [0] = "nova-kms policy test", "--directory=" .. dir, "--output=plainTerminal", "." }
	local ok, failure = pcall(runner, { standalone = false })
	os.exit = real_exit -- luacheck: ignore
	_G.arg = nil
	if ok then return true end
	if getmetatable(failure) and getmetatable(failure).__index == finished then return failure.status == 0 end
	return nil, tostring(failure)
end

--- Runs the command.
-- @param dir  folder of policies and their specs
-- @return exit code
function M.run(dir, world)
	if not has_specs(dir) then
		world.stderr:write(dir, ": has no *_spec.lua\n")
		return exit.USAGE
	end
	-- After the node's folder, so that no system module can replace one of the node.
	package.path = package.path .. ";" .. SYSTEM
	local found, runner = pcall(require, "busted.runner")
	if not found then
		world.stderr:write("busted, which runs the specs, is missing: apt-get install lua-busted\n")
		return exit.FAILED
	end
	-- An absolute path, so that specs which change the folder find the modules.
	if package.path:sub(1, 1) ~= "/" then package.path = uv.cwd() .. "/" .. package.path end
	local passed, message = run_busted(runner, dir)
	if message then world.stderr:write(message, "\n") end
	return passed and exit.OK or exit.FAILED
end

return M
