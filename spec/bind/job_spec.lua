-- Coroutines that wait for jobs on the pool.

local native = require("spec.support.native")
local threads = require("spec.support.threads")
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

describe("the threads of the pool", function()
	local NICER, NICEST = 5, 19 -- csrc/bind/job.c

	-- How many threads have this nice value.
	local function count(nice)
		local found = 0
		for _, folder in ipairs(threads.all()) do found = found + (threads.nice(folder) == nice and 1 or 0) end
		return found
	end

	it("come behind the loop's", function()
		local own = threads.nice()
		local _, p384 = native.identity(native.secret_random(32))
		local _, peer = native.identity(native.secret_random(32))
		local channels, sealed = native.channels(8), nil
		-- The first message to a peer is a job for the pool: the key is agreed on.
		loop.spawn(function()
			sealed = native.seal(native.text_body("x"), p384, channels, native.peer_point(peer:public_der()))
		end)
		assert.is_nil(sealed)
		wait.until_true("the job", function() return sealed end)
		assert.equal(own, threads.nice())
		assert.is_true(count(math.min(NICEST, own + NICER)) > 0)
	end)
end)

describe("long jobs", function()
	local LONG = (" "):rep(1500000) -- more than BIND_LONG_BYTES (csrc/bind/job.h)
	local wallet, p384, channels

	-- Begins to seal, in a coroutine. Without an earlier message to the same peer the key is agreed on first: a heavy job.
	local function seal(text, peer, ended)
		loop.spawn(function()
			assert(native.seal(native.text_body(text), p384, channels, peer))
			ended()
		end)
	end

	local function new_peer()
		local _, key = native.identity(native.secret_random(32))
		return native.peer_point(key:public_der())
	end

	before_each(function()
		wallet, p384 = native.identity(native.secret_random(32))
		channels = native.channels(8)
		for _ = 1, 3 do uv.run("nowait") end -- no job is counted from before
	end)

	it("leave a thread of the pool to others, which need not wait for those that came before", function()
		local TOTAL = 24
		local peer, long_ended, short_ended = new_peer(), 0, nil
		for _ = 1, TOTAL do seal(LONG, peer, function() long_ended = long_ended + 1 end) end
		assert.equal(0, long_ended)
		seal("short", new_peer(), function() short_ended = long_ended end)
		wait.until_true("all of them", function() return short_ended and long_ended == TOTAL end)
		assert.is_true(short_ended < TOTAL // 2, short_ended)
	end)

	it("do not send a request's short job to the pool, which would be the only one there", function()
		local service = native.service({
			wallet = wallet, p384 = p384, nonces = native.nonces(120), channels = channels,
			store = native.store({ self = wallet:address() }),
		})
		local head = native.http_parser(16384)
		head:feed("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		local long_ended, short_ended = false, false
		seal(LONG, new_peer(), function() long_ended = true end)
		loop.spawn(function()
			service:authenticate(head, "app", 0, 0)
			short_ended = true
		end)
		assert.same({ false, true }, { long_ended, short_ended })
		wait.until_true("the long one", function() return long_ended end)
	end)
end)
