-- What a node refuses to start with, in one line that names it.

local backend = require("spec.support.backend")
local crypto = require("spec.support.crypto")
local expect = require("spec.support.expect")
local files = require("spec.support.files")
local http = require("spec.support.http")
local nodes = require("spec.support.node")
local uv = require("luv")

local MASTER = crypto.hex(crypto.keccak256("a made-up master secret"))

describe("a start is refused with one line", function()
	it("for values that are not valid", function()
		for name, value in pairs({
			IN_ENCLAVE = "maybe", LOG_LEVEL = "loud", BIND_ADDR = "localhost", TEE = "sgx", CHAIN = "bitcoin",
			KMS_APP_ID = "0", THREADS = "-1", RATE_LIMIT_PER_MINUTE = "many", POP_TIMEOUT_SECONDS = "0",
			MAX_KEY_BYTES = "65537", TRUSTED_PROXIES = "10.0.0.0/33", REGISTRY_CACHE_TTL_SECONDS = "1.5",
			MAX_REQUEST_BODY_BYTES = "99999999999999999999", NODE_INSTANCE_URL = "ftp://x",
		}) do expect.named_once(nodes.refused({ [name] = value }), name, value) end
	end)

	it("for each of several mistakes", function()
		local text = nodes.refused({ THREADS = "x", MAX_KEY_BYTES = "y" })
		expect.named_once(text, "THREADS")
		expect.named_once(text, "MAX_KEY_BYTES")
	end)

	it("for sim and local in an enclave", function()
		local text = nodes.refused({ IN_ENCLAVE = "true", TEE = "sim" })
		assert.truthy(text:find("sim", 1, true), text)
		assert.truthy(text:find("local", 1, true), text)
		assert.truthy(text:find("IN_ENCLAVE", 1, true), text)
		nodes.refused({ IN_ENCLAVE = "true", CHAIN = "evm", TEE = "sim" })
		nodes.refused({ IN_ENCLAVE = "true", TEE = "odyn" })
		nodes.refused({ IN_ENCLAVE = false }) -- the default is true
	end)

	it("for a configuration file that is missing, unreadable or garbage", function()
		local dir = files.temp_dir()
		finally(function() files.remove_dir(dir) end)
		local path = dir .. "/node.lua"
		local function with(content, needle)
			if content then files.write(path, content) end
			local text = nodes.refused({}, { args = { "--config", path } })
			if needle then assert.truthy(text:find(needle, 1, true), text) end
			return text
		end
		with(nil, path)
		with("\0\1\2 garbage", path)
		with("return {", path)
		with("return 5", path)
		with("error('boom')", path)
		with("while true do end", path)
		with("return { THREDS = 1 }", "THREADS") -- names the nearest known key
		with("return { MASTER_SECRET_HEX = '" .. MASTER .. "' }", "MASTER_SECRET_HEX")
		with("return { MAX_KEY_BYTES = 'x' }", "MAX_KEY_BYTES")
		with("return { os.execute('touch " .. dir .. "/ran') }")
		assert.is_nil(uv.fs_stat(dir .. "/ran"))
		with("\27Lua", path)
		with(("x"):rep(3 << 20), path)
		nodes.refused({}, { args = { "--config", dir } })
	end)

	it("for a port that is in use", function()
		local node = nodes.start()
		finally(function() node:stop() end)
		expect.named_once(nodes.refused({}, { port = node.port }), "127.0.0.1:" .. node.port)
		assert.equal(200, http.get(node.port, "/health").status)
	end)

	it("for arguments that it does not know", function()
		for _, args in ipairs({ { "--bogus" }, { "--config" }, { "extra" } }) do nodes.refused({}, { args = args }) end
	end)

	it("for a data folder that cannot be", function()
		local dir = files.temp_dir()
		finally(function() files.remove_dir(dir) end)
		files.write(dir .. "/file", "x")
		nodes.refused({ DATA_DIR = dir .. "/file" })
		nodes.refused({ DATA_DIR = "/proc/nova-kms" })
	end)

	backend.only("files", describe)("for a seed file", function()
		local function with_seed(text, mode)
			local dir = files.temp_dir()
			files.write(dir .. "/node.seed", text, mode)
			local said = nodes.refused({}, { dir = dir })
			assert.equal(text, files.read(dir .. "/node.seed")) -- never touched
			assert.is_nil(uv.fs_stat(dir .. "/chain.lua"))
			files.remove_dir(dir)
			assert.truthy(said:find("node.seed", 1, true), said)
			assert.is_nil(said:find(text:sub(1, 16), 1, true), said)
			return said
		end
		local seed = MASTER .. "\n"

		it("that others may read", function()
			for _, mode in ipairs({ 420, 416, 388, 432, 511 }) do -- 0644, 0640, 0604, 0660, 0777
				assert.truthy(with_seed(seed, mode):find("0600", 1, true))
			end
		end)

		it("that is no seed", function()
			with_seed(MASTER, 384)
			with_seed(seed .. "\n", 384)
			with_seed(("g"):rep(64) .. "\n", 384)
			with_seed(MASTER:sub(1, 62) .. "\n", 384)
			with_seed(("\0"):rep(65), 384)
		end)

		it("that is a folder or a link to nowhere", function()
			local dir = files.temp_dir()
			finally(function() uv.fs_unlink(dir .. "/node.seed") files.remove_dir(dir) end)
			assert(uv.fs_mkdir(dir .. "/node.seed", 448))
			assert.truthy(nodes.refused({}, { dir = dir }):find("node.seed", 1, true))
			assert(uv.fs_rmdir(dir .. "/node.seed"))
			assert(uv.fs_symlink("/nonexistent/seed", dir .. "/node.seed"))
			assert.truthy(nodes.refused({}, { dir = dir }):find("node.seed", 1, true))
		end)
	end)

	backend.only("files", it)("for a sealed secret that was changed, or sealed under another seed", function()
		local dir = files.temp_dir()
		finally(function() files.remove_dir(dir) end)
		local node = nodes.start({ dir = dir })
		node:stop()
		local path = dir .. "/master.sealed"
		local sealed, seed = files.read(path), files.read(dir .. "/node.seed")
		local function says(text)
			files.write(path, text)
			expect.named_once(nodes.refused({}, { dir = dir }), "master.sealed")
			assert.equal(text, files.read(path))
		end
		local digit = sealed:sub(-3, -3)
		says(sealed:sub(1, -4) .. (digit == "0" and "1" or "0") .. sealed:sub(-2))
		says(sealed:sub(1, -10))
		says("")
		says(sealed:gsub("v1", "v2"))
		files.write(path, sealed, 420) -- 0644
		expect.named_once(nodes.refused({}, { dir = dir }), "master.sealed")
		files.write(path, sealed)
		files.write(dir .. "/node.seed", MASTER .. "\n")
		nodes.refused({}, { dir = dir })
		files.write(dir .. "/node.seed", seed)
		nodes.start({ dir = dir }):stop()
	end)

	it("for a local chain that is garbage", function()
		local dir = files.temp_dir()
		finally(function() files.remove_dir(dir) end)
		files.write(dir .. "/chain.lua", "return {{{")
		nodes.refused({}, { dir = dir })
		files.write(dir .. "/chain.lua", "return {}")
		nodes.refused({}, { dir = dir })
	end)
end)
