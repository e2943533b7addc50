--- Lines of those who wait, by network and within a network by address: networks have turns, then the addresses of a
-- network. However many addresses a network has and however many wait for each, another network waits for one turn.
--
-- A path { network, address } names a line (kms.http.client_address.path).

local M = {}

local Lines = {}
Lines.__index = Lines

-- ---- queues: items from `first` to `last` ----------------------------------------------------------

local function push(queue, item)
	local last = queue.last + 1
	queue[last], queue.last = item, last
end

local function pop(queue)
	local first = queue.first
	local item = queue[first]
	queue[first], queue.first = nil, first + 1
	return item
end

-- Moves a queue's first item to its end, or takes it out where nothing waits in it any more.
local function turn_over(queue, has_more)
	if not has_more then
		pop(queue)
	elseif queue.first < queue.last then
		push(queue, pop(queue))
	end
end

local function size(queue) return queue.last - queue.first + 1 end

local function take_out(queue, item)
	local at = queue.first
	while queue[at] ~= item do at = at + 1 end
	table.move(queue, at + 1, queue.last + 1, at)
	queue.last = queue.last - 1
end

local function new_queue(key) return { key = key, first = 1, last = 0 } end

-- A network: a queue of its lines, which are found by key, too.
local function new_network(key)
	local network = new_queue(key)
	network.by_key, network.waiting = {}, 0
	return network
end

-- ---- lines -----------------------------------------------------------------------------------------

--- Adds an item at the end of a path's line.
function Lines:add(path, item)
	local network_key, key = path[1], path[2]
	local network = self.by_key[network_key]
	if not network then
		network = new_network(network_key)
		self.by_key[network_key] = network
		push(self.networks, network)
	end
	local line = network.by_key[key]
	if not line then
		line = new_queue(key)
		network.by_key[key] = line
		push(network, line)
	end
	local last = line.last + 1
	line[last], line.last = item, last
	network.waiting, self.waiting = network.waiting + 1, self.waiting + 1
end

local function count_out(self, network)
	network.waiting, self.waiting = network.waiting - 1, self.waiting - 1
end

--- Takes the first item of the line whose turn it is; its network has its next turn after all others, and its line
-- after all others of the network. There must be one.
function Lines:next()
	local networks = self.networks
	local network = networks[networks.first]
	local line = network[network.first]
	local first, waiting = line.first, network.waiting - 1
	local item = line[first]
	line[first], line.first = nil, first + 1
	network.waiting, self.waiting = waiting, self.waiting - 1
	-- Each request has a turn: where a line or network is alone and has more, nothing moves, and nothing is called.
	local has_more = first < line.last
	if not has_more or network.first < network.last then turn_over(network, has_more) end
	if not has_more then network.by_key[line.key] = nil end
	has_more = waiting > 0
	if not has_more or networks.first < networks.last then turn_over(networks, has_more) end
	if not has_more then self.by_key[network.key] = nil end
	return item
end

--- Takes an item out of its path's line, where it is.
function Lines:remove(path, item)
	local network = self.by_key[path[1]]
	local line = network.by_key[path[2]]
	take_out(line, item)
	count_out(self, network)
	if size(line) > 0 then return end
	take_out(network, line)
	network.by_key[path[2]] = nil
	if size(network) > 0 then return end
	take_out(self.networks, network)
	self.by_key[path[1]] = nil
end

local function longest(queue, length)
	local found, most = nil, 0
	for i = queue.first, queue.last do
		local of = length(queue[i])
		if of > most then found, most = queue[i], of end
	end
	return found, most
end

local function waiting_of(network) return network.waiting end

--- The newest item of the longest line of the network that has most waiting.
-- @return item, how many wait of its network, how many in its line, key of the network | nil: none waits
function Lines:newest_of_longest()
	local network, of_network = longest(self.networks, waiting_of)
	if not network then return nil end
	local line, in_line = longest(network, size)
	return line[line.last], of_network, in_line, network.key
end

--- How many wait of a path's network, how many in its line, and how many in the longest line of the network.
function Lines:count(path)
	local network = self.by_key[path[1]]
	if not network then return 0, 0, 0 end
	local line = network.by_key[path[2]]
	return network.waiting, line and size(line) or 0, select(2, longest(network, size))
end

--- @return lines; the field `waiting` is the number of all that wait
function M.new()
	return setmetatable({ networks = new_queue(), by_key = {}, waiting = 0 }, Lines)
end

return M
