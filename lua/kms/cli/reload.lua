--- `nova-kms reload`: makes a node read its policies again.

local control_client = require("kms.cli.control_client")
local session = require("kms.cli.session")

local function show(page)
	return { (page.changed == true and "policies in force: " or "no change: ") .. session.shown(page.hash) }
end

return {
	name = "reload",
	summary = "make a node read its policies again",
	options = control_client.OPTIONS,
	notes = "If the policies have a mistake, the old ones stay in force and the exit code is 1.",
	run = function(parsed, world) return control_client.run(parsed, world, "POST", "/reload", show) end,
}
