--- Metrics of requests: by route, their outcomes and durations. One call for each request, which looks up two
-- series and allocates nothing.

local err = require("kms.base.err")

local M = {}

local Requests = {}
Requests.__index = Requests

local NONE = "none" -- no route has the path
local EXTRA = "extra" -- the operator's own routes
local CLASSES = { "2xx", "3xx", "4xx", "5xx" }
local OK = "ok"
local BOUNDS_S = { 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10 }
local NS = 1e9

local function codes()
	local list = err.names()
	list[#list + 1] = OK
	return list
end

-- The series of a route; an unknown name has those of "other".
local function series_of(self, name)
	local label = self.names[name] and name or name:find("^extra/") and EXTRA or "other"
	local series = self.routes[label]
	if not series then
		series = { label = label, latency = self.latency:with(label), outcomes = {} }
		self.routes[label] = series
	end
	return series
end

-- Codes are those of kms.base.err; all others share a series.
local function outcome_of(self, series, reply)
	local code = reply.code or (reply.status < 400 and OK or "other")
	local by_status = series.outcomes[reply.status]
	if not by_status then
		by_status = {}
		series.outcomes[reply.status] = by_status
	end
	local key = self.codes[code] and code or "other"
	local outcome = by_status[key]
	if not outcome then
		outcome = self.total:with(series.label, ("%dxx"):format(reply.status // 100), key)
		by_status[key] = outcome
	end
	return outcome
end

--- Counts a reply.
-- @param route name, or nil when no route has the path
-- @param reply status, code; @param taken_ns nanoseconds from the request's head to the reply
function Requests:observe(route, reply, taken_ns)
	local series = self.routes[route or NONE] or series_of(self, route or NONE)
	local by_status = series.outcomes[reply.status]
	local outcome = by_status and by_status[reply.code or OK] or outcome_of(self, series, reply)
	outcome.value = outcome.value + 1
	series.latency:observe(taken_ns / NS)
end

--- @param set kms.admin.metrics; @param routes list of { name }
function M.new(set, routes)
	local list, names, known = { NONE, EXTRA }, { [NONE] = true }, {}
	for _, route in ipairs(routes) do
		if not names[route.name] then list[#list + 1], names[route.name] = route.name, true end
	end
	for _, code in ipairs(codes()) do known[code] = true end
	return setmetatable({
		routes = {}, names = names, codes = known,
		total = set:counter("kms_requests_total", "Requests replied to, by route and outcome.", {
			{ "route", list }, { "class", CLASSES }, { "code", codes() },
		}),
		latency = set:histogram("kms_request_duration_seconds", "From the end of a request's head to its reply.",
			BOUNDS_S, { { "route", list } }),
	}, Requests)
end

return M
