-- A node on an EVM chain: who is served, and what it makes of a chain that changes its mind,
-- lies or is away. The chain is a JSON-RPC server in this process.

local apps = require("spec.support.app")
local chain_server = require("spec.support.chain_server")
local evm_node = require("spec.support.evm_node")
local expect = require("spec.support.expect")
local http = require("spec.support.http")
local loopback = require("spec.support.loopback")
local nodes = require("spec.support.node")
local wait = require("spec.support.wait")

local wait_reason = evm_node.wait_reason

-- Starts a node on a chain that does not know it yet.
local function start(chain, env)
	local all = { PEER_CACHE_TTL_SECONDS = "1" }
	for name, value in pairs(env or {}) do all[name] = value end
	return evm_node.start(chain, all)
end

-- Registers the node as a member, and waits until it serves.
local function admit(chain, node)
	wait_reason(node, "self not in KMS node list")
	evm_node.register(chain, node)
	node:wait_ready()
end

-- Runs body(chain, node) with a node that serves.
local function with_node(env, body)
	local chain = chain_server.start()
	local node = start(chain, env)
	local ok, failure = pcall(function()
		admit(chain, node)
		body(chain, node)
	end)
	node:stop()
	loopback.close()
	if not ok then error(failure, 0) end
end

local function derive_status(app)
	return app:derive({ path = "p" }).status
end

local function register(chain, app)
	return chain:register(app.app_id, app.identity.wallet, app.identity.der)
end

describe("a node on an EVM chain", function()
	it("sets the hash of its secret once it is a member, and serves registered applications only", function()
		with_node({}, function(chain, node)
			assert.equal(1, #chain.pending + #chain.sent)
			assert.are_not.equal(chain_server.NO_HASH, chain.hash)
			assert.equal("generated", node:status().node.master_secret.state)
			local app, stranger = apps.new(node, "700", "evm app"), apps.new(node, "701", "evm stranger")
			register(chain, app)
			assert.equal(200, derive_status(app))
			expect.refused(stranger:derive({ path = "p" }), 403, "unauthorized")
		end)
	end)

	it("honours stop, un-verify and revoke within the cache time, and their end", function()
		with_node({}, function(chain, node)
			local app = apps.new(node, "700", "evm app")
			local row = register(chain, app)
			assert.equal(200, derive_status(app))
			local changes = {
				{ row, "status", 1, 0 }, { row, "zk_verified", false, true }, { chain.apps["700"], "status", 2, 0 },
				{ chain.versions["700/1"], "status", 2, 1 }, { row, "tee_pubkey", "", row.tee_pubkey },
			}
			for i, change in ipairs(changes) do
				change[1][change[2]] = change[3]
				wait.until_true("refusal " .. i, function() return derive_status(app) == 403 end)
				change[1][change[2]] = change[4]
				wait.until_true("admission " .. i, function() return derive_status(app) == 200 end)
			end
		end)
	end)

	it("knows strangers by reverts, too", function()
		with_node({}, function(chain, node)
			chain.override = function(name)
				return name == "eth_call:getInstanceByWallet" and chain_server.revert("InstanceNotFound") or nil
			end
			local stranger = apps.new(node, "701", "evm stranger")
			local status = derive_status(stranger)
			-- The node itself is none then, at its next tick.
			assert.is_true(status == 403 or status == 503)
			wait_reason(node, "self not in KMS node list")
		end)
	end)

	it("starts while the chain is away, and serves when it is back", function()
		local chain = chain_server.start()
		chain.respond = function() return loopback.reply("", nil, "502 Bad Gateway") end
		local node = start(chain)
		local ok, failure = pcall(function()
			wait_reason(node, "peer cache refresh failed")
			assert.equal(200, http.get(node.port, "/health").status)
			expect.refused(http.get(node.port, "/ready"), 503, "service_unavailable")
			chain.respond = nil
			admit(chain, node)
		end)
		node:stop()
		loopback.close()
		if not ok then error(failure, 0) end
	end)

	it("lets nobody new in while the chain is away, and goes on when it is back", function()
		with_node({}, function(chain, node)
			local app = apps.new(node, "700", "evm app")
			register(chain, app)
			assert.equal(200, derive_status(app))
			for _, fault in ipairs({ "garbage", "hang" }) do
				chain.respond = function() return fault == "hang" and "hang" or loopback.reply("<html>") end
				local other = apps.new(node, "702", "evm other " .. fault)
				register(chain, other)
				local response = other:derive({ path = "p" })
				expect.refused(response, 503, "service_unavailable")
				chain.respond = nil
				wait.until_true(fault, function() return derive_status(app) == 200 and derive_status(other) == 200 end)
			end
		end)
	end)

	it("does not serve on another chain, on a frozen one, or under another key", function()
		with_node({}, function(chain, node)
			chain.chain_id = 1
			wait_reason(node, "peer cache refresh failed")
			chain.chain_id = 84532
			wait_reason(node, "ready")
			chain.time_s = os.time() - 1000
			wait_reason(node, "peer cache refresh failed")
			chain.time_s = nil
			wait_reason(node, "ready")
			local own = chain.instances[node:status().node.tee_wallet]
			local key = own.tee_pubkey
			own.tee_pubkey = require("spec.support.crypto").made_up("somebody else").der
			wait_reason(node, "local teePubkey mismatch with registry")
			own.tee_pubkey = key
			wait_reason(node, "ready")
		end)
	end)

	it("stops at once while a look-up hangs", function()
		with_node({}, function(chain, node)
			local before = chain.requests
			chain.respond = function() return "hang" end
			wait.until_true("a look-up that hangs", function() return chain.requests > before end)
			local code = node:stop()
			assert.equal(0, code)
		end)
	end)
end)

describe("a start on an EVM chain", function()
	it("is refused without the contracts' addresses", function()
		for _, name in ipairs({ "NOVA_APP_REGISTRY_ADDRESS", "KMS_REGISTRY_ADDRESS" }) do
			local files = require("spec.support.files")
			local dir = files.temp_dir()
			local env = {
				CHAIN = "evm", NOVA_APP_REGISTRY_ADDRESS = chain_server.REGISTRY, KMS_REGISTRY_ADDRESS = chain_server.KMS,
			}
			env[name] = nil
			local code, _, err = nodes.serve(dir, { env = env })
			files.remove_dir(dir)
			assert.equal(4, code) -- a configuration that cannot start
			assert.truthy(err:find(name, 1, true), err)
		end
	end)
end)
