-- GET /attestation: documents are made one at a time, in turns of the client addresses.

local attest = require("kms.attest")
local attestation = require("kms.routes.attestation")
local inbound = require("kms.http.inbound")
local loop = require("kms.base.loop")
local loopback = require("spec.support.loopback")
local wait = require("spec.support.wait")
local wakeup = require("kms.async.wakeup")

describe("GET /attestation", function()
	it("makes a document for another address before those that wait for one address", function()
		loopback.run(function()
			local made = 0
			local routes = attestation.new({
				tee = { address = "0x" .. ("ab"):rep(20), public_der = "", attest = function()
					wait.sleep(5)
					made = made + 1
					return "document"
				end },
				policy = { hash = function() return ("0"):rep(64) end }, mono_ms = loop.now,
				config = { NONCE_RATE_LIMIT_PER_MINUTE = 0 }, recovery = function() end,
			}):routes()
			local function ask(address)
				local request = { remote = address, query = "nonce=00", header = function() end }
				return routes[1].handler(inbound.new(request, nil, false))
			end
			for _ = 1, 200 do loop.spawn(ask, "10.0.0.1") end
			local reply = ask("10.0.0.2")
			assert.equal(200, reply.status)
			assert.is_true(made <= 4, made)
		end)
	end)

	it("says which policies are in force when a document is made, not when it was asked for", function()
		loopback.run(function()
			local hash, first, documents = ("a"):rep(64), wakeup.new(), {}
			local routes = attestation.new({
				tee = { address = "0x" .. ("ab"):rep(20), public_der = "", attest = function(_, _, user_data)
					if #documents == 0 then first:wait() end
					documents[#documents + 1] = attest.read_user_data(user_data).policy
					return "document"
				end },
				policy = { hash = function() return hash end }, mono_ms = loop.now,
				config = { NONCE_RATE_LIMIT_PER_MINUTE = 0 }, recovery = function() end,
			}):routes()
			local function ask(remote)
				routes[1].handler(inbound.new({ remote = remote, query = "nonce=00", header = function() end }, nil, false))
			end
			loop.spawn(ask, "10.0.0.1")
			loop.spawn(ask, "10.0.0.2") -- waits for its turn
			hash = ("b"):rep(64)
			first:wake()
			wait.until_true("the documents", function() return #documents == 2 end)
			assert.same({ ("a"):rep(64), ("b"):rep(64) }, documents)
		end)
	end)
end)
