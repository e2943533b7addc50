-- Large bodies, of requests and of replies, pass slice by slice: in turns, and without strings in Lua.

local uv = require("luv")
local client_address = require("kms.http.client_address")
local fixture = require("spec.support.http_server")
local native = require("support.native")
local raw = require("support.raw_http")
local wait = require("spec.support.wait")

local SLICE, LARGE = 65536, 1 << 20
local POST = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"

describe("slices", function()
	local waiting -- slices that wait for their turn, which only the test gives

	after_each(function() -- before the fixture's, which waits for the connections to end
		for _, slice in ipairs(waiting) do slice.give() end
		if fixture.server then fixture.server.slices.add = nil end
	end)

	fixture.use({ setup = setup, before_each = before_each, after_each = after_each })
	before_each(function() waiting = {} end)

	local function serve(handler, changes)
		local port = fixture.start(changes, { handler = handler })
		function fixture.server.slices.add(_, path, slice) waiting[#waiting + 1] = { path = path, give = slice } end
		return port
	end

	local function serve_bodies(changes)
		return serve(function(request)
			local ok, _, code = request:read_body(LARGE)
			return ok and 200 or 408, nil, ok and tostring(#request.head:body()) or code
		end, changes)
	end

	local function await_slice()
		wait.until_true("a slice to wait", function() return #waiting > 0 end)
	end

	it("of a large body are read each in the connection's turn", function()
		local client = raw.connect(serve_bodies()):send(POST:format(LARGE) .. ("x"):rep(LARGE))
		await_slice()
		assert.same(client_address.path("127.0.0.1"), waiting[1].path)
		local turns = 0
		while #client:answers() == 0 do
			await_slice()
			local before = native.http_body_in_flight()
			for _ = 1, 5 do uv.run("nowait") end
			assert.same({ 1, before }, { #waiting, native.http_body_in_flight() })
			table.remove(waiting).give()
			turns = turns + 1
			assert.is_true(native.http_body_in_flight() - before <= SLICE)
			wait.until_true("the next slice, or the answer", function() return #waiting > 0 or #client:answers() > 0 end)
		end
		assert.equal(tostring(LARGE), client:answers()[1].body)
		assert.is_true(turns > 1, turns)
	end)

	it("that still wait when their body is given up are not read", function()
		-- The time begins before the slice waits, and a busy machine may come to that late.
		local client = raw.connect(serve_bodies({ BODY_TIMEOUT_SECONDS = 2 }))
		client:send(POST:format(LARGE) .. ("x"):rep(LARGE // 2))
		await_slice()
		assert.equal(408, client:await(1)[1].status)
		for _, slice in ipairs(waiting) do slice.give() end
		client:close()
		assert.same({}, fixture.reported)
	end)

	it("of a reply in C go to the socket as they are, as far as it takes them", function()
		local _, p384 = native.identity(native.secret_random(32))
		local body = assert(native.seal(native.text_body(("x"):rep(75000)), p384, native.channels(8),
			native.peer_point(p384:public_der())))
		local length, copied, expected = body:len(), 0, body:slice(1, body:len())
		local source = { len = function() return length end, close = function() body:close() end }
		function source.slice(_, from, count)
			copied = copied + count
			return body:slice(from, count)
		end
		function source.send(_, ...) return body:send(...) end
		local client = raw.connect(serve(function() return 200, nil, source end)):send(fixture.GET)
		wait.until_true("the reply", function()
			if #waiting > 0 then table.remove(waiting, 1).give() end
			return #client:answers() == 1
		end)
		assert.is_true(client:answers()[1].body == expected)
		assert.is_true(copied < length, copied)
	end)

	it("are none of a reply in C of up to 64 KiB, which goes with its head", function()
		local _, p384 = native.identity(native.secret_random(32))
		local function sealed(bytes)
			return assert(native.seal(native.text_body(("x"):rep(bytes)), p384, native.channels(8),
				native.peer_point(p384:public_der())))
		end
		local overhead = sealed(1):len() - 2 -- in hexadecimal
		local most = (SLICE - overhead) // 2
		local waits, body = 0, nil
		local port = serve(function() return 200, nil, body end)
		for bytes, slices in pairs({ [most] = false, [most + 1] = true }) do
			body = sealed(bytes)
			local expected = body:slice(1, body:len())
			local client = raw.connect(port):send(fixture.GET)
			wait.until_true("the reply", function()
				if #waiting > 0 then
					waits = waits + 1
					table.remove(waiting, 1).give()
				end
				return #client:answers() == 1
			end)
			assert.is_true(client:answers()[1].body == expected)
			assert.equal(slices, waits > 0)
			waits = 0
			assert.has_error(function() body:len() end) -- closed
		end
	end)

	it("of secret bodies go nowhere, and nothing goes to or comes from what is no socket", function()
		assert.has_error(function() native.text_body("secret"):send(0, 1, 6) end)
		assert.has_error(function() native.http_send(200, nil, 6, false, 0, native.text_body("secret")) end)
		local file = assert(uv.fs_open("/dev/null", "r+", 0))
		finally(function() uv.fs_close(file) end)
		local _, p384 = native.identity(native.secret_random(32))
		local point = native.peer_point(p384:public_der())
		local body = assert(native.seal(native.text_body("x"), p384, native.channels(8), point))
		assert.equal(0, body:send(file, 1, 100))
		assert.same({ 0 }, { native.http_parser(16384):read(file, SLICE) })
		assert.has_error(function() native.http_parser(16384):read(file, SLICE + 1) end)
	end)
end)
