--- The honest application of spec/bench/fairness.lua: many clients, each at an address of its own, one call at a time.
-- It knows what was acknowledged, so what is lost.

local apps = require("spec.support.app")
local crypto = require("spec.support.crypto")
local http = require("spec.support.http")
local names = require("spec.bench.fairness.names")
local uv = require("luv")
local wait = require("spec.support.wait")

local M = {}

local Honest = {}
Honest.__index = Honest

local ADDRESSES, NEWCOMERS = 60, 60
local LARGE, LARGE_BYTES = 50, 32768
local SMALL = 300 -- keys that are written again and again
local PAUSE_MS = 3 -- stays below the application's own rate limit
local FIRST_EVERY = 40 -- calls, one of which is the first one of an instance

local KINDS = { "derive", "put", "derive", "get" }

-- Gives an application's connection an address, and has it note when a request leaves.
local function connect(app, network, i)
	local conn = assert(http.connect(app.node.port, { from = ("127.1.%d.%d"):format(network, i) }))
	local write = conn.write
	function conn.write(...)
		conn.begun_ns = uv.hrtime()
		return write(...)
	end
	app.conn = conn
	return app
end

-- A call's response and the time from its request to the first byte of the answer, in microseconds.
local function timed(app, o)
	if not app.conn or app.conn.eof or app.conn.closed then app:reconnect() end
	local sent = app:send(o)
	wait.holds(function() return sent.conn.size > 0 or sent.conn.eof end)
	local took_us = (uv.hrtime() - sent.conn.begun_ns) / 1000
	return app:receive(sent), took_us
end

local function request_of(self, kind, number)
	if kind == "get" then
		local key = self.keys[number % #self.keys + 1]
		return { method = "GET", target = "/kms/data/" .. apps.encode(key) }, key
	elseif kind == "put" then
		local key = ("small/%d"):format(number % SMALL)
		local value = ("%d of %s"):format(number, key)
		return { method = "PUT", target = "/kms/data", inner = { key = key, value = crypto.base64(value) } }, key, value
	end
	return { method = "POST", target = "/kms/derive", inner = { path = "wallet/" .. number } }
end

local function fail(self, why)
	self.failed = self.failed + 1
	self.reasons[why] = (self.reasons[why] or 0) + 1
end

local function keep(self, key, value)
	if not self.values[key] then self.keys[#self.keys + 1] = key end
	self.values[key] = value
end

-- One call: its time counts when it is answered as it should be.
local function call(self, app, kind, times)
	self.calls = self.calls + 1
	local o, key, value = request_of(self, kind == "first" and "derive" or kind, self.calls)
	local ok, response, took_us = pcall(timed, app, o)
	if not ok then
		app:close()
		return fail(self, kind .. ": " .. tostring(response))
	end
	if response.status ~= 200 then return fail(self, ("%s: %d %s"):format(kind, response.status, response.message)) end
	if kind == "put" then keep(self, key, value) end
	if kind == "get" and crypto.unbase64(response.inner.value) ~= self.values[key] then
		return fail(self, "get: another value")
	end
	table.insert(times[kind], took_us)
end

--- Calls for some seconds, with a short pause after each.
-- @return times by kind (derive, put, get, first), sorted, in microseconds
function Honest:measure(seconds)
	local times = { derive = {}, put = {}, get = {}, first = {} }
	local until_ns, number = uv.hrtime() + seconds * 1e9, 0
	while uv.hrtime() < until_ns do
		number = number + 1
		local newcomer = number % FIRST_EVERY == 0 and table.remove(self.newcomers)
		if newcomer then
			call(self, connect(newcomer, 2, #self.newcomers + 1), "first", times)
			newcomer:close()
		else
			call(self, self.instances[number % ADDRESSES + 1], KINDS[number % #KINDS + 1], times)
		end
		uv.sleep(PAUSE_MS)
	end
	for _, list in pairs(times) do table.sort(list) end
	return times
end

--- Reads every record that was acknowledged, without counting calls.
-- @return how many are not there as written
function Honest:lost()
	local lost = 0
	for i, key in ipairs(self.keys) do
		local ok, value = pcall(function() return self.instances[i % ADDRESSES + 1]:value(key) end)
		if not ok then
			fail(self, "read back: " .. tostring(value):gsub("GET %S+", "GET"))
		elseif value ~= self.values[key] then
			lost = lost + 1
		end
	end
	return lost
end

--- Writes the records that it has from the beginning, and makes the first call of each instance.
function Honest:begin()
	local value = crypto.random(LARGE_BYTES)
	for i = 1, LARGE do
		local key = ("large/%d"):format(i)
		local response = self.instances[i]:put(key, value)
		if response.status ~= 200 then error("put: " .. response.body) end
		keep(self, key, value)
	end
	for i = LARGE + 1, ADDRESSES do assert(self.instances[i]:derive({ path = "p" }).status == 200) end
end

--- Ends its connections.
function Honest:close()
	for _, app in ipairs(self.instances) do app:close() end
end

--- @param node  of spec.support.node; it gets to know the application
function M.new(node)
	local self = setmetatable({
		instances = {}, newcomers = {}, keys = {}, values = {}, calls = 0, failed = 0, reasons = {},
	}, Honest)
	local identity = crypto.made_up("honest")
	for i = 1, ADDRESSES do
		local app = apps.with_identity(node, names.HONEST, identity)
		function app.reconnect() return connect(app, 1, i) end
		self.instances[i] = app:reconnect()
	end
	local known = { self.instances[1] }
	for i = 1, NEWCOMERS do
		self.newcomers[i] = apps.new(node, names.HONEST, "newcomer " .. i)
		self.newcomers[i]:channel_key()
		known[#known + 1] = self.newcomers[i]
	end
	node:register(known)
	return self
end

return M
