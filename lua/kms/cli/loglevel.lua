--- `nova-kms loglevel`: shows a node's log level, or sets it until the node restarts.

local control_client = require("kms.cli.control_client")
local log = require("kms.base.log")
local session = require("kms.cli.session")

local function show(page)
	return { session.shown(page.level) }
end

local function run(parsed, world)
	if not parsed.level then return control_client.run(parsed, world, "GET", "/loglevel", show) end
	local level, message = log.level_of(parsed.level)
	if not level then return session.fail(world, "LEVEL: " .. message, "ERR_USAGE") end
	return control_client.run(parsed, world, "PUT", "/loglevel/" .. level, show)
end

return {
	name = "loglevel",
	summary = "show a node's log level, or set it until the node restarts",
	arguments = { { name = "level", help = "one of " .. log.LEVELS, optional = true } },
	options = control_client.OPTIONS,
	run = run,
}
