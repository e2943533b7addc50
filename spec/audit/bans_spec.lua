-- Lines that members can cause: a member that is banned again and again does not fill the audit log.

local files = require("spec.support.files")
local native = require("spec.support.native")
local wait = require("spec.support.wait")

local audit = require("kms.audit")
local loop = require("kms.base.loop")

local PER_MINUTE = 60
local OWN, ONE, TWO = "0x" .. ("1"):rep(40), "0x" .. ("2"):rep(40), "0x" .. ("3"):rep(40)

describe("lines about members", function()
	local dir, log
	local quiet = setmetatable({}, { __index = function() return function() end end })

	before_each(function()
		dir = files.temp_dir()
		log = assert(audit.new({
			config = { AUDIT = dir .. "/log", AUDIT_FILE_BYTES = 1 << 30, AUDIT_RECORDS = false }, log = quiet,
			tee = { address = OWN, sign = function() return nil, "not in this spec" end }, wall_ms = native.wall_ms,
			mono_ms = function() return 1000 end, policy_hash = ("0"):rep(64),
		}))
	end)
	after_each(function()
		local closed = false
		loop.spawn(function()
			log:close(math.maxinteger)
			closed = true
		end)
		wait.until_true("the end of the log", function() return closed end)
		files.remove_dir(dir)
	end)

	local function ban(wallet, times)
		for _ = 1, times do log:of_member("ban", wallet, { peer = wallet, cause = "forged" }) end
	end

	local function lines_of(text, part)
		return select(2, text:gsub(part, ""))
	end

	it("are sixty a minute for each, and what is more is counted", function()
		ban(ONE, PER_MINUTE + 1000)
		ban(TWO, PER_MINUTE)
		local counted = log.refusals:report()
		assert.same({ ["ban/" .. ONE] = 1000 }, counted)
		log.writer:write()
		wait.until_true("the file", function()
			return lines_of(files.read(dir .. "/log") or "", '"event":"ban"') == 2 * PER_MINUTE
		end)
		local text = files.read(dir .. "/log")
		assert.equal(PER_MINUTE, lines_of(text, ('"peer":"%s"'):format(ONE)))
		assert.equal(PER_MINUTE, lines_of(text, ('"peer":"%s"'):format(TWO)))
	end)

	it("do not use up the lines about refusals of the same member", function()
		ban(ONE, PER_MINUTE + 1)
		assert.is_true(log.refusals:take(ONE))
	end)
end)
