--- Decides whose request begins next: by client address, then by connection, one request at a time. However many
-- connections an address has and however much they pipeline, another address waits for one request of it.

local uv = require("luv")
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
		local line = self.lines[self.first]
		self.lines[self.first] = nil
		self.first = self.first + 1
		local conn = line[line.first]
		line[line.first] = nil
		line.first = line.first + 1
		if line.first > line.last then
			self.by_address[line.address] = nil
		else
			self.last = self.last + 1
			self.lines[self.last] = line
		end
		loop.try(self.give, conn)
		if self.first > self.last then return stop(self) end
	until uv.hrtime() >= until_ns
end

--- Lets a connection wait for its turn; it waits for one at a time.
-- @param address  what addresses are told apart by (kms.http.client_address.group)
function Turns:add(address, conn)
	local line = self.by_address[address]
	if not line then
		line = { address = address, first = 1, last = 0 }
		self.by_address[address] = line
		self.last = self.last + 1
		self.lines[self.last] = line
	end
	line.last = line.last + 1
	line[line.last] = conn
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
		give = give, by_address = {}, lines = {}, first = 1, last = 0, nothing = function() end,
		check = assert(uv.new_check()), idle = assert(uv.new_idle()),
	}, Turns)
	self.run = loop.guard(run, self)
	return self
end

return M
