--- Decides whose turn is next, of requests that begin and of pieces of large replies: by network, client address, then
-- connection, one at a time. However many connections a network or an address has, and however much they pipeline or
-- are sent, another network or address waits for one of its turns at most.

local uv = require("luv")
local fair_lines = require("kms.async.fair_lines")
local loop = require("kms.base.loop")

local M = {}

local Turns = {}
Turns.__index = Turns

local ROUND_NS = 1000000 -- after which the loop looks for new input

-- Gives turns in one coroutine, since another one for each would cost a small request a tenth of its time. When a
-- request waits for something, another coroutine gives the next turns, and this one ends after the request.
local function give_turns(self, round)
	local give, lines = self.give, self.lines
	repeat give(lines:next()) until self.round ~= round or lines.waiting == 0 or uv.hrtime() >= self.until_ns
end

-- Gives turns until none are left, or the round is over.
local function run(self)
	self.until_ns = uv.hrtime() + self.round_ns
	repeat
		loop.launch(give_turns, self, self.round)
		self.round = self.round + 1
	until self.lines.waiting == 0 or uv.hrtime() >= self.until_ns
	if self.lines.waiting > 0 then return end
	self.running = false
	self.idle:stop()
	if self.finished then self:close() end
end

--- Lets a connection wait for its turn; it waits for one at a time.
-- @param path  of its address (kms.http.client_address.path)
function Turns:add(path, conn)
	self.lines:add(path, conn)
	if self.running or self.closed then return end
	self.running = true
	-- Idle handles run once all input of the loop's iteration is read, and keep the loop from waiting for more.
	self.idle:start(self.run)
end

--- Ends it once nobody waits.
function Turns:finish()
	self.finished = true
	if not self.running then self:close() end
end

--- Ends it: whoever waits gets no turn.
function Turns:close()
	if self.closed then return end
	self.closed = true
	loop.close(self.idle)
end

--- @param give  function(conn): the turn, begins the connection's next request for instance; runs in a coroutine
-- @param round_ns  how long turns are given before the loop looks for new input, 1 ms by default
-- @return turns
function M.new(give, round_ns)
	local self = setmetatable({
		give = give, lines = fair_lines.new(), running = false, closed = false, round = 0, idle = assert(uv.new_idle()),
		round_ns = round_ns or ROUND_NS, finished = false,
	}, Turns)
	self.run = loop.guard(run, self)
	return self
end

return M
