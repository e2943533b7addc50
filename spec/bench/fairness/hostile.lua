--- One hostile client of spec/bench/fairness.lua, until it is ended:
-- lua5.4 spec/bench/fairness/hostile.lua LOAD NODE (JSON: port, wallet, der, secret: the master secret for a member)
-- Prints "ready", then twice a second how many answers it got, by status, as JSON.

package.path = "./?.lua;lua/?.lua;lua/?/init.lua;" .. package.path

local cjson = require("cjson")
local uv = require("luv")
local apps = require("spec.support.app")
local crypto = require("spec.support.crypto")
local kit = require("kms_testkit")
local http = require("spec.support.http")
local names = require("spec.bench.fairness.names")
local peers = require("spec.support.peer")
local wait = require("spec.support.wait")

local CALLS_AN_ADDRESS = 25 -- below every limit of an address
local PRINT_NS = 500000000

local node = cjson.decode(arg[2])
node.der = crypto.unhex(node.der)
node.point = node.der:sub(-97)

-- ---- what it did ------------------------------------------------------------------------------------------

local counts, printed = {}, nil

local function count(status)
	local name = tostring(status)
	counts[name] = (counts[name] or 0) + 1
end

local function show()
	local now = uv.hrtime()
	if printed and now - printed < PRINT_NS then return end
	if not printed then print("ready") end
	printed = now
	print(cjson.encode(counts))
end

-- ---- addresses ------------------------------------------------------------------------------------------

local last, most = 0, 62500

-- The next of `most` addresses of 127/8; honest clients are in 127.1/16.
local function address()
	last = last % most + 1
	return ("127.%d.%d.%d"):format(2 + last // 62500, last // 250 % 250, 1 + last % 250)
end

-- Gives an application a connection of a new address as soon as the old address has no calls left.
local function rotate(app)
	app.left = (app.left or 0) - 1
	if app.left > 0 and app.conn and not app.conn.eof and not app.conn.closed then return app end
	app:close()
	app.conn, app.left, app.next_nonce = assert(http.connect(node.port, { from = address() })), CALLS_AN_ADDRESS, nil
	return app
end

-- Sends with each of a list of applications, then takes the answers: as many requests in flight as applications.
local function storm(list, request)
	while true do
		local sent = {}
		for i, app in ipairs(list) do
			local ok, one = pcall(function() return app:send(request(rotate(app), i)) end)
			if ok then sent[app] = one else app:close() end
		end
		for app, one in pairs(sent) do
			local response = one.conn:receive()
			count(response and response.status or "no answer")
			if response then app.next_nonce = response.headers["x-kms-next-nonce"] else app:close() end
		end
		show()
	end
end

local function instances(app_id, name, total)
	local list = {}
	for i = 1, total do list[i] = apps.new(node, app_id, name) end
	return list
end

-- ---- the loads ------------------------------------------------------------------------------------------

local loads = {}

--- No request at all: what the machine alone does to others when a process computes.
function loads.computing()
	while true do
		for _ = 1, 1000 do crypto.keccak256("computing") end
		count("rounds")
		show()
	end
end

--- 64 bodies of 4 MiB, one application, each as slowly as the node allows, again as soon as it is answered.
function loads.bodies()
	local SIZE, PIECE, EVERY_MS = 4 << 20, (" "):rep(2048), 400
	local slow = instances(names.HOSTILE, "hostile", 64)
	local function go_on(app)
		local conn = app.sent and app.sent.conn
		if not conn then
			rotate(app)
			app.sent = app:send({ method = "POST", target = "/kms/derive", headers = { { "Content-Length", SIZE } } })
			return app.conn:write((" "):rep(SIZE // 2))
		end
		if conn.size == 0 and not conn.eof then return conn:write(PIECE) end
		local response = conn:receive()
		count(response and response.status or "no answer")
		app:close()
		app.sent = nil
	end
	while true do
		for _, app in ipairs(slow) do
			if not pcall(go_on, app) then
				app:close()
				app.sent = nil
			end
		end
		show()
		wait.sleep(EVERY_MS)
	end
end

--- Keys of 4096 bytes with empty values, from two applications, until the store is short and after.
function loads.long_keys()
	local list, number = instances(names.HOSTILE, "hostile", 8), 0
	table.move(instances(names.SECOND, "second hostile", 8), 1, 8, 9, list)
	storm(list, function()
		number = number + 1
		local key = ("%010d"):format(number) .. ("k"):rep(4086)
		return { method = "PUT", target = "/kms/data", inner = { key = key, value = "" } }
	end)
end

--- Lists of tens of thousands of long keys: whole, and the largest pages.
function loads.lists()
	storm(instances(names.HOSTILE, "hostile", 8), function(_, i)
		return { method = "GET", target = i % 2 == 0 and "/kms/data" or "/kms/data?limit=10000" }
	end)
end

--- 800 connections of 8 addresses that send far more than they may, without reading answers first.
function loads.pipelining()
	local CONNECTIONS, ADDRESSES = 800, 8
	local burst, own, open = http.format({ target = "/nonce" }):rep(100), {}, {}
	for i = 1, ADDRESSES do own[i] = address() end
	local function begin(i)
		local conn = http.connect(node.port, { from = own[i % ADDRESSES + 1], nowait = true })
		open[i] = conn or nil
		if conn then conn:write(burst) end
	end
	for i = 1, CONNECTIONS do begin(i) end
	while true do
		uv.run("nowait")
		local idle = true
		for i = 1, CONNECTIONS do
			local conn = open[i]
			if not conn or conn.eof or conn.failure then
				if conn then conn:close() end
				count("closed")
				begin(i)
			elseif conn.size > 0 then
				idle = false
				for status in conn:text():gmatch("HTTP/1.1 (%d+)") do count(status) end
				conn.chunks, conn.size = {}, 0
				conn:write(burst)
			end
		end
		show()
		if idle then wait.sleep(20) end
	end
end

--- Signed requests of wallets that nobody knows, each only once, and GET /attestation: of 16 addresses, which is what
-- the node can tell from a client that has a call to make; strangers of thousands of addresses are as many strangers.
function loads.look_ups()
	most = 16
	local list = instances(names.HOSTILE, "hostile", 160)
	for i = 1, #list, 4 do
		local app = list[i]
		function app.send(_, _)
			app.conn:write(http.format({ target = "/attestation?nonce=" .. crypto.hex(crypto.random(16)) }))
			return { conn = app.conn }
		end
	end
	storm(list, function(app)
		local key = crypto.random(32)
		app.identity = { wallet_key = key, wallet = "0x" .. crypto.hex(kit.address(key)) }
		app.wallet = app.identity.wallet
		return { method = "GET", target = "/kms/data" }
	end)
end

--- A member that sends records of 5000 namespaces that there are not, again and again.
function loads.namespaces()
	local peer, number = peers.new(node, "member"), 1000000
	peer.master = crypto.unhex(node.secret)
	local _, record = nil, peer:record("1", "k", "v")
	while true do
		local data = {}
		for _ = 1, 5000 do
			number = number + 1
			data[tostring(number)] = { record }
		end
		-- One good record, or the node soon ignores this member.
		data[names.HOSTILE] = { peer:record(names.HOSTILE, ("%010d"):format(number), "") }
		local ok, response = pcall(function() return rotate(peer):delta(data) end)
		count(ok and response.status or "no answer")
		if ok and response.inner then
			counts.merged = (counts.merged or 0) + response.inner.merged
		end
		show()
	end
end

-- A node that closes a connection while this writes to it must not end this.
local sigpipe = uv.new_signal()
sigpipe:start("sigpipe", function() end)
sigpipe:unref()
io.stdout:setvbuf("line")
show()
loads[arg[1]]()
