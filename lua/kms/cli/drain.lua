--- `nova-kms drain`: has a node finish what it does and end.

local control_client = require("kms.cli.control_client")
local session = require("kms.cli.session")

local function show(answer)
	return { ("draining, %s requests are still running"):format(session.shown(answer.requests_running)) }
end

return {
	name = "drain",
	summary = "have a node accept nothing new, finish what runs, and end",
	options = control_client.OPTIONS,
	notes = "What runs longer than SHUTDOWN_TIMEOUT_SECONDS is cut.",
	run = function(parsed, world) return control_client.run(parsed, world, "POST", "/drain", show) end,
}
