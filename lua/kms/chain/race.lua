--- Asks servers for one thing, as few as suffice: the next one is asked at once when one has failed, and when those
-- that were asked are slow. The first outcome that decides ends the race; later ones are dropped. Or asks all,
-- and waits as long for those that are slow.

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

-- One server has nobody to race with.
local function ask_alone(ask, server)
	local ok, value = loop.try(ask, server)
	if ok then return value end
	return nil
end

--- Runs it. Needs a coroutine.
-- @param servers in the order in which they are asked
-- @param wanted how many are asked at first
-- @param ask function(server): yields -> value that decides | nil, how many must run as long as nothing is decided
-- @return value | nil: all were asked and nothing is decided
function M.run(servers, wanted, ask)
	if #servers == 1 then return ask_alone(ask, servers[1]) end
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

--- Asks all servers at the same time. Once `enough` have given a value, the others have HEDGE_MS more: one that hangs
-- holds up nothing, and what comes later is dropped. Needs a coroutine.
-- @param ask function(server, number): yields -> whether that is a value
function M.all(servers, enough, ask)
	local running, given, is_over, timer, waiter = #servers, 0, false, nil, wakeup.new()
	local function end_late()
		is_over = true
		waiter:wake()
	end
	for number, server in ipairs(servers) do
		loop.spawn(function()
			local ok, is_value = loop.try(ask, server, number)
			running, given = running - 1, given + (ok and is_value and 1 or 0)
			if given >= enough and not timer then timer = loop.after(HEDGE_MS, end_late) end
			waiter:wake()
		end)
	end
	while running > 0 and not is_over do waiter:wait() end
	loop.close(timer)
end

return M
