--- `nova-kms loglevel`: shows or sets what a node logs, until it restarts.

local control_client = require("kms.cli.control_client")
local session = require("kms.cli.session")

local LEVELS = { "error", "warn", "info", "debug" }

local function show(answer)
	return { session.shown(answer.level) }
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
	summary = "show what a node logs, or set it until its next start",
	arguments = { { name = "level", help = "one of " .. table.concat(LEVELS, ", "), optional = true } },
	options = control_client.OPTIONS,
	run = run,
}
