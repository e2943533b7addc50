-- What bindings leave behind when Lua has no memory for a coroutine that is to wait: nothing that they hold, and
-- nothing that is in use for ever.

local uv = require("luv")
-- Each thread keeps some guarded memory from the first key on that it works on.
uv.os_setenv("UV_THREADPOOL_SIZE", "1")

local crypto = require("spec.support.crypto")
local files = require("spec.support.files")
local loopback = require("spec.support.loopback")
local native = require("spec.support.native")
local wait = require("spec.support.wait")

local FEWEST = 2 -- calls that wait at once
local MOST = 1000 -- allocations of one call
local LARGE = ("x"):rep(20000) -- is not worked on at once
local NO_MEMORY = "not enough memory"

local places = 0 -- there are for coroutines that wait

-- Calls f in a coroutine with 0, 1, 2, ... allocations until it waits, or has ended.
local function call(f)
	for n = 0, MOST do
		local co, ok, failure = coroutine.create(f), nil, nil
		crypto.starved(n, function() ok, failure = coroutine.resume(co) end)
		if ok then return end
		if failure ~= nil and failure ~= NO_MEMORY then error(failure, 0) end
	end
	error("never waits")
end

-- Has as many calls of f wait at once as there are places, and as many again, which therefore need memory for their
-- places; lets them end.
local function check(f)
	local left = 0
	local function counted()
		f()
		left = left - 1
	end
	for _ = 1, places do
		left = left + 1
		assert(coroutine.resume(coroutine.create(counted)))
	end
	for _ = 1, math.max(places, FEWEST) do
		left, places = left + 1, places + 1
		call(counted)
	end
	wait.until_true("the calls", function() return left == 0 end)
end

local function once(f)
	local ended
	coroutine.wrap(function()
		f()
		ended = true
	end)()
	wait.until_true("the call", function() return ended end)
end

local function used()
	collectgarbage()
	collectgarbage() -- what finalizers let go
	local _, bytes = native.guarded()
	return bytes
end

-- Runs body(check), and expects that guarded memory is used then as before it.
local function expect_nothing_held(body)
	body(once) -- what is made once and kept
	local before = used()
	body(check)
	assert.equal(before, used())
end

local function parts()
	local wallet, p384 = native.identity(native.secret_random(32))
	local channels = native.channels(8)
	return native.service({
		wallet = wallet, p384 = p384, nonces = native.nonces(120), channels = channels,
		store = native.store({ self = wallet:address() }),
	}), p384, channels
end

local function peer_point()
	local _, peer = native.identity(native.secret_random(32))
	return native.peer_point(peer:public_der())
end

-- A request with a body that was read.
local function head_with(body)
	local head = native.http_parser(16384)
	head:feed(("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s"):format(#body, body))
	assert.equal("body", (head:read_body(#body, nil, false)))
	return head
end

-- A session of a caller, with keys that no other side has.
local function session()
	local offer = assert(native.session_offer({}))
	local digits = ("09"):rep(32)
	local grant = ('{"e":"%s","expires_s":3600,"max_operations":256,"sid":"%s","suite":"x25519-sha256-aes256gcm"}')
		:format(digits, ("ab"):rep(16))
	return assert(offer:accept(native.text_body(grant), "text", "request", "answer"))
end

describe("a binding that waits, in a Lua without memory", function()
	it("can write the audit log again", function()
		local dir = files.temp_dir()
		finally(function() files.remove_dir(dir) end)
		local log -- one call at a time
		local function write() log:write(0, false) end
		places = 2 * math.max(places, FEWEST)
		for i = 1, places do
			log = assert(native.audit({ path = dir .. "/" .. i, start_ms = 0 }))
			call(write)
		end
		once(native.p384_generate) -- which comes last
	end)

	it("can call a server again", function()
		loopback.run(function()
			local server = loopback.serve(function(client)
				client:write(loopback.reply("ok"))
				return true
			end)
			local endpoint = assert(native.endpoint({ url = server.url }))
			check(function()
				local status, body = endpoint:call(nil, 100)
				assert.equal(200, status)
				assert.equal("ok", body:slice(1, 100))
			end)
			check(function() assert.equal(200, (native.fetch({ url = server.url }))) end)
		end)
	end)

	it("holds no master secret to execute a request", function()
		expect_nothing_held(function(run)
			local service, master = parts(), native.secret_random(32)
			service:set_master(master)
			local request = assert(service:request("list"))
			run(function() assert(service:execute(request, "7", "", 0)) end)
			service:set_master(nil)
			master:close()
		end)
	end)

	it("holds no key of a channel to seal a reply", function()
		expect_nothing_held(function(run)
			local service, master, peer = parts(), native.secret_random(32), peer_point()
			service:set_master(master)
			local request = assert(service:request("list"))
			run(function() assert(service:reply(request, "7", peer, "", 0)) end)
			service:set_master(nil)
			master:close()
		end)
	end)

	it("holds no key of a channel to open a body", function()
		expect_nothing_held(function(run)
			local service, p384, channels = parts()
			local peer = peer_point()
			assert(native.seal(native.text_body("x"), p384, channels, peer))
			run(function() assert.is_nil((service:open(head_with(LARGE), "put", peer, "", false))) end)
		end)
	end)

	it("holds no body to seal it for a peer", function()
		expect_nothing_held(function(run)
			local _, p384, channels = parts()
			local peer = peer_point()
			run(function() assert(native.seal(native.text_body(LARGE), p384, channels, peer)) end)
		end)
	end)

	it("erases the keys of a session that ends", function()
		local caller
		expect_nothing_held(function(run)
			caller = session()
			run(function() assert(caller:seal(caller:take(), native.text_body(LARGE), 0)) end)
			caller:finish()
		end)
		assert.is_nil((caller:sid()))
	end)

	it("gives a body back that it sends", function()
		loopback.run(function()
			local server = loopback.serve(function(client)
				client:write(loopback.reply("ok"))
				return true
			end)
			local body, ended = native.text_body("x"), nil
			coroutine.wrap(function()
				ended = native.fetch({ url = server.url, method = "POST", body = body })
			end)()
			wait.until_true("the call", function() return ended end)
			assert.equal(1, body:len())
			-- Nor does a mistake of its caller cost the body.
			assert.has_error(function()
				native.fetch({ url = server.url, method = "POST", body = body, headers = { 5 } })
			end)
			assert.equal(1, body:len())
		end)
	end)
end)
