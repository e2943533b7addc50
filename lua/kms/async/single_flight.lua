--- Shares calls: of each key one runs at a time, and callers that come meanwhile get its results.

local wakeup = require("kms.async.wakeup")

local M = {}

local SingleFlight = {}
SingleFlight.__index = SingleFlight

--- Calls fn(...), or waits for the call of this key that is running. Needs a coroutine.
-- @return what the call returned; throws in every caller what it threw
function SingleFlight:with(key, fn, ...)
	local flight = self.flights[key]
	if flight then
		local waiter = wakeup.new()
		flight.waiters[#flight.waiters + 1] = waiter
		waiter:wait()
	else
		flight = { waiters = {} }
		self.flights[key] = flight
		flight.results = table.pack(pcall(fn, ...))
		self.flights[key] = nil
		for _, waiter in ipairs(flight.waiters) do waiter:wake() end
	end
	local results = flight.results
	if not results[1] then error(results[2], 0) end
	return table.unpack(results, 2, results.n)
end

--- Whether a call of this key is running.
function SingleFlight:is_running(key)
	return self.flights[key] ~= nil
end

--- No call is running yet.
function M.new()
	return setmetatable({ flights = {} }, SingleFlight)
end

return M
