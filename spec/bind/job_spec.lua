-- Coroutines that wait for jobs on the pool.

local native = require("spec.support.native")
local uv = require("luv")
local wait = require("spec.support.wait")

local loop = require("kms.base.loop")

local JOBS = 40
local AT_ONCE = 16 -- from the pool and from the list, 8 each (csrc/bind/job.c)

describe("jobs that have run", function()
	it("let a few coroutines go on at a time, so that other events have their turn between them", function()
		local wallet, p384 = native.identity(native.secret_random(32))
		local service = native.service({
			wallet = wallet, p384 = p384, nonces = native.nonces(120), channels = native.channels(8),
			store = native.store({ self = wallet:address() }),
		})
		local head = native.http_parser(16384)
		head:feed("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		local ended, round, by_round = 0, 0, {}
		local prepare = uv.new_prepare()
		finally(function() prepare:close() end)
		prepare:start(function() round = round + 1 end)
		for _ = 1, JOBS do
			loop.spawn(function()
				service:authenticate(head, "app", 0, 0)
				ended, by_round[round] = ended + 1, (by_round[round] or 0) + 1
			end)
		end
		uv.sleep(300) -- time for the pool to run them all, while the loop looks at none
		wait.until_true("all of them", function() return ended == JOBS end)
		by_round[0] = nil -- those that ran at once
		for _, count in pairs(by_round) do assert.is_true(count <= AT_ONCE, count) end
	end)
end)
