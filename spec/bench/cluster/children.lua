--- Starts spec/bench/cluster/child.lua, and reads what it prints.

local cjson = require("cjson")
local crypto = require("spec.support.crypto")
local files = require("spec.support.files")
local nodes = require("spec.support.node")
local uv = require("luv")
local wait = require("spec.support.wait")

local M = {}

local Child = {}
Child.__index = Child

local END_S = 600

local function start(what, argument)
	local self = setmetatable({ dir = files.temp_dir() }, Child)
	self.path = self.dir .. "/output"
	local out = assert(uv.fs_open(self.path, "w", 384))
	self.process = nodes.spawn({ "spec/bench/cluster/child.lua", what, argument },
		{ program = "lua5.4", env = { KMS_BUILD = nodes.build, LD_PRELOAD = os.getenv("LUA_PRELOAD") } }, out, 2)
	uv.fs_close(out)
	return self
end

--- The pairs of numbers that it has printed so far.
function Child:pairs()
	local list = {}
	for first, second in (files.read(self.path) or ""):gmatch("(%d+) (%d+)\n") do
		list[#list + 1] = { tonumber(first), tonumber(second) }
	end
	return list
end

--- Waits until it has printed something.
function Child:wait_begun()
	wait.until_true("the first line of a child", function()
		if self.process.code then error("a child ended by itself", 0) end
		return #self:pairs() > 0
	end)
	return self
end

--- Waits until it ends by itself.
-- @return what it printed
function Child:finish()
	wait.until_true("the end of a child", function() return self.process.code end, END_S)
	if self.process.code ~= 0 then error("a child failed", 0) end
	return self:stop()
end

--- Ends it.
-- @return what it printed
function Child:stop()
	if not self.process.code then uv.kill(self.process.pid, "sigkill") end
	nodes.reap(self.process, 30)
	local list = self:pairs()
	files.remove_dir(self.dir)
	return list
end

--- Asks a node for GET /health without end.
function M.health(port)
	return start("health", tostring(port)):wait_begun()
end

--- Writes records.
-- @param client of spec.support.cluster, of the node; @param name of its application
-- @param o prefix, rate, count, bytes, connections
function M.write(client, name, o)
	local facts = { node = { port = client.node.port, wallet = client.node.wallet, der = crypto.hex(client.node.der) } }
	facts.app_id, facts.name = client.app_id, name
	for key, value in pairs(o) do facts[key] = value end
	return start("write", cjson.encode(facts))
end

return M
