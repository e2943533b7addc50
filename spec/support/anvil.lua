--- A real EVM on loopback (anvil) with both registries deployed, where `make contracts` has put
-- the pinned tools and the bytecode. Everything here waits: call it inside loopback.run.

local cjson = require("cjson")
local chain_server = require("spec.support.chain_server")
local fetch = require("kms.fetch")
local loopback = require("spec.support.loopback")
local native = require("spec.support.native")
local uv = require("luv")

local M = {}

local BINARY = "contracts/node_modules/@foundry-rs/anvil/bin/anvil"
local BYTECODE = "build/contracts/%s.json"
-- The first account of anvil's public test mnemonic; it is unlocked.
local OWNER = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"
local ZERO = "0x" .. ("0"):rep(40)

local word, address = chain_server.word, chain_server.address_word

local Anvil = {}
Anvil.__index = Anvil

--- Whether anvil and the contracts are there.
function M.available()
	return uv.fs_stat(BINARY) ~= nil and uv.fs_stat(BYTECODE:format("KMSRegistry")) ~= nil
end

local function bytecode(name)
	local file = assert(io.open(BYTECODE:format(name)))
	local code = cjson.decode(file:read("a")).bytecode
	file:close()
	return code
end

--- One JSON-RPC call; throws where it fails.
function Anvil:rpc(method, ...)
	local value, response = fetch.json({
		url = self.url, json = { jsonrpc = "2.0", id = 1, method = method, params = require("kms.json").list({ ... }) },
	})
	if value == nil then error(method .. ": " .. response, 2) end
	if value.error then error(method .. ": " .. value.error.message, 2) end
	return value.result
end

-- A transaction of the owner's, mined; its receipt.
local function transact(self, transaction)
	transaction.from = OWNER
	local hash = self:rpc("eth_sendTransaction", transaction)
	for _ = 1, 200 do
		local receipt = self:rpc("eth_getTransactionReceipt", hash)
		if receipt ~= cjson.null then
			if receipt.status ~= "0x1" then error("a transaction of the owner reverted", 3) end
			return receipt
		end
		loopback.sleep(20)
	end
	error("a transaction of the owner was not mined", 3)
end

local function deploy(self, name, arguments)
	return transact(self, { data = bytecode(name) .. arguments }).contractAddress:lower()
end

--- Calls a function of a contract as its owner: arguments as chain_server.tuple takes them.
function Anvil:call(contract, signature, ...)
	return transact(self, {
		to = contract, data = native.abi_selector(signature) .. chain_server.tuple({ ... }):sub(67),
	})
end

--- Registers an instance of the KMS application, with money for fees.
function Anvil:join(wallet, tee_pubkey)
	self:rpc("anvil_setBalance", wallet, "0xde0b6b3a7640000")
	return self:call(self.registry, "registerInstance(uint256,uint256,address,string,bytes,address,bool)", word(1),
		word(1), address(wallet), { "http://127.0.0.1:1" }, { tee_pubkey }, address(wallet), word(1))
end

--- Mines a block.
function Anvil:mine()
	self:rpc("evm_mine")
end

--- Ends it and waits until it has ended.
function Anvil:stop()
	if not self.ended then uv.process_kill(self.process, "sigkill") end
	for _ = 1, 500 do
		if self.ended then return end
		loopback.sleep(10)
	end
end

local function wait_until_up(self)
	for _ = 1, 500 do
		if self.ended then error("anvil ended at once", 2) end
		if pcall(self.rpc, self, "eth_chainId") then return end
		loopback.sleep(20)
	end
	error("anvil does not answer", 2)
end

--- Starts it with both contracts and a KMS application (id 1) with one version; it mines each
-- transaction at once until told otherwise.
function M.start()
	local self = setmetatable({}, Anvil)
	local tcp = uv.new_tcp()
	assert(tcp:bind("127.0.0.1", 0))
	local port = tcp:getsockname().port
	tcp:close()
	self.url = "http://127.0.0.1:" .. port
	self.process = assert(uv.spawn("setpriv", {
		args = { "--pdeathsig", "KILL", BINARY, "--port", tostring(port), "--silent", "--chain-id", "31337" },
	}, function()
		self.ended = true
		self.process:close()
	end))
	wait_until_up(self)
	self.registry = deploy(self, "NovaAppRegistry", address(OWNER))
	self.kms = deploy(self, "KMSRegistry", address(OWNER) .. address(self.registry))
	self:call(self.registry, "createApp(address,bytes32,address,string,address)", address(OWNER), word(0),
		address(self.kms), { "kms" }, address(ZERO))
	self:call(self.registry, "enrollVersion(uint256,string,bytes32,string,string,string,string)", word(1), { "v1" },
		word(0), { "" }, { "" }, { "" }, { "" })
	self:call(self.kms, "setKmsAppId(uint256)", word(1))
	return self
end

return M
