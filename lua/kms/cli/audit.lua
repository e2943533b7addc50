--- `nova-kms audit`: reads the audit log of a node (docs/audit.md).

local find = require("kms.cli.audit_find")
local verify = require("kms.cli.audit_verify")

return {
	name = "audit",
	summary = "read a node's audit log: verify that it is whole, find who asked for what",
	notes = "find and show believe what a file says: verify it first.",
	commands = { verify.COMMAND, find.FIND, find.SHOW },
}
