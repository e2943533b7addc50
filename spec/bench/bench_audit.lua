--- What the audit log costs a request: its line, from the hash of the name to the file, on all threads together; and
-- the same call without a log. lua5.4 spec/bench/bench_audit.lua BUILD

package.path = "./?.lua;lua/?.lua;lua/?/init.lua;" .. package.path
package.cpath = (arg[1] or "build") .. "/?.so;" .. package.cpath

local native = require("kms_native")
local uv = require("luv")
local audit = require("kms.audit")
local loop = require("kms.base.loop")
local measure = require("spec.bench.lib.measure")

local CALLS = 10000 -- of a round: what waits for the file at most
local MOST_US, MOST_OFF_US = 2, 0.2

assert(native.init(8 << 20))
local dir = assert(uv.fs_mkdtemp((os.getenv("TMPDIR") or "/tmp") .. "/bench_audit.XXXXXX"))
local WALLET = "0x" .. ("12"):rep(20)
local quiet = setmetatable({}, { __index = function() return function() end end })
local service = assert(native.service({
	self = WALLET, nonces = assert(native.nonces(120)), channels = assert(native.channels(16)),
	store = assert(native.store({ self = WALLET })),
}))
local opened = assert(service:request("get", "wallet/of/somebody"))

local function new(place)
	local made = assert(audit.new({
		config = { AUDIT = place, AUDIT_FILE_BYTES = 1 << 30, AUDIT_RECORDS = true }, log = quiet,
		tee = { address = WALLET, sign = function() return "0x" .. ("ab"):rep(65) end },
		wall_ms = native.wall_ms, mono_ms = native.mono_ms, policy_hash = ("0"):rep(64),
	}))
	made:use(assert(native.secret_random(32)))
	return made
end

-- What kms.routes.operations and kms.routes.dispatch do about an operation.
local arrived = { wallet = WALLET, app_id = "1000", route = { name = "get" },
	request = { id = function() return "0123456789abcdef-123456" end } }
local reply = { status = 200 }
local function one(log)
	arrived.name_hash, arrived.context_hash = log:names("get", "1000", opened)
	log:outcome(arrived, reply)
end

local function round(log)
	for _ = 1, CALLS do one(log) end
	if not log.is_on then return end
	local deadline_ms = native.mono_ms() + 60000
	loop.complete(function()
		log.writer:write()
		local function waiting() return select(3, log.log_file:counts()) end
		while (waiting() > 0 or log.writer.writing) and native.mono_ms() < deadline_ms do loop.sleep(1) end
	end)
end

print("Audit log")
for _, case in ipairs({ { "off", "off", MOST_OFF_US }, { "on", dir .. "/audit.log", MOST_US } }) do
	local log = new(case[2])
	measure.report("a request, AUDIT " .. case[1], measure.median_us(function() round(log) end, 1) / CALLS, "us", case[3])
	if log.is_on then
		local status = log:status()
		print(("  %d lines of %d bytes, %d lost"):format(status.lines, log.writer.state.bytes // status.lines,
			status.lost_lines))
	end
end
require("kms.base.files").remove_dir(dir)
os.exit(true)
