--- The chain of a cluster, for specs that kill it: what anvil leaves on disk may be torn, since it
-- writes in place, and is some blocks old. So copies are kept while they are whole. Yields.

local cjson = require("cjson")
local files = require("spec.support.files")
local loop = require("kms.base.loop")
local wait = require("spec.support.wait")

local M = {}

local Kept = {}
Kept.__index = Kept

local LOOK_MS = 250

local function keep(self)
	local text = files.read(self.chain.state)
	local ok, state = pcall(cjson.decode, text or "")
	if ok then self.text, self.kept = text, state.best_block_number end
end

local function height(self)
	return math.tointeger(tonumber(self.chain:rpc("eth_blockNumber")))
end

local function watch(self)
	while not self.over do
		keep(self)
		local ok, number = pcall(height, self)
		if ok then self.highest = math.max(self.highest, number) end
		loop.sleep(LOOK_MS)
	end
end

--- Waits until what is on chain now is in a copy.
function Kept:wait()
	local now = height(self)
	wait.until_true("a copy of the chain's state with block " .. now, function() return self.kept >= now, self.kept end)
end

--- Ends the chain as a crash does.
function Kept:kill()
	self.chain:kill()
end

--- Starts it again on the last copy, and waits until it is where nodes have seen it: they do not go
-- back behind a block, and may have seen one more than this has.
function Kept:start()
	local seen = self.highest + 1
	files.write(self.chain.state, self.text)
	self.chain:start()
	wait.until_true("the chain to reach block " .. seen, function()
		local ok, number = pcall(height, self)
		return ok and number >= seen, number
	end)
end

--- Ends the keeping of copies.
function Kept:stop()
	self.over = true
end

--- @param chain  of devnet.anvil, running, with a state file
function M.new(chain)
	local self = setmetatable({ chain = chain, highest = 0, kept = -1 }, Kept)
	loop.spawn(watch, self)
	return self
end

return M
