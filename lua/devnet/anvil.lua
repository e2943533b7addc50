--- A local EVM chain (anvil) with its owner's account. Its functions need a coroutine and throw a text
-- where they fail: a network is set up step by step, and one failed step ends the setup.

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
-- First account of anvil's public test mnemonic; it is unlocked and funded.
M.OWNER = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"
M.CHAIN_ID = 31337

local START_MS, STOP_MS, MINE_MS, POLL_MS = 60000, 30000, 60000, 20
-- Fixed, so that dependent transactions can be sent for the same block: estimating the gas of one fails
-- until those before it are mined.
local GAS = { deploy = "0x5b8d80", call = "0x1e8480" } -- 6 and 2 million
local STATES_IN_MEMORY = "300"

local Anvil = {}
Anvil.__index = Anvil

--- Whether anvil and the contracts' bytecode are installed.
-- @param root  folder of the source tree
-- @return true | nil, message
function M.available(root)
	for _, path in ipairs({ BINARY, BYTECODE:format("KMSRegistry"), BYTECODE:format("NovaAppRegistry") }) do
		if not uv.fs_stat(root .. "/" .. path) then return nil, path .. " is missing: run `make contracts`" end
	end
	return true
end

--- Makes one JSON-RPC call.
-- @return result; throws where the call fails
function Anvil:rpc(method, ...)
	local response, message = fetch.json({
		url = self.url, json = { jsonrpc = "2.0", id = 1, method = method, params = json.list({ ... }) },
	})
	if not response then error(method .. ": " .. message, 0) end
	local failure = response.value.error
	if failure then error(method .. ": " .. failure.message, 0) end
	return response.value.result
end

-- Waits for the receipt of a transaction; throws after MINE_MS.
local function receipt_of(self, hash)
	local deadline = uv.hrtime() + MINE_MS * 1000000
	repeat
		local receipt = self:rpc("eth_getTransactionReceipt", hash)
		if receipt ~= cjson.null then return receipt end
		loop.sleep(POLL_MS)
	until uv.hrtime() > deadline
	error("a transaction of the owner was not mined", 0)
end

--- Sends transactions of the owner in this order; a chain that mines by time puts them into one block.
-- @param transactions  list of { to, data, gas }
-- @return list of receipts; throws where one reverted
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

--- Deploys a contract of build/contracts.
-- @param signature, ...  the constructor's arguments, as abi.arguments takes them
-- @return address
function Anvil:deploy(name, signature, ...)
	local file = assert(io.open(self.root .. "/" .. BYTECODE:format(name)))
	local code = cjson.decode(file:read("a")).bytecode
	file:close()
	local data = code .. abi.arguments(signature, ...)
	return self:transact({ { data = data, gas = GAS.deploy } })[1].contractAddress:lower()
end

--- A call as Anvil:transact takes it; arguments as for abi.call.
function M.call(contract, signature, ...)
	return { to = contract, data = abi.call(signature, ...) }
end

--- Calls a function of a contract as its owner.
-- @return receipt
function Anvil:call(contract, signature, ...)
	return self:transact({ M.call(contract, signature, ...) })[1]
end

--- Reads a function that has no arguments and returns an integer.
function Anvil:number(contract, signature)
	return math.tointeger(tonumber(self:rpc("eth_call", { to = contract, data = abi.call(signature) }, "latest")))
end

--- Funds an account for fees.
function Anvil:fund(wallet)
	self:rpc("anvil_setBalance", wallet, "0xde0b6b3a7640000") -- 1 ether
end

--- Stops the chain; with a state file, anvil writes its state first.
function Anvil:stop()
	if self.process then self.process:stop(STOP_MS) end
end

--- Kills the chain, as a crash would.
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
	if self.host then add("--host", self.host) end
	if self.block_time then add("--block-time", tostring(self.block_time)) end
	if self.state then add("--state", self.state, "--state-interval", tostring(self.state_interval)) end
	return args
end

--- Starts the chain from its state file and waits until it responds; also a chain that has ended.
function Anvil:start()
	local message
	self.process, message = process.start({
		program = self.root .. "/" .. BINARY, args = arguments(self), log = self.dir .. "/anvil.log",
		-- anvil stores its own files in its home.
		env = { PATH = os.getenv("PATH"), HOME = absolute(self.dir) }, on_end = self.on_end,
	})
	if not self.process then error(message, 0) end
	local deadline = uv.hrtime() + START_MS * 1000000
	while not pcall(self.rpc, self, "eth_chainId") do
		if not self.process:alive() then error("anvil " .. self.process:ending() .. ": see " .. self.process.log, 0) end
		if uv.hrtime() > deadline then error("anvil does not respond", 0) end
		loop.sleep(POLL_MS)
	end
end

--- A chain that is not running yet.
-- @param options  root: of the source tree; dir: for its log and other files; host: address (nil: 127.0.0.1); port;
--   block_time: seconds (nil: one block per transaction); state: file that is loaded, and written at the end and every
--   state_interval seconds; on_end(process): called when it ends by itself
-- @return chain
function M.new(options)
	return setmetatable({
		root = options.root, dir = options.dir, host = options.host, port = options.port,
		url = ("http://%s:%d"):format(options.host or "127.0.0.1", options.port), block_time = options.block_time,
		state = options.state, state_interval = options.state_interval, on_end = options.on_end,
	}, Anvil)
end

return M
