--- The odyn backend with a service that fails in every way that HTTP and JSON leave open.

local cjson = require("cjson")
local crypto = require("spec.support.crypto")
local http_head = require("spec.support.http_head")
local loop = require("kms.base.loop")
local loopback = require("spec.support.loopback")
local native = require("spec.support.native")
local node = require("spec.support.node")
local odyn = require("kms.tee.odyn")
local semaphore = require("kms.async.semaphore")
local wait = require("spec.support.wait")
local wakeup = require("kms.async.wakeup")

local run, reply = loopback.run, loopback.reply

local peer, other = crypto.made_up("a peer"), crypto.made_up("somebody else")
local own = crypto.made_up("a service")
local PLAIN = '{"path":"a/b"}'
local SIGNATURE = crypto.sign(peer.wallet_key, "whatever it is")
local PAYLOAD = "CONFIDENTIAL" -- in every bad answer: no message may repeat it
local TX = {
	chain_id = "0x1", nonce = "0x0", max_priority_fee_per_gas = "0x1", max_fee_per_gas = "0x2", gas_limit = "0x5208",
	to = "0x" .. ("ab"):rep(20), value = "0x0", data = "0x",
}

-- What a service that works answers.
local GOOD = {
	["/v1/eth/address"] = function() return { address = own.wallet, public_key = "0x04" } end,
	["/v1/encryption/public_key"] = function() return { public_key_der = "0x" .. crypto.hex(own.der) } end,
	["/v1/random"] = function() return { random_bytes = "0x" .. ("ab"):rep(32) } end,
	["/v1/eth/sign"] = function(body)
		return { signature = crypto.sign(own.wallet_key, body.message, { v = 0 }), address = own.wallet }
	end,
	["/v1/eth/sign-tx"] = function()
		local raw = "\2\193\128"
		return {
			raw_transaction = "0x" .. crypto.hex(raw), transaction_hash = "0x" .. crypto.hex(crypto.keccak256(raw)),
			address = own.wallet,
		}
	end,
	["/v1/encryption/decrypt"] = function() return { plaintext = PLAIN } end,
	["/v1/encryption/encrypt"] = function(body)
		local client = crypto.unhex(body.client_public_key:sub(3)):sub(-97)
		local sealed = crypto.seal(crypto.channel_key(own.scalar, client), own.der, body.plaintext)
		return {
			encrypted_data = sealed.encrypted_data, enclave_public_key = sealed.sender_tee_pubkey, nonce = sealed.nonce,
		}
	end,
}

-- A service; answers[path] stands for what it says otherwise: bytes, a function(good answer) ->
-- table, or function(nil, client) that does something to the connection.
local function start_service(answers, port)
	return loopback.serve(function(client, bytes)
		local head, rest = bytes:match("^(.-\r\n\r\n)(.*)$")
		if not head or #rest < tonumber(head:lower():match("content%-length: (%d+)") or 0) then return false end
		local path = head:match("^%u+ (%S+)")
		local body = rest ~= "" and cjson.decode(rest) or nil
		local answer = answers[path]
		if type(answer) == "string" then
			client:write(answer)
		elseif answer and debug.getinfo(answer, "u").nparams == 2 then
			answer(nil, client)
		else
			local good = GOOD[path](body)
			client:write(reply(cjson.encode(answer and answer(good) or good)))
		end
		return true
	end, port)
end

local function service_of(backend)
	local service = native.service({
		self = backend.address, nonces = native.nonces(120), channels = native.channels(16),
		store = native.store({ self = backend.address }),
	})
	service:set_master(native.secret_random(32))
	return service
end

local function envelope_text(plain)
	return cjson.encode(crypto.seal(crypto.channel_key(peer.scalar, own.point), peer.der, plain or PLAIN))
end

local function open_backend(answers, log)
	local server = start_service(answers)
	return assert(odyn.open({ config = { ODYN_URL = server.url }, log = log })), server
end

-- Every call of the backend by the path that it goes to.
local OPERATIONS = {
	["/v1/random"] = function(backend) return backend:random_secret() end,
	["/v1/eth/sign"] = function(backend) return backend:sign("text") end,
	["/v1/eth/sign-tx"] = function(backend) return backend:sign_transaction(TX) end,
	["/v1/encryption/decrypt"] = function(backend)
		return backend:open(assert(native.envelope(http_head(envelope_text()), peer.point)), peer.point, "guarded")
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
			local backend = open_backend({})
			for path, operation in pairs(OPERATIONS) do assert.truthy(operation(backend), path) end
		end)
	end)

	for fault, answer in pairs(FAULTS) do
		it("fails by name, and goes on, after " .. fault, function()
			run(function()
				for path, operation in pairs(OPERATIONS) do
					local answers = {}
					local backend = open_backend(answers)
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
					local backend = open_backend({ [path] = answer })
					check_failed(path, OPERATIONS[path](backend))
				end)
			end)
		end
	end

	it("takes 400, 403 and 422 of decrypt for what cannot be decrypted, and of no other call", function()
		run(function()
			for _, status in ipairs({ "400 Bad Request", "403 No", "422 No" }) do
				local answers = {}
				local backend = open_backend(answers)
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
			local backend = open_backend({ ["/v1/eth/sign"] = function(_, _) end })
			local before = native.mono_ms()
			check_failed("/v1/eth/sign", backend:sign("text"))
			local took = native.mono_ms() - before
			assert.is_true(took >= 2900 and took < 6000, took .. " ms")
		end)
	end)

	it("keeps its connections", function()
		run(function()
			local backend, server = open_backend({})
			for _ = 1, 20 do assert(backend:sign("text")) end
			assert.equal(1, server.accepted)
		end)
	end)

	it("asks for so much at once, lets others wait, and says ERR_BUSY beyond", function()
		run(function()
			local backend = open_backend({})
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
			wait.sleep(150)
		end)
	end)

	it("tells the operator which call failed, and why", function()
		run(function()
			local lines = {}
			local log = {}
			function log.limited(_, _, _, level, _, fields) lines[#lines + 1] = { level, fields.call, fields.cause } end
			local backend = open_backend({ ["/v1/eth/sign"] = reply(PAYLOAD, nil, "502 No") }, log)
			assert.is_nil(backend:sign("text"))
			assert.same({ { "warn", "POST /v1/eth/sign", "HTTP status 502" } }, lines)
		end)
	end)

	describe("answering a request", function()
		local function caller()
			return { wallet = peer.wallet, point = peer.point, signature = SIGNATURE, app_id = "7" }
		end

		local function stored(service)
			local body, _, code = service:work(service:request("get", "k"), "7", SIGNATURE, 2000)
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
				local backend = open_backend({
					["/v1/eth/sign"] = note("sign"), ["/v1/encryption/decrypt"] = note("decrypt"),
					["/v1/encryption/encrypt"] = note("encrypt"),
				})
				local service, who = service_of(backend), caller()
				local request = assert(backend:open_request(service, http_head(envelope_text()), "derive", who, false))
				assert(backend:execute(service, request, who, 1000))
				assert.same({ "sign", "decrypt", "encrypt" }, order)
			end)
		end)

		it("writes nothing where it cannot sign", function()
			run(function()
				local backend = open_backend({
					["/v1/eth/sign"] = reply("", nil, "500 No"),
					["/v1/encryption/decrypt"] = function() return { plaintext = PUT } end,
				})
				local service, who = service_of(backend), caller()
				local request = assert(backend:open_request(service, http_head(envelope_text(PUT)), "put", who, false))
				check_failed("/v1/eth/sign", backend:execute(service, request, who, 1000))
				assert.is_false(stored(service))
			end)
		end)

		it("gives no answer where it cannot seal, though the write is done", function()
			run(function()
				local backend = open_backend({
					["/v1/encryption/encrypt"] = reply("", nil, "500 No"),
					["/v1/encryption/decrypt"] = function() return { plaintext = PUT } end,
				})
				local service, who = service_of(backend), caller()
				local request = assert(backend:open_request(service, http_head(envelope_text(PUT)), "put", who, false))
				check_failed("/v1/encryption/encrypt", backend:execute(service, request, who, 1000))
				assert.is_true(stored(service))
			end)
		end)

		it("gives no unsigned answer to a request without a body", function()
			run(function()
				local backend = open_backend({ ["/v1/eth/sign"] = reply("", nil, "500 No") })
				local service = service_of(backend)
				check_failed("/v1/eth/sign", backend:execute(service, service:request("list"), caller(), 1000))
			end)
		end)

		it("does not ask the service for what is not there", function()
			run(function()
				local backend, server = open_backend({})
				local service, seen = service_of(backend), #server.seen
				local _, _, code = backend:execute(service, service:request("get", "k"), caller(), 1000)
				assert.equal("ERR_NOT_FOUND", code)
				assert.equal(seen, #server.seen)
			end)
		end)
	end)

	describe("at its start", function()
		it("waits for a service that comes later", function()
			run(function()
				local port = node.free_port()
				loop.after(300, function() start_service({}, port) end)
				assert(odyn.open({ config = { ODYN_URL = "http://127.0.0.1:" .. port } }))
			end)
		end)

		it("does not wait for ever, and says for what it did", function()
			run(function()
				local url = "http://127.0.0.1:" .. node.free_port()
				local backend, message = odyn.open({ config = { ODYN_URL = url }, start_ms = 500 })
				assert.is_nil(backend)
				assert.truthy(message:find("did not answer within 0.5 s", 1, true))
				assert.truthy(message:find("/v1/eth/address", 1, true))
			end)
		end)

		local function refused(answers)
			local server = start_service(answers)
			local backend, message = odyn.open({ config = { ODYN_URL = server.url }, start_ms = 1 })
			assert.is_nil(backend)
			return message
		end

		it("takes no identity that is none", function()
			run(function()
				local function key(der) return function() return { public_key_der = der } end end
				assert.truthy(refused({ ["/v1/eth/address"] = function() return { address = "0x12" } end }):find("no address"))
				assert.truthy(refused({ ["/v1/eth/address"] = reply("[") }):find("no JSON object"))
				for _, der in ipairs({ "", "0x00", crypto.hex(own.point), "0x" .. crypto.hex(own.der) .. "00",
					"0x" .. crypto.hex(own.der):sub(1, -3) .. "ff" }) do
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
end)
