--- A load for a devnet: keys that applications derive, and values that are written until it is stopped. It knows which
-- writes were acknowledged, and tells what a node lacks of them. Functions yield; they throw a text where a step fails.

local client = require("kms.client")
local commands = require("devnet.commands")
local files = require("kms.base.files")
local loop = require("kms.base.loop")
local native = require("kms_native")
local uv = require("luv")

local M = {}

local Load = {}
Load.__index = Load

local PATHS = 10 -- keys of an application
local WRITERS, PAUSE_MS = 4, 40 -- after a write of one of them
local MOST = 5000 -- values
local WAIT_MS, POLL_MS = 60000, 50
local DIFF_MS = 20000
local SHOWN = 5 -- differences that are named
local PRIVATE = 384 -- mode 0600

local function open_client(node, app)
	local opened, message = client.open({
		url = node.url, seed = app.seed, node_wallet = node.wallet, node_pubkey = native.hex_encode(node.tee_pubkey),
	})
	return opened or error(("node %d: %s"):format(node.index, message), 0)
end

--- Meets the nodes, as they are now: also after they were replaced.
function Load:connect()
	self.clients = {}
	for i, node in ipairs(self.net.nodes) do
		self.clients[i] = {}
		for a, app in ipairs(self.net.apps) do self.clients[i][a] = open_client(node, app) end
	end
end

-- ---- keys -----------------------------------------------------------------------------------------------

local function derive(self, index, a, path, file)
	local result, message = self.clients[index][a]:call("derive", { path = path })
	if not result then error(("node %d derives no key: %s"):format(index, message), 0) end
	local fd = assert(uv.fs_open(file, "w", PRIVATE))
	local ok
	ok, message = result.exchange:write(fd, "raw")
	uv.fs_close(fd)
	if not ok then error(message, 0) end
end

--- Derives every key on a node into files of a folder, one each.
-- @param name  of the folder; @param index  of the node
-- @return the number of keys
function Load:derive(name, index)
	local dir = ("%s/%s"):format(self.dir, name)
	for _, path in ipairs({ self.dir, dir }) do assert(files.make_dir(path)) end
	for a, app in ipairs(self.net.apps) do
		for i = 1, PATHS do derive(self, index, a, "wallet/" .. i, ("%s/%s-%02d"):format(dir, app.name, i)) end
	end
	return #self.net.apps * PATHS
end

--- Compares the keys in two folders with `diff`, bit by bit.
-- @return the number of keys that differ or are missing
function Load:different_keys(name, other)
	local code, text = commands.run({
		program = "diff", args = { "-rq", ("%s/%s"):format(self.dir, name), ("%s/%s"):format(self.dir, other) },
		log = self.dir .. "/diff.log", timeout_ms = DIFF_MS,
	})
	if code ~= 0 and code ~= 1 then error("diff: " .. text, 0) end
	return select(2, text:gsub("\n", ""))
end

-- ---- values ---------------------------------------------------------------------------------------------

local function key_of(number)
	return ("drill/%04d"):format(number)
end

local function write(self, number)
	local index = number % #self.clients + 1
	local value = ("value %d, written on node %d\n"):format(number, index):rep(20)
	local result = self.clients[index][1]:call("put", { key = key_of(number), value = value })
	if not result then return end -- not acknowledged: it may be there or not
	self.stamps[key_of(number)], self.count = result.updated_at_ms, self.count + 1
end

--- Begins to write, several at a time, on all nodes in turn.
function Load:start()
	for _ = 1, WRITERS do
		self.writing = self.writing + 1
		loop.spawn(function()
			while not self.stopped and self.number < MOST do
				self.number = self.number + 1
				write(self, self.number)
				loop.sleep(PAUSE_MS)
			end
			self.writing = self.writing - 1
		end)
	end
end

local function wait(what, done)
	local deadline = uv.hrtime() + WAIT_MS * 1000000
	while not done() do
		if uv.hrtime() > deadline then error(what, 0) end
		loop.sleep(POLL_MS)
	end
end

--- Waits until so many writes are acknowledged.
function Load:reach(count)
	wait("the nodes acknowledge too few writes", function() return self.count >= count end)
end

--- Stops writing, and waits for the end of writes under way.
function Load:stop()
	self.stopped = true
	wait("writes do not end", function() return self.writing == 0 end)
end

--- What is acknowledged now: key -> stamp, in Unix milliseconds; the number of these.
function Load:acknowledged()
	local stamps = {}
	for key, stamp in pairs(self.stamps) do stamps[key] = stamp end
	return stamps, self.count
end

--- The number of values that a node has | nil: it does not answer.
function Load:held(index)
	local count = 0
	local ok = self.clients[index][1]:list("drill/", function(keys) count = count + #keys end)
	return ok and count or nil
end

--- Reads values on a node.
-- @param stamps  key -> stamp, as they must be
-- @return how many are as they must be; texts about the others, the first few
function Load:compare(index, stamps)
	local operations, good, wrong = {}, 0, {}
	for key in pairs(stamps) do operations[#operations + 1] = { kind = "get", fields = { key = key } } end
	self.clients[index][1]:batch(operations, function(position, outcome)
		local key = operations[position].fields.key
		if outcome.result and outcome.result.updated_at_ms == stamps[key] then
			good = good + 1
		elseif #wrong < SHOWN then
			wrong[#wrong + 1] = ("node %d: %s %s"):format(index, key,
				outcome.result and "has another value" or "is missing: " .. outcome.message)
		end
	end)
	return good, wrong
end

--- A load that has not begun.
-- @param net  devnet; @param dir  for files with keys
-- @return load { count: acknowledged writes }
function M.new(net, dir)
	return setmetatable({ net = net, dir = dir, number = 0, count = 0, stamps = {}, writing = 0 }, Load)
end

return M
