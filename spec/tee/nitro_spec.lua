--- The TEE backend `nitro` on a fake device, which spec/run preloads into this process.
-- tee_spec.lua tests what every backend gives, native/tee/test_nsm.c the device itself.

local loopback = require("spec.support.loopback")
local native = require("spec.support.native")
local nitro = require("kms.tee.nitro")
local uv = require("luv")
local wait = require("spec.support.wait")

if not (os.getenv("LD_PRELOAD") or ""):find("nsm_fake", 1, true) then
	describe("TEE=nitro", function()
		it("needs the fake device", function() pending("start it with spec/run, which preloads it") end)
	end)
	return
end

local channels = native.channels(4)

-- Opens a backend and keeps what it logs.
local function open()
	local lines = {}
	local log = {}
	for _, level in ipairs({ "info", "warn" }) do
		log[level] = function(_, text, fields) lines[#lines + 1] = { level = level, text = text, fields = fields } end
	end
	local backend, message = nitro.open({ log = log, channels = channels })
	return backend, message or lines
end

local function with(fault, body)
	uv.os_setenv("NSM_FAKE", fault)
	local ok, message = pcall(body)
	uv.os_unsetenv("NSM_FAKE")
	if not ok then error(message, 0) end
end

-- In a coroutine: calls wait for the pool.
local function test(text, body)
	it(text, function() loopback.run(body) end)
end

describe("TEE=nitro", function()
	test("makes new keys at each start and says with which module", function()
		local first, lines = open()
		local second = open()
		assert.not_equal(first.address, second.address)
		assert.not_equal(first.public_der, second.public_der)
		assert.equal(1, #lines)
		assert.equal("info", lines[1].level)
		assert.same({
			wallet = first.address, module = "i-0123456789abcdef0-enc0123456789abcd", version = "1.0.7", pcrs = 32,
			locked_pcrs = 4,
		}, lines[1].fields)
	end)

	test("gives documents over what it is told", function()
		local backend = open()
		local document = assert(backend:attest("the nonce", '{"eth_addr":"0x00"}', backend.public_der))
		for _, part in ipairs({ "the nonce", '{"eth_addr":"0x00"}', backend.public_der }) do
			assert.truthy(document:find(part, 1, true))
		end
		assert.truthy(assert(backend:attest()):find("nonce\xf6", 1, true))
		local _, _, code = backend:attest(("n"):rep(1025))
		assert.equal("ERR_RANGE", code)
	end)

	test("is not there outside an enclave", function()
		for fault, text in pairs({ missing = "no Nitro Security Module", denied = "no right" }) do
			with(fault, function()
				local backend, message = open()
				assert.is_nil(backend)
				assert.truthy(message:find("TEE=nitro: " .. text, 1, true), message)
			end)
		end
	end)

	test("does not start on a module that gives no random bytes", function()
		for _, fault in ipairs({ "gone", "garbage", "oversized", "error=InternalError" }) do
			with(fault, function()
				local backend, message = open()
				assert.is_nil(backend)
				assert.equal("string", type(message))
			end)
		end
		with("error=InternalError", function()
			assert.truthy(select(2, open()):find("refused the request: InternalError", 1, true))
		end)
	end)

	test("starts on a module that does not describe itself", function()
		with("odd-text", function()
			local backend, lines = open()
			assert.truthy(backend)
			assert.equal("warn", lines[1].level)
		end)
	end)

	test("goes on with its keys when the device is gone", function()
		local backend = open()
		with("gone", function()
			for _, call in ipairs({ "attest", "random_secret" }) do
				local result, message, code = backend[call](backend)
				assert.is_nil(result)
				assert.equal("ERR_TEE", code)
				assert.truthy(message:find("gone", 1, true))
			end
			assert.truthy(backend:sign("text"))
		end)
		assert.truthy(backend:attest())
	end)

	test("asks the module for several things at once, in order", function()
		local backend = open()
		local documents, count = {}, 0
		for i = 1, 8 do
			coroutine.wrap(function()
				documents[i] = assert(backend:attest(("nonce %d;"):format(i)))
				count = count + 1
			end)()
		end
		wait.until_true("the documents", function() return count == 8 end)
		for i = 1, 8 do assert.truthy(documents[i]:find(("nonce %d;"):format(i), 1, true)) end
	end)
end)
