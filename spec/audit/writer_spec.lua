-- When an audit log is written and signed, and what becomes of a service that does not sign.

local audit_file = require("spec.support.audit_file")
local crypto = require("spec.support.crypto")
local files = require("spec.support.files")
local loop = require("kms.base.loop")
local native = require("spec.support.native")
local wakeup = require("kms.async.wakeup")
local writer = require("kms.audit.writer")

local RUN = ("5"):rep(16)
local NODE = crypto.made_up("the node of a writer")

describe("kms.audit.writer", function()
	local dir, log, made, now, warned

	before_each(function()
		dir, now, warned = files.temp_dir(), 1764489600000, {}
		log = assert(native.audit({ path = dir .. "/log", start = ('"run":"%s"'):format(RUN), start_ms = now,
			max_file = 1 << 30, max_waiting = 1 << 20 }))
	end)
	after_each(function()
		made.closed = true
		loop.complete(function()
			while made.writing do loop.sleep(2) end
		end)
		loop.close(made.timer)
		loop.close(made.sign_timer)
		files.remove_dir(dir)
	end)

	local function sign(text) return crypto.sign(NODE.wallet_key, text) end

	-- A writer whose wallet signs as `by` does.
	local function new(by)
		local self
		self = writer.new({
			native = log, run = RUN, is_file = true, wall_ms = function() return now end, mono_ms = native.mono_ms,
			tee = { address = NODE.wallet, sign = function(_, text) return by(text) end },
			log = {
				error = function(_, event) warned[#warned + 1] = event end, info = function() end,
				limited = function(_, _, _, _, event) warned[#warned + 1] = event end,
			},
			add_signature = function(time_ms, fields)
				local waiting = log:add(time_ms, "signature", fields.wallet, nil, nil, nil, nil, nil, nil, nil, nil,
					('"run":"%s","signed_hash":"%s","signed_seq":%d,"signature":"%s"'):format(
						fields.run, fields.signed_hash, fields.signed_seq, fields.signature))
				return waiting and true or nil, "no room"
			end,
		})
		made = self
		return self
	end

	local function add(self, count)
		for _ = 1, count do self:added(assert(log:add(now, "derive"))) end
	end

	-- Runs the loop until fn() holds, and then body() in the same coroutine.
	local function when(fn, body)
		loop.complete(function()
			local deadline_ms = native.mono_ms() + 60000
			while not fn() and native.mono_ms() < deadline_ms do loop.sleep(2) end
			assert.is_true(fn())
			if body then body() end
		end)
	end

	local function close(self)
		loop.complete(function() self:close(native.mono_ms() + 60000) end)
	end

	local function lines() return audit_file.lines(dir .. "/log") end

	it("signs when there are a thousand lines, and when it is closed", function()
		local self = new(sign)
		add(self, 999) -- the start is one, too
		when(function() return self.signatures.ok == 1 and self.state.lines == 1001 end)
		add(self, 3)
		close(self)
		assert.equal(2, select(2, audit_file.check(lines(), NODE.wallet)))
		assert.equal(0, self:unsigned())
		assert.equal(1005, #lines())
		close(self)
		assert.equal(1005, #lines())
	end)

	it("writes on while a service signs, and names the line that was the last when it was asked", function()
		local waiting, asked = wakeup.new(), nil
		local self = new(function(text)
			asked = text
			waiting:wait()
			return sign(text)
		end)
		add(self, 1000)
		when(function() return asked ~= nil end)
		add(self, 50)
		when(function() return self.state.lines == 1051 end)
		assert.equal(0, self.signatures.ok)
		waiting:wake()
		when(function() return self.state.lines == 1052 end)
		local all = lines()
		assert.same({ "signature", 1001 }, { all[1052].event, math.tointeger(all[1052].signed_seq) })
		assert.equal(50, self:unsigned())
		assert.equal(1, select(2, audit_file.check(all, NODE.wallet)))
	end)

	it("goes on without signatures where there are none, counts that, and signs all once there are", function()
		local works = false
		local self = new(function(text)
			if works then return sign(text) end
			return nil, "the service does not answer"
		end)
		add(self, 1000)
		when(function() return self.signatures.failed == 1 end)
		assert.same({ "the audit log is not signed" }, warned)
		assert.equal(1001, self:unsigned())
		works = true
		close(self)
		assert.equal(1, select(2, audit_file.check(lines(), NODE.wallet)))
		assert.equal(1002, #lines())
	end)

	it("survives a wallet that throws", function()
		loop.on_error(function() end)
		local self = new(function() error("broken") end)
		add(self, 1000)
		when(function() return loop.errors() > 0 end)
		add(self, 1)
		when(function() return self.state.lines == 1002 end)
		loop.on_error(function(text) io.stderr:write(text, "\n") end)
	end)

	it("counts as failing while a disk does not answer", function()
		local clock, waiting = 0, wakeup.new()
		local stuck = setmetatable({ write = function()
			waiting:wait()
			return { sequence = 1, hash = "", lines = 1, bytes = 1, file_bytes = 1, rotation_error = 0 }
		end, counts = function() return 0, 0, 0, 0 end }, { __index = log })
		made = writer.new({
			native = stuck, run = RUN, is_file = true, wall_ms = function() return now end, tee = {}, log = {},
			mono_ms = function() return clock end, add_signature = function() end,
		})
		made:write()
		clock = 9999
		assert.is_nil(made:trouble())
		clock = 10000
		assert.truthy(made:trouble())
		waiting:wake()
		assert.is_nil(made:trouble())
	end)

	it("ends in time where it cannot write", function()
		files.remove_dir(dir)
		local self = new(sign)
		add(self, 1)
		close(self)
		assert.equal("no such file or directory", self.failure:lower())
		assert.same({ "the audit log is not written" }, warned)
		assert.equal(0, self.signatures.ok)
	end)
end)
