--- A drill for a new devnet: values are written while nodes are killed, restarted and stopped, and a table shows how
-- many each node holds. It fails where a write that was answered is not on every node that runs.

local client = require("kms.client")
local digests = require("kms.client.digests")
local loop = require("kms.base.loop")
local native = require("kms_native")
local parallel = require("kms.async.parallel")
local uv = require("luv")

local M = {}

--- Fewest nodes of a drill: one is down, and another one holds what it held.
M.MIN_NODES = 3

local WAIT_MS, POLL_MS = 20000, 100
local COMPARE_S, TIMEOUT_MS = 10, 5000
local AT_ONCE = 8
local LINES = 50 -- of a value
local COPIES = 2 -- so many nodes hold a write: the crash of one loses nothing
local SHOWN = 5 -- differences of a node that are named

local function make_clients(net, app)
	local clients = {}
	for i, node in ipairs(net.nodes) do
		local message
		clients[i], message = client.open({
			url = node.url, seed = app.seed, node_wallet = node.wallet, node_pubkey = native.hex_encode(node.tee_pubkey),
		})
		if not clients[i] then error(message, 0) end
	end
	return clients
end

-- Calls fn until it returns a true value, or the wait is over. Returns fn's last values.
local function retry(fn)
	local deadline = uv.hrtime() + WAIT_MS * 1000000
	while true do
		local late = uv.hrtime() > deadline
		local value, message = fn()
		if value or late then return value, message end
		loop.sleep(POLL_MS)
	end
end

-- Makes a write on a node, and a put again until COPIES nodes hold it; notes what every node must hold from then on.
local function write(self, index, kind, fields)
	local result, message = retry(function()
		local result, message = self.clients[index]:call(kind, fields)
		if result and (kind == "delete" or (result.copies or 0) >= COPIES) then return result end
		return nil, message or ("it was answered with %s of %d copies"):format(result.copies or "no number", COPIES)
	end)
	if not result then error(("node %d does not make the write of %s: %s"):format(index, fields.key, message), 0) end
	self.values[fields.key] = kind == "put" and result.updated_at_ms or nil
end

-- Runs fn(number) for each number, several at a time; throws what one of them throws.
local function each(from, to, fn)
	local numbers, failure = {}, nil
	for number = from, to do numbers[#numbers + 1] = number end
	parallel.map(numbers, AT_ONCE, function(number)
		local ok, message = pcall(fn, number)
		if not ok then failure = failure or message end
	end)
	if failure then error(failure, 0) end
end

local function key_of(number)
	return ("drill/%02d"):format(number)
end

-- Puts values on nodes in turn.
local function put(self, from, to, nodes)
	each(from, to, function(number)
		local index = nodes[number % #nodes + 1]
		write(self, index, "put", { key = key_of(number), value = ("written on node %d\n"):format(index):rep(LINES) })
	end)
end

-- ---- what nodes hold ------------------------------------------------------------------------------------

-- The keys that a node lists, as a set, and their number | nil, message.
local function keys_of(self, index)
	local set, count = {}, 0
	local ok, message = self.clients[index]:list(nil, function(keys)
		for _, key in ipairs(keys) do set[key], count = true, count + 1 end
	end)
	if not ok then return nil, message end
	return set, count
end

-- What a node holds otherwise than it must: list of texts.
local function differences(self, index, held)
	local found = {}
	for key in pairs(held) do
		if not self.values[key] then found[#found + 1] = key .. " is there, but was deleted" end
	end
	local keys = {}
	for key in pairs(self.values) do keys[#keys + 1] = key end
	parallel.map(keys, AT_ONCE, function(key)
		local result, message = self.clients[index]:call("get", { key = key })
		if not result then found[#found + 1] = ("%s is missing: %s"):format(key, message)
		elseif result.updated_at_ms ~= self.values[key] then found[#found + 1] = key .. " has an older value" end
	end)
	table.sort(found)
	return found
end

-- Looks at a node until it holds what it must, or once where it did not before. Returns the number of its values | nil,
-- message; the differences.
local function look(self, index)
	local count, found
	retry(function()
		local held
		held, count = keys_of(self, index)
		if not held then found = { count } return false end
		found = differences(self, index, held)
		return #found == 0 or self.noted[index]
	end)
	return count, found
end

-- Notes what a node lacks; once, since later rows show it again.
local function note(self, index, found)
	if #found == 0 or self.noted[index] then return end
	self.noted[index] = true
	for i = 1, math.min(#found, SHOWN) do
		table.insert(self.failures, ("node %d: %s"):format(index, found[i]))
	end
	if #found > SHOWN then
		table.insert(self.failures, ("node %d: %d more like these"):format(index, #found - SHOWN))
	end
end

-- ---- the table ------------------------------------------------------------------------------------------

local function print_head(self)
	local cells = {}
	for i in ipairs(self.net.nodes) do cells[i] = ("%8s"):format("node " .. i) end
	self.out:write("\n", ("%7s%s   what happened before\n"):format("time", table.concat(cells)))
end

-- Waits until each node that runs holds all, and prints how many values it holds.
local function row(self, text)
	local cells = {}
	for i, node in ipairs(self.net.nodes) do
		if node.process:alive() then
			local count, found = look(self, i)
			cells[i] = ("%8s"):format(#found == 0 and count or "! " .. (math.tointeger(count) or ""))
			note(self, i, found)
		else
			cells[i] = ("%8s"):format("down")
		end
	end
	self.out:write(("%5.1f s%s   %s\n"):format((uv.hrtime() - self.begun) / 1e9, table.concat(cells), text))
	self.out:flush()
end

local function play(self)
	local net, last = self.net, #self.net.nodes
	local others, all = {}, {}
	for i = 1, last do all[i], others[i] = i, i < last and i or nil end
	print_head(self)
	row(self, "all nodes serve, nothing is written yet")
	put(self, 1, 30, all)
	row(self, "30 values were written, each on one node")
	put(self, 31, 31, { last })
	net.nodes[last].process:kill()
	row(self, ("node %d was killed right after it had answered one more write"):format(last))
	put(self, 32, 50, others)
	put(self, 1, 5, others)
	each(6, 10, function(number) write(self, others[1], "delete", { key = key_of(number) }) end)
	row(self, "without it: 19 values were written, 5 written again, 5 deleted")
	assert(net.nodes[last]:start())
	net:wait_ready()
	row(self, ("node %d started with nothing, and fetched all before it served"):format(last))
	put(self, 51, 60, { 1 })
	net.nodes[1].process:stop(WAIT_MS)
	row(self, "node 1 was stopped (SIGTERM) right after it had answered 10 more writes")
	assert(net.nodes[1]:start())
	net:wait_ready()
	row(self, "node 1 started again")
end

--- Compares the nodes as `nova-kms cluster check` does, and prints what it says.
-- @param self  net, program, out, failures: list to which a difference is added
function M.compare(self)
	local urls = {}
	for i, node in ipairs(self.net.nodes) do urls[i] = node.url end
	local groups, message = digests.compare({ urls = urls, timeout_ms = TIMEOUT_MS, wait_s = COMPARE_S })
	local line = groups and digests.line(groups) or message
	self.out:write("\n", self.program, " cluster check --url ", table.concat(urls, " --url "), "\n", line, "\n")
	if not groups or #groups > 1 then table.insert(self.failures, line) end
end

--- Runs the drill on a devnet that serves.
-- @param world  stdout, program
-- @return true | nil, message: what the nodes lack, or which step was not possible
function M.run(net, world)
	local self = {
		net = net, out = world.stdout, program = world.program, values = {}, failures = {}, noted = {}, begun = uv.hrtime(),
	}
	local ok, message = pcall(function()
		self.clients = make_clients(net, net.apps[1])
		play(self)
		M.compare(self)
	end)
	if not ok then table.insert(self.failures, tostring(message)) end
	if #self.failures > 0 then return nil, "the drill failed:\n  " .. table.concat(self.failures, "\n  ") end
	self.out:write(("\nNumbers are values that a node holds; each was read there, and is the last one written.\n"
		.. "A write counts when %d nodes hold it (WRITE_COPIES).\n"):format(COPIES))
	return true
end

return M
