--- A process beside spec/bench/cluster.lua, until it is ended or has written all:
--
-- lua5.4 spec/bench/cluster/child.lua health PORT
--   asks GET /health again and again; prints when each request began (ns, monotonic) and how long it took (us)
-- lua5.4 spec/bench/cluster/child.lua write FACTS
--   writes records at a rate; FACTS (JSON): node { port, wallet, der }, app_id, name (of the application's made-up
--   keys), prefix (of keys), rate (a second), count, bytes, connections. Prints for each write its number and the
--   status of the reply, when that has come.

package.path = "./?.lua;lua/?.lua;lua/?/init.lua;" .. package.path

local apps = require("spec.support.app")
local cjson = require("cjson")
local crypto = require("spec.support.crypto")
local http = require("spec.support.http")
local uv = require("luv")
local wait = require("spec.support.wait")

local PROBE_MS = 2
local TICK_MS = 1
local SPACE = 60 -- seconds that the node may take for a write

io.stdout:setvbuf("line")

local timer = uv.new_timer()
timer:start(TICK_MS, TICK_MS, function() end)
local function turn() uv.run("once") end

local function probe(port)
	local conn = assert(http.connect(tonumber(port)))
	while true do
		local began = uv.hrtime()
		local response = assert(conn:request({ target = "/health" }))
		assert(response.status == 200)
		print(("%d %d"):format(began, (uv.hrtime() - began) // 1000))
		local next_ns = began + PROBE_MS * 1000000
		while uv.hrtime() < next_ns do turn() end
	end
end

-- The value of a record: its key again and again.
local function value_of(key, bytes)
	return (key .. ";"):rep(bytes // #key + 1):sub(1, bytes)
end

local function send(app, facts, number)
	local key = facts.prefix .. number
	app.write, app.sent_ns = number, uv.hrtime()
	app.sent = app:send({ method = "PUT", target = "/kms/data", inner = {
		key = key, value = crypto.base64(value_of(key, facts.bytes)), op = "put",
	} })
end

-- Takes the reply of one write that has one. Returns whether there was any.
local function take_one(list)
	for _, app in ipairs(list) do
		if app.sent and (app.sent.conn.size > 0 or app.sent.conn.eof) then
			local response = app:receive(app.sent)
			app.sent = nil
			print(("%d %d"):format(app.write, response.status))
			return true
		end
		if app.sent and uv.hrtime() - app.sent_ns > SPACE * 1e9 then error("a write without a reply") end
	end
	return false
end

local function free_one(list)
	for _, app in ipairs(list) do if not app.sent then return app end end
	return nil
end

local function write(facts)
	local node = facts.node
	node.der = crypto.unhex(node.der)
	node.point = node.der:sub(-97)
	local list, began, number = {}, uv.hrtime(), 0
	for i = 1, facts.connections do list[i] = apps.new(node, facts.app_id, facts.name) end
	while number < facts.count do
		local app = free_one(list)
		if app and number < (uv.hrtime() - began) / 1e9 * facts.rate then
			number = number + 1
			send(app, facts, number)
		elseif not take_one(list) then
			turn()
		end
	end
	local function is_over()
		while take_one(list) do end
		for _, app in ipairs(list) do if app.sent then return false end end
		return true
	end
	wait.until_true("the last replies", is_over)
end

if arg[1] == "health" then probe(arg[2]) else write(cjson.decode(arg[2])) end
