--- A real EVM on loopback with both registries deployed, where `make contracts` has put the pinned
-- tools and the bytecode; of devnet. Everything here waits: call it inside loopback.run.

local anvil = require("devnet.anvil")
local files = require("spec.support.files")
local ports = require("spec.support.ports")
local registry = require("devnet.registry")

local M = {}

local Node = {}
Node.__index = Node

--- Whether anvil and the contracts are there.
function M.available()
	return (anvil.available("."))
end

--- One JSON-RPC call; throws where it fails.
function Node:rpc(...)
	return self.chain:rpc(...)
end

--- Calls a function of a contract as its owner.
function Node:call(...)
	return self.chain:call(...)
end

--- Registers an instance of the KMS application, with money for fees.
function Node:join(wallet, tee_pubkey)
	self.chain:fund(wallet)
	self.registries:register({ { app_id = 1, wallet = wallet, tee_pubkey = tee_pubkey, url = "http://127.0.0.1:1" } })
end

--- Mines a block.
function Node:mine()
	self:rpc("evm_mine")
end

--- Ends it and waits until it has ended.
function Node:stop()
	self.chain:stop()
	files.remove_dir(self.dir)
end

local function begin(self)
	self.chain:start()
	self.url = self.chain.url
	self.registries = registry.deploy(self.chain)
	self.registry, self.kms = self.registries.apps, self.registries.kms
end

--- Starts it with both contracts and a KMS application (id 1) with one version; it mines each
-- transaction at once until told otherwise.
function M.start()
	local self = setmetatable({ dir = files.temp_dir() }, Node)
	self.chain = anvil.new({ root = ".", dir = self.dir, port = ports.take() })
	local ok, failure = pcall(begin, self)
	if ok then return self end
	self:stop()
	error(failure, 2)
end

return M
