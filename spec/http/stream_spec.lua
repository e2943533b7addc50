-- What no real client brings about at will: which bytes of which connection wait. The rest of
-- sending: spec/http/server_spec.lua, spec/http/http_limits_spec.lua.

local connections = require("kms.http.connections")
local http_stream = require("kms.http.stream")

describe("an answer that is sent piece by piece", function()
	it("lets go of all it holds where it is the one that is cut for lack of memory", function()
		local server = { held = 0, max_held = 1000, connections = connections.new({ "busy", "write" }, {}) }
		function server:forget(conn) self.connections:leave(conn) end
		-- A connection whose socket takes nothing at once; written() lets it have taken everything.
		local function connect()
			local client = {}
			function client.try_write() return nil, nil, "EAGAIN" end
			function client:write(_, done)
				assert(not self.closed, "written to after its end")
				self.done = done
			end
			function client:close_reset() self.closed = true end
			return setmetatable({ server = server, client = client }, { __index = http_stream.Stream })
		end
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
