--- Files of an audit log, read and checked without the node's own code (docs/audit.md).

local cjson = require("cjson")
local crypto = require("spec.support.crypto")
local files = require("spec.support.files")

local M = {}

--- The lines of a file, decoded; each also has `raw`. An incomplete last line is left out.
function M.lines(path)
	local list = {}
	for raw in (files.read(path) or ""):gmatch("([^\n]*)\n") do
		local ok, line = pcall(cjson.decode, raw)
		line = ok and line or {}
		line.raw = raw
		list[#list + 1] = line
	end
	return list
end

--- The hash that the next line carries.
function M.hash(line)
	return crypto.hex(crypto.sha256(line.raw))
end

--- Those about an event.
function M.events(path, event)
	local list = {}
	for _, line in ipairs(M.lines(path)) do
		if line.event == event then list[#list + 1] = line end
	end
	return list
end

--- Checks that lines follow each other, and that signatures are this wallet's.
-- @param before  hash that the first line must name; nil: that of no line
-- @return hash of the last line, signatures
function M.check(lines, wallet, before)
	local hashes, signatures, run = {}, 0, nil
	before = before or ("0"):rep(64)
	for _, line in ipairs(lines) do
		assert(line.prev == before, "the chain is broken at " .. line.raw)
		before = M.hash(line)
		hashes[line.seq] = before
		if line.event == "start" then run = line.run end
		if line.event == "signature" then
			signatures = signatures + 1
			assert(line.signed_hash == hashes[line.signed_seq], "another line is signed")
			local text = ("NovaKMS:Audit:%s:%s:%d:%s:%d"):format(wallet, run or line.run, line.signed_seq, line.signed_hash,
				line.time_ms)
			assert(crypto.recover(text, line.signature) == wallet, "not signed by " .. wallet)
		end
	end
	return before, signatures
end

return M
