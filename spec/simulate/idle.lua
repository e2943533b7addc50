--- An idle cluster: lua5.4 spec/simulate/idle.lua prints for each way from one of three nodes to another how many
-- messages went it in 20 sync intervals, and the bytes of the longest one and of the longest reply, sealed. With the
-- argument "sessions" the nodes have sessions.

local build = os.getenv("KMS_BUILD") or "build"
package.path = "lua/?.lua;lua/?/init.lua;./?.lua;" .. package.path
package.cpath = ("%s/?.so;%s/spec/?.so;"):format(build, build) .. package.cpath

require("spec.simulate.substitutes")
local trace = require("spec.simulate.trace")
local world = require("spec.simulate.world")

local INTERVAL_MS, INTERVALS = 10000, 20
local SETTLED_MS = 125000 -- joined, written, pushed, repaired
local HAVE_SESSIONS = arg[1] == "sessions"
local PATH = HAVE_SESSIONS and "/session/message" or "/sync"

local ways
function trace.note(_, _, from, to, path, request, _, reply)
	if path ~= PATH or not ways then return end
	local name = ("%d>%d"):format(from, to)
	local way = ways[name] or { messages = 0, longest = 0, longest_reply = 0 }
	ways[name] = way
	way.messages = way.messages + 1
	way.longest, way.longest_reply = math.max(way.longest, request), math.max(way.longest_reply, reply)
end

local cluster = world.new({
	nodes = 3, offsets = { 0, 5, -5 }, keep_secrets = true, lose = 0, again = 0, delay_ms = { 1, 5 }, network_seed = 1,
	variables = {}, tight = {}, sessions = HAVE_SESSIONS and { true, true, true } or nil,
})
cluster:run_until(SETTLED_MS / 2)
for index = 1, 3 do
	assert(cluster:is_serving(index))
	cluster:write(index, "PUT", ('{"key":"%d","value":"AAAA"}'):format(index), 50, function(record) assert(record) end)
end
cluster:run_until(SETTLED_MS)
ways = {}
cluster:run_until(SETTLED_MS + INTERVALS * INTERVAL_MS)
for name, way in pairs(ways) do print(name, way.messages, way.longest, way.longest_reply) end
