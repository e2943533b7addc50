--- Ports of 127.0.0.1 for nodes and services of specs. Spec files run side by side, and each stops and starts what it
-- runs, so a port belongs to a process for its whole life: ports that the kernel gives to nobody who asks for any, in
-- blocks, each taken by a listener on its first port.

local files = require("spec.support.files")
local uv = require("luv")

local M = {}

--- Ports in a row that a devnet takes, from its chain's to those of its Odyn services (devnet.ports).
M.DEVNET = 60

local LOWEST, HIGHEST, BLOCK = 10000, 65535, 256
local FEWEST = 32 -- blocks, for all spec files that run side by side
local GIVEN = "/proc/sys/net/ipv4/ip_local_port_range"
local USUAL_LOW, USUAL_HIGH = 32768, 60999 -- of that range

--- Where there is room outside the range that the kernel gives away: below or above it.
-- @param given  the range as the kernel shows it, "32768\t60999\n"; nil: it shows none
-- @return the first port, the number of blocks; those of the usual range where this one leaves no room
function M.outside(given)
	local low, high = (given or ""):match("(%d+)%s+(%d+)")
	low, high = tonumber(low) or USUAL_LOW, tonumber(high) or USUAL_HIGH
	local below, above = (low - LOWEST) // BLOCK, (HIGHEST - high) // BLOCK
	if math.max(below, above) < FEWEST then return LOWEST, (USUAL_LOW - LOWEST) // BLOCK end
	if below >= above then return LOWEST, below end
	return high + 1, above
end

local FIRST, BLOCKS = M.outside(files.read(GIVEN))

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
