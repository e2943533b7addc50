-- A node whose RPC server answers every second call with 429: no application that was authorised notices.

local apps = require("spec.support.app")
local chain_server = require("spec.support.chain_server")
local evm_node = require("spec.support.evm_node")
local loopback = require("spec.support.loopback")
local native = require("spec.support.native")

local LOAD_MS = 5000 -- several lives of what the node remembers of an application

describe("a node whose RPC server refuses every second call", function()
	local node

	teardown(function()
		if node then node:stop() end
		loopback.close()
	end)

	it("refuses no request of an application that was authorised, and stays ready", function()
		local chain = chain_server.start()
		node = evm_node.serve(chain, { REGISTRY_CACHE_TTL_SECONDS = "1", KMS_NODE_TICK_SECONDS = "1",
			PEER_CACHE_TTL_SECONDS = "60" })
		local list = {}
		for i = 1, 3 do
			list[i] = apps.new(node, "70" .. i, "busy rpc app " .. i)
			chain:register("70" .. i, list[i].identity.wallet, list[i].identity.der)
			assert.equal(200, list[i]:derive({ path = "p" }).status)
		end
		local calls, refused_calls = 0, 0
		chain.respond = function()
			calls = calls + 1
			if calls % 2 == 1 then return nil end
			refused_calls = refused_calls + 1
			return loopback.reply("", nil, "429 Too Many Requests")
		end
		local began, statuses = native.mono_ms(), {}
		while native.mono_ms() - began < LOAD_MS do
			for _, app in ipairs(list) do
				local status = app:derive({ path = "p" }).status
				statuses[status] = (statuses[status] or 0) + 1
			end
		end
		local served = statuses[200]
		assert.same({ [200] = served }, statuses)
		assert.is_true(refused_calls >= 3, refused_calls)
		assert.is_true(node:status().node.service_available)
	end)
end)
