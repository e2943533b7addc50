-- What no real client brings about at will: which bytes of which connection wait. The rest of
-- sending: spec/http/server_spec.lua, spec/http/http_limits_spec.lua.

local native = require("spec.support.native")
local wait = require("spec.support.wait")

local connections = require("kms.http.connections")
local http_stream = require("kms.http.stream")

describe("an answer that is sent piece by piece", function()
	local server

	-- A server whose clients' unsent replies may hold so many bytes.
	local function serve(max_held)
		server = {
			held = 0, max_held = max_held, connections = connections.new({ "busy", "write" }, {}),
			slices = http_stream.new_slices(),
		}
		finally(function() server.slices:close() end) -- luacheck: ignore 122
		function server:forget(conn) self.connections:leave(conn) end
	end

	-- A connection whose socket takes nothing at once; client.done() lets it have taken what was written.
	local function connect()
		local client = {}
		function client.try_write() return nil, nil, "EAGAIN" end
		-- Not a socket: takes nothing, either.
		function client.fileno() return 0 end
		function client:write(_, done)
			assert(not self.closed, "written to after its end")
			self.done = done
		end
		function client:close_reset() self.closed = true end
		local conn = { server = server, client = client, path = { "network", "address" } }
		return setmetatable(conn, { __index = http_stream.Stream })
	end

	-- A reply that stays in C, larger than two slices.
	local function sealed()
		local _, p384 = native.identity(native.secret_random(32))
		local point = native.peer_point(p384:public_der())
		return assert(native.seal(native.text_body(("x"):rep(75000)), p384, native.channels(8), point))
	end

	it("counts whole while it stays in C and the client reads it slowly, and no more after its last piece", function()
		serve(1 << 30)
		local slow, body, ended = connect(), sealed(), false
		local bytes, pieces = body:len(), 0
		slow:send_source("head", body, function() ended = true end)
		repeat
			assert.same({ bytes, false }, { server.held, ended })
			local done = slow.client.done
			slow.client.done, pieces = nil, pieces + 1
			done()
			wait.until_true("the next piece, or the end", function() return ended or slow.client.done end)
		until ended
		assert.equal(0, server.held)
		assert.equal(4, pieces) -- the head, and three slices
		assert.has_error(function() body:len() end)
	end)

	it("is cut before another one, both of which would take too much", function()
		local first, second = sealed(), sealed()
		serve(first:len() + second:len() - 1)
		local slow, other, ended = connect(), connect(), 0
		slow:send_source("head", first, function() ended = ended + 1 end)
		other:send_source("head", second, function() ended = ended + 1 end)
		assert.same({ true, nil, second:len() }, { slow.closed, other.closed, server.held })
		-- The cut one learns of it when its write ends, and gives nothing back twice.
		slow.client.done("ECANCELED")
		wait.until_true("its end", function() return ended == 1 end)
		assert.equal(second:len(), server.held)
		other:close(true)
	end)

	it("lets go of all it holds where it is the one that is cut for lack of memory", function()
		serve(1000)
		local streaming, other, ended = connect(), connect(), 0
		streaming:send("a", 100, function() end)
		other:send("b", 900, function() end)
		streaming.client.done()
		assert.equal(900, server.held)
		streaming:send("c", 200, function() ended = ended + 1 end)
		assert.is_true(streaming.closed)
		assert.equal(1, ended)
		assert.is_nil(streaming.phase)
		assert.same({ 900, 1 }, { server.held, server.connections.count })
	end)
end)
