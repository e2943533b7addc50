-- What an operator meets at the command line: one word of the configuration counts for every command, a check
-- says what a start would, and failures of the system are named.

local cjson = require("cjson")
local exit = require("kms.cli.exit")
local expect = require("spec.support.expect")
local files = require("spec.support.files")
local nodes = require("spec.support.node")

describe("an operator", function()
	local running, dir

	setup(function()
		running, dir = nodes.start(), files.temp_dir()
		local file <close> = assert(io.open(dir .. "/node.lua", "w"))
		file:write(('return { TEE = "sim", CHAIN = "local", IN_ENCLAVE = false, BIND_ADDR = "127.0.0.1:%s", %s }')
			:format(running.port, ("DATA_DIR = %q"):format(running.dir)))
	end)
	teardown(function()
		running:stop()
		files.remove_dir(dir)
	end)

	local function nova(env, ...)
		return nodes.run({ ... }, { env = env })
	end

	it("names the configuration once, for every command", function()
		local env = { NOVA_KMS_CONFIG = dir .. "/node.lua" }
		for _, words in ipairs({
			{ "status" }, { "nodes" }, { "peers" }, { "loglevel" }, { "call", "derive", "--path", "p" }, { "config", "check" },
		}) do
			local code, _, err = nova(env, table.unpack(words))
			assert.same({ exit.OK, "" }, { code, err }, table.concat(words, " "))
		end
		for _, words in ipairs({ { "status" }, { "nodes" }, { "peers" }, { "call", "derive", "--path", "p" } }) do
			local code, _, err = nova({ NOVA_KMS_CONFIG = dir .. "/absent.lua" }, table.unpack(words))
			assert.equal(exit.CONFIG, code, table.concat(words, " "))
			assert.truthy(err:find("absent.lua", 1, true), err)
		end
	end)

	it("reads in a check what a start would say", function()
		for _, env in ipairs({
			{ CHAIN = "evm", TEE = "odyn", KMS_REGISTRY_ADDRESS = "0x" .. ("1"):rep(40) },
			{ CHAIN = "local", TEE = "sim", IN_ENCLAVE = "false", REQUIRE_PEER_ATTESTATION = dir .. "/absent" },
		}) do
			env.DATA_DIR = dir .. "/data"
			local code, _, err = nova(env, "config", "check")
			assert.equal(exit.CONFIG, code)
			env.LOG_FORMAT = "text"
			local _, _, started = nova(env, "serve")
			assert.truthy(started:find(err, 1, true), started .. " is not " .. err)
		end
	end)

	it("reads which variables look like misspelt settings, and no value of them, also where a start is refused", function()
		local note = "SESION_OPEN_PER_MINUTE is not a setting; did you mean SESSION_OPEN_PER_MINUTE? (ignored)"
		local env = { NOVA_KMS_CONFIG = dir .. "/node.lua", SESION_OPEN_PER_MINUTE = "c0ffee" }
		local code, _, err = nova(env, "config", "check")
		assert.same({ exit.OK, "note: " .. note .. "\n" }, { code, err })
		local said = nodes.refused({ THREADS = "x", SESION_OPEN_PER_MINUTE = "c0ffee" })
		expect.named_once(said, "SESION_OPEN_PER_MINUTE", note)
		assert.is_nil(said:find("c0ffee", 1, true))
		local node = nodes.start({ env = { SESION_OPEN_PER_MINUTE = "c0ffee" } })
		finally(function() node:stop() end)
		expect.named_once(node:log(), "SESION_OPEN_PER_MINUTE", note)
		assert.is_nil(node:log():find("c0ffee", 1, true))
	end)

	it("sees the usage when no node is configured", function()
		local code, out, err = nova({})
		assert.same({ exit.USAGE, "" }, { code, out })
		assert.truthy(err:find("Usage: nova-kms COMMAND", 1, true), err)
		code, out, err = nova({ TEE = "nonsense" })
		assert.same({ exit.CONFIG, "" }, { code, out })
		assert.truthy(err:find("variable TEE", 1, true), err)
	end)

	it("reads what the system said", function()
		local env = { NOVA_KMS_CONFIG = dir .. "/node.lua" }
		local _, _, err = nova(env, "call", "put", "--key", "k", "--value-file", dir)
		assert.truthy(err:find(": Is a directory\n", 1, true), err)
		err = select(3, nova(env, "call", "derive", "--path", "p", "--seed", ("x"):rep(300)))
		assert.truthy(err:find(": File name too long\n", 1, true), err)
	end)

	it("finds the prompt on a line of its own behind a value", function()
		local env = { NOVA_KMS_CONFIG = dir .. "/node.lua" }
		assert.equal(0, (nova(env, "call", "put", "--key", "k", "--value", "v")))
		assert.equal("v", (select(2, nova(env, "call", "get", "--key", "k"))))
		local pipe <close> = assert(io.popen(("NOVA_KMS_CONFIG=%s script -qec '%s call get --key k' /dev/null")
			:format(env.NOVA_KMS_CONFIG, nodes.program)))
		assert.equal("v\r\n", pipe:read("a"))
	end)

	it("adds an application to a local chain, which may call at once", function()
		local env = { NOVA_KMS_CONFIG = dir .. "/node.lua" }
		local seed = dir .. "/new.seed"
		assert.equal(0, (nova(env, "keygen", seed)))
		local code, _, err = nova(env, "call", "derive", "--path", "p", "--seed", seed)
		assert.equal(exit.FAILED, code)
		assert.truthy(err:find("(not_registered)", 1, true), err)
		-- The node remembers a refusal for ten seconds: another seed.
		seed = dir .. "/other.seed"
		local _, keys = nova(env, "keygen", seed)
		local id
		code, id, err = nova(env, "app", "add", "--wallet", keys:match("0x%x+"), "--pubkey", keys:match("tee_pubkey (%x+)"))
		assert.same({ exit.OK, "1001\n", "" }, { code, id, err })
		code, _, err = nova(env, "call", "derive", "--path", "p", "--seed", seed)
		assert.same({ exit.OK, "" }, { code, err })
		code, _, err = nova(env, "app", "add", "--seed", seed)
		assert.equal(exit.FAILED, code)
		assert.truthy(err:find("is registered already", 1, true), err)
		assert.equal(exit.USAGE, (nova(env, "app", "add")))
		assert.equal(exit.USAGE, (nova(env, "app", "add", "--wallet", "0x12", "--pubkey", "00")))
		assert.equal(exit.CONFIG, (nova({ CHAIN = "evm" }, "app", "add", "--seed", seed)))
	end)

	it("reads numbers in the log as numbers", function()
		local checked = 0
		for line in running:log():gmatch("{[^\n]*\n") do
			local entry = cjson.decode(line)
			if entry.ms ~= nil then
				assert.equal("number", type(entry.ms), line)
				checked = checked + 1
			end
		end
		assert.is_true(checked > 0)
	end)
end)
