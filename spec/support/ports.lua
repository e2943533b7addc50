--- Ports of 127.0.0.1 for nodes and services of specs. Spec files run side by side, and each stops and starts what it
-- runs, so a port belongs to a process for its whole life: ports below those that the kernel gives to whoever asks for
-- any, in blocks, each taken by a listener on its first port.

local uv = require("luv")

local M = {}

--- Ports in a row that a devnet takes, from its chain's to those of its Odyn services (devnet.ports).
M.DEVNET = 60

local FIRST, END, BLOCK = 10000, 32768, 256 -- Linux gives away 32768 and above
local BLOCKS = (END - FIRST) // BLOCK

local mark -- listener on the first port of the newest block; older ones stay open
local next_port, block_end = 0, 0

-- A listener | nil where the port is taken.
local function listen(port)
	local tcp = uv.new_tcp()
	if tcp:bind("127.0.0.1", port) and tcp:listen(1, function() end) then return tcp end
	tcp:close()
	return nil
end

local function is_free(port)
	local tcp = listen(port)
	if tcp then tcp:close() end
	return tcp ~= nil
end

-- Takes the first block that is free, from one by chance.
local function take_block()
	local start = math.tointeger((uv.hrtime() // 1000 + uv.os_getpid() * 31) % BLOCKS)
	for i = 0, BLOCKS - 1 do
		local first = FIRST + (start + i) % BLOCKS * BLOCK
		mark = listen(first)
		if mark then
			mark:unref()
			next_port, block_end = first + 1, first + BLOCK
			return
		end
	end
	error("no block of ports is free", 0)
end

--- Gives ports that nobody listens on, and that no other process of the specs is given while this one runs.
-- @param count  how many in a row, 1 by default
-- @return the first
function M.take(count)
	count = count or 1
	local found = 0
	while found < count do
		if next_port >= block_end then
			take_block()
			found = 0
		end
		found = is_free(next_port) and found + 1 or 0
		next_port = next_port + 1
	end
	return next_port - count
end

return M
