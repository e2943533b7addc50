--- Makes audit logs without the node's own code (docs/audit.md), whole and otherwise.

local cjson = require("cjson")
local crypto = require("spec.support.crypto")

local M = {}

local Log = {}
Log.__index = Log

--- Appends a line.
-- @param members list of { name, value }, behind seq and prev
function Log:line(members)
	local parts = { ('{"seq":%d,"prev":"%s"'):format(self.seq + 1, self.hash) }
	for _, member in ipairs(members) do parts[#parts + 1] = (',"%s":%s'):format(member[1], cjson.encode(member[2])) end
	local raw = table.concat(parts) .. "}"
	self.seq, self.hash = self.seq + 1, crypto.hex(crypto.sha256(raw))
	self.lines[#self.lines + 1] = raw
	return self
end

--- Appends a line about an event.
function Log:event(name, more)
	self.time_ms = self.time_ms + 1
	local members = { { "time_ms", self.time_ms }, { "event", name } }
	for _, member in ipairs(more or {}) do members[#members + 1] = member end
	return self:line(members)
end

--- Begins a run.
-- @param torn bytes before it that are no line
function Log:start(run, torn)
	self.run = run
	return self:event("start", { { "run", run }, { "torn", torn or 0 } })
end

--- Signs what is in it.
-- @param o table, optional: by (another identity), seq, hash, run, wallet
function Log:sign(o)
	o = o or {}
	local by = o.by or self.identity
	local wallet, run, seq, hash = o.wallet or by.wallet, o.run or self.run, o.seq or self.seq, o.hash or self.hash
	local text = ("NovaKMS:Audit:%s:%s:%d:%s:%d"):format(wallet, run, seq, hash, self.time_ms + 1)
	return self:event("signature", {
		{ "wallet", wallet }, { "run", run }, { "signed_hash", hash }, { "signed_seq", seq },
		{ "signature", crypto.sign(by.wallet_key, text) },
	})
end

--- Its file.
function Log:text()
	return table.concat(self.lines, "\n") .. "\n"
end

--- @param name of the node's identity
function M.new(name)
	local identity = crypto.made_up(name or "the node of an audit log")
	return setmetatable({
		identity = identity, wallet = identity.wallet, seq = 0, hash = ("0"):rep(64), lines = {},
		time_ms = 1764489600000,
	}, Log)
end

return M
