-- GET /attestation: documents are made one at a time, in turns of the client addresses.

local attestation = require("kms.routes.attestation")
local inbound = require("kms.http.inbound")
local loop = require("kms.base.loop")
local loopback = require("spec.support.loopback")
local wait = require("spec.support.wait")

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
end)
