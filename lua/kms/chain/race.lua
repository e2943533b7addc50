--- Asks servers for one thing, as few as suffice: the next one is asked at once when one has failed, and when those
-- that were asked are slow. The first outcome that decides ends the race; later ones are dropped.

local loop = require("kms.base.loop")
local wakeup = require("kms.async.wakeup")

local M = {}

local HEDGE_MS = 1000 -- how long the servers that are asked may be silent until one more is

local function start(race)
	local server = race.servers[race.next]
	race.next, race.running = race.next + 1, race.running + 1
	loop.spawn(function()
		local ok, value, wanted = loop.try(race.ask, server)
		race.running = race.running - 1
		if ok and value ~= nil and race.value == nil then race.value = value end
		race.wanted = ok and wanted or race.wanted
		race.waiter:wake()
	end)
end

-- Starts more until as many run as are wanted, or none is left.
local function fill(race)
	while race.value == nil and race.running < race.wanted and race.next <= #race.servers do start(race) end
end

--- Runs it. Needs a coroutine.
-- @param servers in the order in which they are asked
-- @param wanted how many are asked at first
-- @param ask function(server): yields -> value that decides | nil, how many must run as long as nothing is decided
-- @return value | nil: all were asked and nothing is decided
function M.run(servers, wanted, ask)
	local race = { servers = servers, next = 1, running = 0, wanted = wanted, ask = ask, waiter = wakeup.new() }
	fill(race)
	while race.value == nil and race.running > 0 do
		if race.waiter:wait(HEDGE_MS) then
			fill(race)
		elseif race.next <= #servers then
			start(race)
		end
	end
	return race.value
end

return M
