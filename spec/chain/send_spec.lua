--- Sending setMasterSecretHash to several servers: one that refuses what another one has taken decides nothing.

local chain_server = require("spec.support.chain_server")
local loopback = require("spec.support.loopback")
local native = require("spec.support.native")
local on_chain = require("spec.support.evm")

local HASH = "0x" .. ("5a"):rep(32)

describe("chain.transaction with two servers", function()
	local function with_two(body)
		on_chain.with_chain({ servers = 2 }, function(chain, _, log, servers)
			local wallet, p384 = native.identity(native.secret_random(32))
			for _, server in ipairs(servers) do
				server:register("49", wallet:address(), p384:public_der())
				server.mining = false
			end
			assert(chain:begin_tick())
			body(chain, servers, chain_server.signer(wallet), log)
		end)
	end

	local function refuse(server, words, code)
		server.override = function(name)
			return name == "eth_sendRawTransaction" and { error = { code = code or -32000, message = words } } or nil
		end
	end

	for _, words in ipairs({ "nonce too low", "replacement transaction underpriced", "insufficient funds" }) do
		it("is sent where one takes it, though another one says: " .. words, function()
			with_two(function(chain, servers, tee)
				refuse(servers[1], words)
				assert.is_true(chain:set_master_secret_hash(HASH, tee))
				assert.same({ 1, 1 }, { #servers[2].pending, #tee.fields })
			end)
		end)
	end

	it("is sent where one knows it already, though another one refuses it", function()
		with_two(function(chain, servers, tee)
			refuse(servers[1], "nonce too low")
			refuse(servers[2], "already known")
			assert.is_true(chain:set_master_secret_hash(HASH, tee))
		end)
	end)

	it("fails with what all of them say, and asks each once", function()
		with_two(function(chain, servers, tee)
			refuse(servers[1], "nonce too low")
			refuse(servers[2], "insufficient funds")
			local ok, message = chain:set_master_secret_hash(HASH, tee)
			assert.is_nil(ok)
			assert.truthy(message:find("nonce too low.*insufficient funds"), message)
			for _, server in ipairs(servers) do assert.equal(1, server.calls.eth_sendRawTransaction) end
		end)
	end)

	it("fails with the refusal where the other one does not answer", function()
		with_two(function(chain, servers, tee)
			refuse(servers[1], "nonce too low")
			servers[2].respond = function() return loopback.reply("", nil, "500 Oops") end
			local ok, message = chain:set_master_secret_hash(HASH, tee)
			assert.is_nil(ok)
			assert.truthy(message:find("nonce too low", 1, true), message)
		end)
	end)

	it("does not pay more because one that did not decide wants higher fees", function()
		with_two(function(chain, servers, tee, log)
			refuse(servers[1], "replacement transaction underpriced")
			assert.is_true(chain:set_master_secret_hash(HASH, tee))
			for _, server in ipairs(servers) do server.pending, server.nonce = {}, 1 end
			log.wait_once("setMasterSecretHash was replaced by another transaction")
			assert.is_true(chain:set_master_secret_hash(HASH, tee))
			assert.equal(tee.fields[1].max_fee_per_gas, tee.fields[2].max_fee_per_gas)
		end)
	end)
end)
