--- A local EVM chain (anvil) with its owner's account. What is here waits, so it needs a
-- coroutine, and what goes wrong is thrown as a text: a network is made step by step, and one
-- that failed ends it.

local cjson = require("cjson")
local abi = require("devnet.abi")
local fetch = require("kms.http.fetch")
local json = require("kms.base.json")
local loop = require("kms.base.loop")
local process = require("devnet.process")
local uv = require("luv")

local M = {}

local BINARY = "contracts/node_modules/@foundry-rs/anvil/bin/anvil"
local BYTECODE = "build/contracts/%s.json"
-- First account of anvil's public test mnemonic; it is unlocked and has money.
M.OWNER = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"
M.CHAIN_ID = 31337

local START_MS, STOP_MS, MINE_MS, POLL_MS = 30000, 5000, 20000, 20
-- Given, so that transactions that build on each other can wait for the same block: an
-- estimate would fail as long as the ones before are not mined.
local GAS = { deploy = "0x5b8d80", call = "0x1e8480" } -- 6 and 2 million
local STATES_IN_MEMORY = "300"

local Anvil = {}
Anvil.__index = Anvil

--- Whether anvil and the contracts' bytecode are there.
-- @param root  folder of the source tree
-- @return true | nil, message
function M.available(root)
	for _, path in ipairs({ BINARY, BYTECODE:format("KMSRegistry"), BYTECODE:format("NovaAppRegistry") }) do
		if not uv.fs_stat(root .. "/" .. path) then return nil, path .. " is not there: run `make contracts`" end
	end
	return true
end

--- One JSON-RPC call; throws where it fails.
function Anvil:rpc(method, ...)
	local value, response = fetch.json({
		url = self.url, json = { jsonrpc = "2.0", id = 1, method = method, params = json.list({ ... }) },
	})
	if value == nil then error(method .. ": " .. response, 0) end
	if value.error then error(method .. ": " .. value.error.message, 0) end
	return value.result
end

-- The receipt of a transaction that is, or will be, mined.
local function receipt_of(self, hash)
	local deadline = uv.hrtime() + MINE_MS * 1000000
	repeat
		local receipt = self:rpc("eth_getTransactionReceipt", hash)
		if receipt ~= cjson.null then return receipt end
		loop.sleep(POLL_MS)
	until uv.hrtime() > deadline
	error("a transaction of the owner was not mined", 0)
end

--- Transactions of the owner's, in this order and, where the chain mines by time, in one block.
-- @return their receipts; throws where one reverted
function Anvil:transact(transactions)
	local hashes, receipts = {}, {}
	for i, transaction in ipairs(transactions) do
		transaction.from = M.OWNER
		transaction.gas = transaction.gas or GAS.call
		hashes[i] = self:rpc("eth_sendTransaction", transaction)
	end
	if self.block_time then self:rpc("evm_mine") end
	for i, hash in ipairs(hashes) do
		receipts[i] = receipt_of(self, hash)
		if receipts[i].status ~= "0x1" then error("a transaction of the owner reverted", 0) end
	end
	return receipts
end

--- Deploys a contract of build/contracts; arguments of its constructor as abi.arguments takes them.
-- @return address
function Anvil:deploy(name, signature, ...)
	local file = assert(io.open(self.root .. "/" .. BYTECODE:format(name)))
	local code = cjson.decode(file:read("a")).bytecode
	file:close()
	local data = code .. abi.arguments(signature, ...)
	return self:transact({ { data = data, gas = GAS.deploy } })[1].contractAddress:lower()
end

--- A call for Anvil:transact.
function M.call(contract, signature, ...)
	return { to = contract, data = abi.call(signature, ...) }
end

--- Calls one function of a contract as its owner.
function Anvil:call(contract, signature, ...)
	return self:transact({ M.call(contract, signature, ...) })[1]
end

--- Reads a function without arguments that returns a number.
function Anvil:number(contract, signature)
	return math.tointeger(tonumber(self:rpc("eth_call", { to = contract, data = abi.call(signature) }, "latest")))
end

--- Gives an account money for fees.
function Anvil:fund(wallet)
	self:rpc("anvil_setBalance", wallet, "0xde0b6b3a7640000") -- 1 ether
end

--- Ends it; with a state file, that is written first.
function Anvil:stop()
	if self.process then self.process:stop(STOP_MS) end
end

--- Ends it as a crash does.
function Anvil:kill()
	self.process:kill()
end

local function absolute(path)
	return path:sub(1, 1) == "/" and path or uv.cwd() .. "/" .. path
end

local function arguments(self)
	local args = {
		"--port", tostring(self.port), "--chain-id", tostring(M.CHAIN_ID), "--silent", "--prune-history", STATES_IN_MEMORY,
	}
	local function add(...) table.move({ ... }, 1, select("#", ...), #args + 1, args) end
	if self.block_time then add("--block-time", tostring(self.block_time)) end
	if self.state then add("--state", self.state, "--state-interval", tostring(self.state_interval)) end
	return args
end

--- Starts it, on what its state file holds, and waits until it answers. Again where it has ended.
function Anvil:start()
	local message
	self.process, message = process.start({
		program = self.root .. "/" .. BINARY, args = arguments(self), log = self.dir .. "/anvil.log",
		-- What it keeps for itself goes to its home.
		env = { PATH = os.getenv("PATH"), HOME = absolute(self.dir) }, on_end = self.on_end,
	})
	if not self.process then error(message, 0) end
	local deadline = uv.hrtime() + START_MS * 1000000
	while not pcall(self.rpc, self, "eth_chainId") do
		if not self.process:alive() then error("anvil " .. self.process:ending() .. ": see " .. self.process.log, 0) end
		if uv.hrtime() > deadline then error("anvil does not answer", 0) end
		loop.sleep(POLL_MS)
	end
end

--- A chain that does not run yet.
-- @param options root (of the source tree), dir (for its log and what else it writes), port; block_time
--   (seconds; absent: a block for each transaction), state (file that is loaded, and written at
--   the end and every state_interval seconds), on_end(process): called when it ends unasked
function M.new(options)
	return setmetatable({
		root = options.root, dir = options.dir, port = options.port, url = "http://127.0.0.1:" .. options.port,
		block_time = options.block_time, state = options.state, state_interval = options.state_interval,
		on_end = options.on_end,
	}, Anvil)
end

return M
