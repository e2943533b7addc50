--- What happened in a simulation, as a digest: a seed that replays gives the same again.

local crypto = require("spec.support.crypto")

local M = {}

local BLOCK = 500 -- lines that are hashed at a time

local digest, lines = "", {}

local function fold()
	lines[#lines + 1] = digest
	digest, lines = crypto.keccak256(table.concat(lines, "\n")), {}
end

--- Begins anew.
function M.reset()
	digest, lines = "", {}
end

--- Something happened.
function M.note(form, ...)
	lines[#lines + 1] = form:format(...)
	if #lines >= BLOCK then fold() end
end

--- The digest of all that was noted since the reset, in hex.
function M.digest()
	fold()
	return crypto.hex(digest):sub(1, 16)
end

return M
