--- `nova-kms drain`: makes a node finish running requests and end.

local control_client = require("kms.cli.control_client")
local session = require("kms.cli.session")

local function show(page)
	return { ("draining, %s still running"):format(session.count(page.requests_running, "request")) }
end

return {
	name = "drain",
	summary = "make a node refuse new requests, finish running ones, push its changes, and end",
	options = control_client.OPTIONS,
	notes = "Requests and pushes that run for more than SHUTDOWN_TIMEOUT_SECONDS are cut.",
	run = function(parsed, world) return control_client.run(parsed, world, "POST", "/drain", show) end,
}
