--- `nova-kms version`: prints the version.

local args = require("kms.cli.args")
local exit = require("kms.cli.exit")
local json = require("kms.base.json")
local uv = require("luv")

local function run(parsed, world)
	local version = world.native().version
	if not parsed.json then
		world.stdout:write("nova-kms ", version, "\n")
		return exit.OK
	end
	world.stdout:write(json.encode({ version = version, lua = _VERSION, libuv = uv.version_string() }), "\n")
	return exit.OK
end

return {
	name = "version",
	summary = "show the version",
	options = { args.JSON },
	run = run,
}
