-- A server in a process of its own, for http_limits_spec: prints its port, then its log.

package.path = "lua/?.lua;" .. package.path
package.cpath = (os.getenv("KMS_BUILD") or "build") .. "/?.so;" .. package.cpath

local native = require("kms_native")
local http = require("kms.http.server")
local log = require("kms.base.log")
local loop = require("kms.base.loop")

assert(native.init(8 << 20))
io.stdout:setvbuf("line")
local server = http.new({
	handler = function() return 200, nil, "{}" end,
	log = log.new({ names = true, clock = native.wall_ms, write = function(line) io.stdout:write(line) end }),
	config = {
		MAX_CONNECTIONS = 10000, MAX_CONNECTIONS_PER_ADDRESS = 10000, MAX_HEADER_BYTES = 2048,
		MAX_BODY_MEMORY_BYTES = 1 << 28, FIRST_BYTE_TIMEOUT_SECONDS = 20, HEADER_TIMEOUT_SECONDS = 20,
		BODY_TIMEOUT_SECONDS = 20, IDLE_TIMEOUT_SECONDS = 20, WRITE_TIMEOUT_SECONDS = 20, SHUTDOWN_TIMEOUT_SECONDS = 5,
	},
})
assert(server:listen("127.0.0.1", 0))
print(server:port())
loop.on_signal("sigterm", function() server:stop(loop.stop) end)
loop.run()
