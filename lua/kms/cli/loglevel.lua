--- `nova-kms loglevel`: shows a node's log level, or sets it until the node restarts.

local control_client = require("kms.cli.control_client")
local session = require("kms.cli.session")

local LEVELS = { "error", "warn", "info", "debug" }

local function show(page)
	return { session.shown(page.level) }
end

local function run(parsed, world)
	if not parsed.level then return control_client.run(parsed, world, "GET", "/loglevel", show) end
	for _, level in ipairs(LEVELS) do
		if level == parsed.level then return control_client.run(parsed, world, "PUT", "/loglevel/" .. level, show) end
	end
	return session.fail(world, "LEVEL: allowed is one of " .. table.concat(LEVELS, ", "), "ERR_USAGE")
end

return {
	name = "loglevel",
	summary = "show a node's log level, or set it until the node restarts",
	arguments = { { name = "level", help = "one of " .. table.concat(LEVELS, ", "), optional = true } },
	options = control_client.OPTIONS,
	run = run,
}
