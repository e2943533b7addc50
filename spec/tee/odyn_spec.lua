--- kms.tee.odyn with a service that fails in every way that HTTP and JSON leave open.

local cjson = require("cjson")
local crypto = require("spec.support.crypto")
local fake_odyn = require("spec.support.fake_odyn")
local http_head = require("spec.support.http_head")
local loop = require("kms.base.loop")
local loopback = require("spec.support.loopback")
local native = require("spec.support.native")
local semaphore = require("kms.async.semaphore")
local wait = require("spec.support.wait")
local wakeup = require("kms.async.wakeup")

local run, reply = loopback.run, loopback.reply
local peer, own, PLAIN = fake_odyn.peer, fake_odyn.own, fake_odyn.PLAIN
local other = crypto.made_up("somebody else")
local PAYLOAD = "CONFIDENTIAL" -- in every bad response: no message may repeat it
local TX = {
	chain_id = "0x1", nonce = "0x0", max_priority_fee_per_gas = "0x1", max_fee_per_gas = "0x2", gas_limit = "0x5208",
	to = "0x" .. ("ab"):rep(20), value = "0x0", data = "0x",
}

-- Every call of the backend by the path that it goes to.
local OPERATIONS = {
	["/v1/random"] = function(backend) return backend:random_secret() end,
	["/v1/eth/sign"] = function(backend) return backend:sign("text") end,
	["/v1/eth/sign-tx"] = function(backend) return backend:sign_transaction(TX) end,
	["/v1/encryption/decrypt"] = function(backend)
		return backend:open(assert(native.envelope(http_head(fake_odyn.envelope_text()), peer.point)), peer.point, "guarded")
	end,
	["/v1/encryption/encrypt"] = function(backend) return backend:seal(native.text_body(PLAIN), peer.point) end,
}

-- What any call may meet.
local FAULTS = {
	["500"] = reply(PAYLOAD, nil, "500 Oops"),
	["a redirect"] = reply(PAYLOAD, "Location: http://127.0.0.1:1/\r\n", "302 Found"),
	["text that is no JSON"] = reply("<html>" .. PAYLOAD),
	["no body"] = reply(""),
	["a list"] = reply('["' .. PAYLOAD .. '"]'),
	["an object without members"] = reply("{}"),
	["members of other types"] = reply('{"signature":1,"address":[],"plaintext":{},"random_bytes":null,"nonce":2}'),
	["JSON that is cut off"] = reply('{"plaintext":"' .. PAYLOAD),
	["bytes that are no HTTP"] = PAYLOAD .. "\r\n\r\n" .. PAYLOAD,
	["a body beyond the limit"] = reply('{"x":"' .. (PAYLOAD):rep(20000) .. '"}'),
	["a connection that is cut in the middle"] = function(_, client)
		client:write("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"plaintext\":\"" .. PAYLOAD, function()
			client:close()
		end)
	end,
	["a connection that is cut at once"] = function(_, client) client:close() end,
}

-- What each call may be told that looks right.
local LIES = {
	["/v1/random"] = {
		["31 bytes"] = function() return { random_bytes = "0x" .. ("ab"):rep(31) } end,
		["33 bytes"] = function() return { random_bytes = "0x" .. ("ab"):rep(33) } end,
		["digits that are none"] = function() return { random_bytes = "0x" .. ("xy"):rep(32) } end,
	},
	["/v1/eth/sign"] = {
		["another wallet's address"] = function(good) return { signature = good.signature, address = other.wallet } end,
		["a high s"] = function()
			return { signature = crypto.sign(own.wallet_key, "text", { v = 0, high_s = true }), address = own.wallet }
		end,
		["truncated hex"] = function(good) return { signature = good.signature:sub(1, -2), address = own.wallet } end,
		["an impossible v"] = function(good)
			return { signature = good.signature:sub(1, -3) .. "05", address = own.wallet }
		end,
	},
	["/v1/eth/sign-tx"] = {
		["another wallet's address"] = function(good)
			good.address = other.wallet
			return good
		end,
		["another hash"] = function(good)
			good.transaction_hash = "0x" .. ("00"):rep(32)
			return good
		end,
		["a transaction of another type"] = function(good)
			good.raw_transaction = "0x01c180"
			good.transaction_hash = "0x" .. crypto.hex(crypto.keccak256("\1\193\128"))
			return good
		end,
	},
	["/v1/encryption/encrypt"] = {
		["another key"] = function(good)
			good.enclave_public_key = crypto.hex(other.der)
			return good
		end,
		["truncated hex"] = function(good)
			good.encrypted_data = good.encrypted_data:sub(1, -2)
			return good
		end,
		["a ciphertext that is too short"] = function(good)
			good.encrypted_data = good.encrypted_data:sub(1, -3)
			return good
		end,
		["a nonce of 11 bytes"] = function(good)
			good.nonce = good.nonce:sub(1, 22)
			return good
		end,
	},
	["/v1/encryption/decrypt"] = {
		["plaintext that is no text"] = function() return { plaintext = cjson.null } end,
	},
}

local function check_failed(path, value, message, code)
	assert.is_nil(value)
	assert.equal("ERR_TEE", code)
	assert.truthy(message:find(path, 1, true), message)
	assert.is_nil(message:find(PAYLOAD, 1, true))
end

describe("the odyn backend", function()
	it("works where the service does", function()
		run(function()
			local backend = fake_odyn.open({})
			for path, operation in pairs(OPERATIONS) do assert.truthy(operation(backend), path) end
		end)
	end)

	for fault, answer in pairs(FAULTS) do
		it("fails by name, and goes on, after " .. fault, function()
			run(function()
				for path, operation in pairs(OPERATIONS) do
					local answers = {}
					local backend = fake_odyn.open(answers)
					answers[path] = answer
					check_failed(path, operation(backend))
					answers[path] = nil
					assert.truthy(operation(backend), path)
					assert.equal(0, backend.calls.semaphore.running)
				end
			end)
		end)
	end

	for path, lies in pairs(LIES) do
		for lie, answer in pairs(lies) do
			it("does not believe " .. path .. " with " .. lie, function()
				run(function()
					local backend = fake_odyn.open({ [path] = answer })
					check_failed(path, OPERATIONS[path](backend))
				end)
			end)
		end
	end

	it("takes 400, 403 and 422 of decrypt for what cannot be decrypted, and of no other call", function()
		run(function()
			for _, status in ipairs({ "400 Bad Request", "403 No", "422 No" }) do
				local answers = {}
				local backend = fake_odyn.open(answers)
				for path, operation in pairs(OPERATIONS) do
					answers[path] = reply(PAYLOAD, nil, status)
					local value, message, code = operation(backend)
					if path == "/v1/encryption/decrypt" then
						assert.same({ nil, "cannot decrypt", "ERR_DECRYPT" }, { value, message, code })
					else
						check_failed(path, value, message, code)
					end
				end
			end
		end)
	end)

	it("gives up after three seconds", function()
		run(function()
			local backend = fake_odyn.open({ ["/v1/eth/sign"] = function(_, _) end })
			local before = native.mono_ms()
			check_failed("/v1/eth/sign", backend:sign("text"))
			local took = native.mono_ms() - before
			assert.is_true(took >= 2900 and took < 20000, took .. " ms")
		end)
	end)

	it("keeps its connections", function()
		run(function()
			local backend, server = fake_odyn.open({})
			for _ = 1, 20 do assert(backend:sign("text")) end
			assert.equal(1, server.accepted)
		end)
	end)

	it("asks for so much at once, lets others wait, and says ERR_BUSY beyond", function()
		run(function()
			local backend = fake_odyn.open({})
			backend.calls.semaphore = semaphore.new({ at_once = 1, max_waiting = 1, wait_ms = 60000 })
			local codes, left, waiter = {}, 3, wakeup.new()
			for i = 1, 3 do
				loop.spawn(function()
					local signature, _, code = backend:sign("text")
					codes[i] = signature and "signed" or code
					left = left - 1
					if left == 0 then waiter:wake() end
				end)
			end
			waiter:wait()
			assert.same({ "signed", "signed", "ERR_BUSY" }, codes)
			wait.until_true("the queue's timer to end", function() return backend.calls.semaphore.timer == nil end)
		end)
	end)

	it("tells the operator which call failed, and why", function()
		run(function()
			local lines = {}
			local log = {}
			function log.limited(_, _, _, level, _, fields) lines[#lines + 1] = { level, fields.call, fields.cause } end
			local backend = fake_odyn.open({ ["/v1/eth/sign"] = reply(PAYLOAD, nil, "502 No") }, log)
			assert.is_nil(backend:sign("text"))
			assert.same({ { "warn", "POST /v1/eth/sign", "HTTP status 502" } }, lines)
		end)
	end)
end)
