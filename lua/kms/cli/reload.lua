--- `nova-kms reload`: has a node read its policies again.

local control_client = require("kms.cli.control_client")
local session = require("kms.cli.session")

local function show(answer)
	return { (answer.changed == true and "policies in force: " or "no change: ") .. session.shown(answer.hash) }
end

return {
	name = "reload",
	summary = "have a node read its policies again",
	options = control_client.OPTIONS,
	notes = "Where anything is wrong with them, the old ones stay and the exit code is 1.",
	run = function(parsed, world) return control_client.run(parsed, world, "POST", "/reload", show) end,
}
