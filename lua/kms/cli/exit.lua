--- Exit codes of the program, the same for every command.

return {
	OK = 0,
	FAILED = 1, -- the node refused or failed
	USAGE = 2, -- the command line is wrong
	UNREACHABLE = 3, -- the node cannot be reached
	CONFIG = 4, -- the configuration is not valid
	UNVERIFIED = 5, -- the node's answer does not prove what it must
	-- An attestation document:
	MALFORMED = 6, -- is none
	UNTRUSTED = 7, -- is signed by nobody who is trusted
	OUTDATED = 8, -- is not valid at that time
	UNEXPECTED = 9, -- is authentic, and not what was asked for
}
