-- Jobs in the background: sealed snapshots are made on a thread of low priority that rests most of the time.

local files = require("spec.support.files")
local native = require("spec.support.native")
local snapshots = require("spec.support.snapshots")
local threads = require("spec.support.threads")
local wait = require("spec.support.wait")

local loop = require("kms.base.loop")

local NAME = "kms-background" -- csrc/bind/background.c
local NICER, NICEST, REST_FACTOR = 10, 19, 3
local WALLET = "0x" .. ("1"):rep(40)
local MASTER = native.secret_random(32)
local PAGE = ("x"):rep(1 << 20)

-- Some iterations of the loop.
local function pass()
	for _ = 1, 3 do loop.sleep(1) end
end

local function write_file(dir, sequence)
	local writer = assert(native.snapshot_writer(MASTER, "records", WALLET, sequence))
	assert.is_true(writer:add(native.text_body(PAGE)))
	assert.is_true(native.write_new_file(dir, "", tostring(sequence), assert(writer:finish())))
end

describe("the background", function()
	local dir
	before_each(function() dir = files.temp_dir() end)
	after_each(function()
		native.background_rests(true)
		files.remove_dir(dir)
	end)

	it("seals and writes the files of snapshots", function()
		local before = native.background_counts()
		snapshots.wait(function() write_file(dir, 1) end)
		assert.equal(before + 3, (native.background_counts()))
	end)

	it("is a thread that is nicer than the process", function()
		snapshots.wait(function() write_file(dir, 1) end)
		assert.equal(math.min(NICEST, threads.nice() + NICER), threads.nice(assert(threads.named(NAME))))
	end)

	it("rests for three times as long as it worked", function()
		local _, work, rest = native.background_counts()
		snapshots.wait(function() write_file(dir, 1) end)
		local _, work_after, rest_after = native.background_counts()
		assert.is_true(work_after > work)
		assert.equal(REST_FACTOR * (work_after - work), rest_after - rest)
	end)

	it("does not rest where there is no time for that", function()
		local jobs, _, rest = native.background_counts()
		native.background_rests(false)
		snapshots.wait(function() write_file(dir, 1) end)
		local jobs_after, _, rest_after = native.background_counts()
		assert.same({ 3, 0 }, { jobs_after - jobs, rest_after - rest })
	end)

	it("keeps the order of jobs, of many coroutines too", function()
		local COUNT, ended = 5, {}
		for i = 1, COUNT do
			loop.spawn(function()
				assert(native.write_new_file(dir, "", "file" .. i, native.text_body("x")))
				ended[#ended + 1] = i
			end)
		end
		wait.until_true("all of them", function() return #ended == COUNT end)
		assert.same({ 1, 2, 3, 4, 5 }, ended)
	end)

	it("takes no thread of the pool, and does not send a request's short job there", function()
		local wallet, p384 = native.identity(native.secret_random(32))
		local service = native.service({
			wallet = wallet, p384 = p384, nonces = native.nonces(120), channels = native.channels(8),
			store = native.store({ self = wallet:address() }),
		})
		local head = native.http_parser(16384)
		head:feed("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		snapshots.wait(pass) -- no job is counted from before
		local written, answered = false, false
		loop.spawn(function()
			write_file(dir, 1)
			written = true
		end)
		loop.spawn(function()
			service:authenticate(head, "app", 0, 0)
			answered = true
		end)
		assert.same({ false, true }, { written, answered })
		wait.until_true("the file", function() return written end)
	end)

	it("has no part in reading the store, of which the pages are long jobs that let short ones run at once", function()
		local wallet, p384 = native.identity(native.secret_random(32))
		local store = native.store({ self = wallet:address() })
		local service = native.service({
			wallet = wallet, p384 = p384, nonces = native.nonces(120), channels = native.channels(8), store = store,
		})
		local head = native.http_parser(16384)
		head:feed("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		local walk = assert(store:walk(0))
		snapshots.wait(pass)
		local jobs = native.background_counts()
		local walked, answered = false, false
		loop.spawn(function()
			assert.is_false((walk:page(1000)))
			walked = true
		end)
		loop.spawn(function()
			service:authenticate(head, "app", 0, 0)
			answered = true
		end)
		assert.same({ false, true }, { walked, answered })
		wait.until_true("the page", function() return walked end)
		assert.equal(jobs, (native.background_counts()))
	end)
end)
