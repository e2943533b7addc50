--- Exit codes of the program, the same for every command.

return {
	OK = 0,
	FAILED = 1, -- the node refused or failed
	USAGE = 2, -- the command line is wrong
	UNREACHABLE = 3, -- the node cannot be reached
	CONFIG = 4, -- the configuration is not valid
	UNVERIFIED = 5, -- the node's response cannot be verified
	-- Of attestation documents:
	MALFORMED = 6, -- it is not a document
	UNTRUSTED = 7, -- its signature does not lead to a trusted root
	OUTDATED = 8, -- it is not valid at that time
	UNEXPECTED = 9, -- it is authentic, but not as required
	OUTCOME = 10, -- a write may have been done or not: its answer did not come
}
