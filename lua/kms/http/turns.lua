--- Decides whose request begins next: by network, client address, then connection, one request at a time. However many
-- connections a network or an address has and however much they pipeline, another one waits for one request of it.

local uv = require("luv")
local fair_lines = require("kms.async.fair_lines")
local loop = require("kms.base.loop")

local M = {}

local Turns = {}
Turns.__index = Turns

local SLICE_NS = 1000000 -- after which the loop looks for new input

local function stop(self)
	self.running = false
	self.check:stop()
	self.idle:stop()
end

-- Gives turns until none are left, or the slice is over.
local function run(self)
	local until_ns = uv.hrtime() + SLICE_NS
	repeat
		loop.try(self.give, self.lines:next())
		if self.lines.waiting == 0 then return stop(self) end
	until uv.hrtime() >= until_ns
end

--- Lets a connection wait for its turn; it waits for one at a time.
-- @param path  of its address (kms.http.client_address.path)
function Turns:add(path, conn)
	self.lines:add(path, conn)
	if self.running or self.closed then return end
	self.running = true
	-- Turns come after all input of the loop's iteration; the idle handle keeps it from waiting for more.
	self.check:start(self.run)
	self.idle:start(self.nothing)
end

--- Ends it: whoever waits gets no turn.
function Turns:close()
	if self.closed then return end
	self.closed = true
	loop.close(self.check)
	loop.close(self.idle)
end

--- @param give  function(conn): begins the connection's next request
-- @return turns
function M.new(give)
	local self = setmetatable({
		give = give, lines = fair_lines.new(), nothing = function() end,
		check = assert(uv.new_check()), idle = assert(uv.new_idle()),
	}, Turns)
	self.run = loop.guard(run, self)
	return self
end

return M
