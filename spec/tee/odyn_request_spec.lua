--- kms.tee.odyn executing a request, and waiting for its service at the start.

local crypto = require("spec.support.crypto")
local fake_odyn = require("spec.support.fake_odyn")
local http_head = require("spec.support.http_head")
local loopback = require("spec.support.loopback")
local node = require("spec.support.node")
local odyn = require("kms.tee.odyn")

local run, reply = loopback.run, loopback.reply
local peer, own = fake_odyn.peer, fake_odyn.own
local SIGNATURE = crypto.sign(peer.wallet_key, "whatever it is")
local PAYLOAD = "CONFIDENTIAL" -- in every bad response: no message may repeat it

local function check_failed(path, value, message, code)
	assert.is_nil(value)
	assert.equal("ERR_TEE", code)
	assert.truthy(message:find(path, 1, true), message)
	assert.is_nil(message:find(PAYLOAD, 1, true))
end

describe("a request of kms.tee.odyn", function()
	local function caller()
		return { wallet = peer.wallet, point = peer.point, signature = SIGNATURE, app_id = "7" }
	end

	local function stored(service)
		local body, _, code = service:execute(service:request("get", "k"), "7", SIGNATURE, 2000)
		assert.is_true(body ~= nil or code == "ERR_NOT_FOUND")
		return body ~= nil
	end

	local PUT = '{"key":"k","value":"AAAA"}'

	it("asks for the signature beside decrypting, then encrypts: two in a row", function()
		run(function()
			local order = {}
			local function note(name)
				return function(good)
					order[#order + 1] = name
					return good
				end
			end
			local backend = fake_odyn.open({
				["/v1/eth/sign"] = note("sign"), ["/v1/encryption/decrypt"] = note("decrypt"),
				["/v1/encryption/encrypt"] = note("encrypt"),
			})
			local service, who = fake_odyn.native_service(backend), caller()
			local request = assert(backend:open_request(service, http_head(fake_odyn.envelope_text()), "derive", who, false))
			assert(backend:execute(service, request, who, 1000))
			assert.same({ "sign", "decrypt", "encrypt" }, order)
		end)
	end)

	it("writes nothing where it cannot sign", function()
		run(function()
			local backend = fake_odyn.open({
				["/v1/eth/sign"] = reply("", nil, "500 No"),
				["/v1/encryption/decrypt"] = function() return { plaintext = PUT } end,
			})
			local service, who = fake_odyn.native_service(backend), caller()
			local request = assert(backend:open_request(service, http_head(fake_odyn.envelope_text(PUT)), "put", who, false))
			check_failed("/v1/eth/sign", backend:execute(service, request, who, 1000))
			assert.is_false(stored(service))
		end)
	end)

	it("gives no answer where it cannot seal, though the write is done", function()
		run(function()
			local backend = fake_odyn.open({
				["/v1/encryption/encrypt"] = reply("", nil, "500 No"),
				["/v1/encryption/decrypt"] = function() return { plaintext = PUT } end,
			})
			local service, who = fake_odyn.native_service(backend), caller()
			local request = assert(backend:open_request(service, http_head(fake_odyn.envelope_text(PUT)), "put", who, false))
			check_failed("/v1/encryption/encrypt", backend:execute(service, request, who, 1000))
			assert.is_true(stored(service))
		end)
	end)

	it("gives no unsigned answer to a request without a body", function()
		run(function()
			local backend = fake_odyn.open({ ["/v1/eth/sign"] = reply("", nil, "500 No") })
			local service = fake_odyn.native_service(backend)
			check_failed("/v1/eth/sign", backend:execute(service, service:request("list"), caller(), 1000))
		end)
	end)

	it("does not ask the service for what is not there", function()
		run(function()
			local backend, server = fake_odyn.open({})
			local service, seen = fake_odyn.native_service(backend), #server.seen
			local _, _, code = backend:execute(service, service:request("get", "k"), caller(), 1000)
			assert.equal("ERR_NOT_FOUND", code)
			assert.equal(seen, #server.seen)
		end)
	end)
end)

describe("kms.tee.odyn at its start", function()
	it("calls nobody, so that the node listens before the service is there", function()
		run(function()
			local port = node.free_port()
			local backend = assert(odyn.open({ config = { ODYN_URL = "http://127.0.0.1:" .. port } }))
			assert.is_nil(backend.address)
			local known, message = backend:identify()
			assert.is_nil(known)
			assert.truthy(message:find("/v1/eth/address", 1, true))
			assert.is_nil(backend.address)
			fake_odyn.start({}, port)
			assert.is_true(backend:identify())
			assert.same({ own.wallet, own.der, own.point }, { backend.address, backend.public_der, backend.point })
		end)
	end)

	it("knows nothing of a service that gave its address, but not its key", function()
		run(function()
			local server = fake_odyn.start({ ["/v1/encryption/public_key"] = reply("", nil, "503 Soon") })
			local backend = assert(odyn.open({ config = { ODYN_URL = server.url } }))
			assert.is_nil((backend:identify()))
			assert.is_nil(backend.address)
		end)
	end)

	local function refused(answers)
		local server = fake_odyn.start(answers)
		local backend = assert(odyn.open({ config = { ODYN_URL = server.url } }))
		local known, message = backend:identify()
		assert.is_nil(known)
		assert.is_nil(backend.address)
		return message
	end

	it("takes no identity that is none", function()
		run(function()
			local function key(der) return function() return { public_key_der = der } end end
			assert.truthy(refused({ ["/v1/eth/address"] = function() return { address = "0x12" } end }):find("no address"))
			assert.truthy(refused({ ["/v1/eth/address"] = reply("[") }):find("no JSON object"))
			local off_curve = crypto.hex(own.der):gsub(".$", function(digit) return digit == "0" and "1" or "0" end)
			for _, der in ipairs({
				"", "0x00", crypto.hex(own.point), "0x" .. crypto.hex(own.der) .. "00", "0x" .. off_curve,
			}) do
				assert.truthy(refused({ ["/v1/encryption/public_key"] = key(der) }):find("no P-384 key", 1, true), der)
			end
		end)
	end)

	it("refuses a URL that is none", function()
		run(function()
			local backend, message = odyn.open({ config = { ODYN_URL = "ftp://127.0.0.1" } })
			assert.is_nil(backend)
			assert.is_string(message)
		end)
	end)
end)
