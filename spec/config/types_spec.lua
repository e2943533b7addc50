local config = require("kms.config")
local configs = require("spec.support.config")
local schema = require("kms.config.schema")
local socket_path = require("kms.admin.socket_path")

local errors_of, load_env = configs.errors_of, configs.load_env
local with_file, with_env = configs.with_file, configs.with_env

describe("config types", function()
	after_each(configs.clean)

	-- With the smallest records, which other limits must have room for.
	local function accepts(name, text, value)
		local variables = { IN_ENCLAVE = name ~= "IN_ENCLAVE" and "false" or nil }
		variables.MAX_KV_VALUE_SIZE_BYTES, variables.MAX_KEY_BYTES = "1", "1"
		variables[name] = text
		assert.same(value, load_env(variables)[name])
	end
	local function refuses(name, text)
		local line = errors_of(with_env({ [name] = text }))
		assert.is_truthy(line:find(("variable %s: value '"):format(name), 1, true), line)
		assert.is_truthy(line:find("is not valid: allowed is ", 1, true), line)
	end

	it("bool", function()
		for _, text in ipairs({ "true", "TRUE", "1", "yes", "Yes" }) do accepts("LOG_NAMES", text, true) end
		for _, text in ipairs({ "false", "False", "0", "no", " NO " }) do accepts("LOG_NAMES", text, false) end
		for _, text in ipairs({ "on", "2", "truee", "nil" }) do refuses("LOG_NAMES", text) end
	end)

	it("int, at its bounds and one past them", function()
		for _, section in ipairs(schema.sections()) do
			for _, key in ipairs(section.keys) do
				if key.type == "int" then
					accepts(key.name, tostring(key.min), key.min)
					accepts(key.name, tostring(key.max), key.max)
					refuses(key.name, tostring(key.max + 1))
					if key.min > 0 or key.zero then refuses(key.name, tostring(key.min - 1)) end
					if key.zero then accepts(key.name, "0", 0) end
					refuses(key.name, "-1")
				end
			end
		end
		for _, text in ipairs({ "1.5", "1e3", "0x10", "12 3", "99999999999999999999", "9223372036854775808", "-" }) do
			refuses("MAX_KEY_BYTES", text)
		end
	end)

	it("durations and sizes with a unit, in the unit of the name, at the bounds and one past them", function()
		accepts("SESSION_TTL_SECONDS", "4s", 4)
		accepts("SESSION_TTL_SECONDS", "4000ms", 4)
		accepts("SESSION_TTL_SECONDS", "7d", 7 * 86400)
		accepts("SESSION_TTL_SECONDS", "2 H", 7200)
		accepts("RPC_TIMEOUT_MS", "1m", 60000)
		accepts("TOMBSTONE_RETENTION_MS", "0s", 0)
		accepts("MAX_TOTAL_STORAGE_BYTES", "3GiB", 3 << 30)
		accepts("MAX_TOTAL_STORAGE_BYTES", "1TiB", 1 << 40)
		accepts("MAX_TOTAL_STORAGE_BYTES", "900 b", 900)
		for _, text in ipairs({ "3s", "169h", "604801s", "4500ms", "1.5h", "-4s", "4 s s", "4w", "4MiB", "s", "4  s" }) do
			refuses("SESSION_TTL_SECONDS", text)
		end
		for _, text in ipairs({ "1025GiB", "2TiB", "1kB", "1MB", "1G", "5s", "0x1KiB", "names", "1names",
			"999999999999999999TiB", "16777216TiB", "1000000000000000000B" }) do
			refuses("MAX_TOTAL_STORAGE_BYTES", text)
		end
		refuses("CHAIN_CONFIRMATIONS", "6s") -- a key without a unit in its name
		refuses("APP_RATE_LIMIT_PER_MINUTE", "6m")
		refuses("MIN_BODY_BYTES_PER_SECOND", "4KiB")
		local line = errors_of(with_env({ SESSION_TTL_SECONDS = "1w" }))
		assert.is_truthy(line:find("from 4 to 604800, or a text with a unit (ms, s, m, h, d)", 1, true), line)
		assert.equal(7200, assert(config.load(with_file('return { SESSION_TTL_SECONDS = "2h" }'))).SESSION_TTL_SECONDS)
	end)

	it("app id, unsigned 64-bit as text", function()
		accepts("KMS_APP_ID", "1", "1")
		accepts("KMS_APP_ID", "18446744073709551615", "18446744073709551615")
		for _, text in ipairs({ "0", "-1", "007", "18446744073709551616", "99999999999999999999", "x" }) do
			refuses("KMS_APP_ID", text)
		end
		assert.equal("7", assert(config.load(with_file("return { KMS_APP_ID = 7 }"))).KMS_APP_ID)
		errors_of(with_file("return { KMS_APP_ID = 0 }"))
	end)

	it("level, with the names that existing deployments use", function()
		for text, level in pairs({ DEBUG = "debug", WARNING = "warn", Critical = "error", info = "info" }) do
			accepts("LOG_LEVEL", text, level)
		end
		refuses("LOG_LEVEL", "verbose")
	end)

	it("enum", function()
		accepts("TEE", "SIM", "sim")
		refuses("TEE", "sgx")
	end)

	it("address", function()
		local digits = ("aB"):rep(20)
		accepts("KMS_REGISTRY_ADDRESS", "0x" .. digits, "0x" .. digits:lower())
		accepts("KMS_REGISTRY_ADDRESS", digits, "0x" .. digits:lower())
		for _, text in ipairs({ "0x" .. digits .. "0", digits:sub(2), "0x" .. ("0"):rep(40), "0x" .. ("g"):rep(40) }) do
			refuses("KMS_REGISTRY_ADDRESS", text)
		end
	end)

	it("bind address", function()
		for _, text in ipairs({ "127.0.0.1:0", "[::1]:65535", "[::]:80" }) do accepts("BIND_ADDR", text, text) end
		for _, text in ipairs({
			"127.0.0.1", "127.0.0.1:65536", "127.0.0.1:", "::1:80", "[::1]", "localhost:80", "256.0.0.1:80",
			"[127.0.0.1]:80", "127.0.0.1:-1", "127.0.0.1:080000", "[::1%lo]:80",
		}) do
			refuses("BIND_ADDR", text)
		end
	end)

	it("metrics address", function()
		accepts("METRICS_ADDR", "127.0.0.1:1", "127.0.0.1:1")
		for _, text in ipairs({ "0", "off", "OFF" }) do accepts("METRICS_ADDR", text, "off") end
		for _, text in ipairs({ "on", "9464", "localhost:9464", "127.0.0.1" }) do refuses("METRICS_ADDR", text) end
		for _, value in ipairs({ "0", '""', "false" }) do
			assert.equal("off", assert(config.load(with_file("return { METRICS_ADDR = " .. value .. " }"))).METRICS_ADDR)
		end
		local function notes(address)
			return table.concat(config.notes(load_env({ METRICS_ADDR = address })), "\n")
		end
		assert.truthy(notes("0.0.0.0:1"):find("other machines can read the metrics", 1, true))
		assert.is_nil(notes("[::1]:1"):find("METRICS_ADDR", 1, true))
		assert.is_nil(notes("off"):find("METRICS_ADDR", 1, true))
	end)

	it("control socket", function()
		for _, text in ipairs({ "auto", "off", "/run/kms/s", "./s" }) do accepts("CONTROL_SOCKET", text, text) end
		accepts("CONTROL_SOCKET", "0", "off")
		for _, text in ipairs({ "sock", "/run/kms/", "/" .. ("x"):rep(100), "/a\1b" }) do refuses("CONTROL_SOCKET", text) end
		local function path(env) return socket_path.path(load_env(env)) end
		assert.is_nil(path({}))
		assert.equal("data/control.sock", path({ IN_ENCLAVE = "false" }))
		assert.equal("/x/control.sock", path({ IN_ENCLAVE = "false", DATA_DIR = "/x" }))
		assert.equal("/x/y", path({ CONTROL_SOCKET = "/x/y" }))
		assert.is_nil(path({ IN_ENCLAVE = "false", CONTROL_SOCKET = "off" }))
	end)

	it("url", function()
		accepts("NODE_INSTANCE_URL", "HTTPS://Node.Example:8443/base/", "https://node.example:8443/base")
		accepts("NODE_INSTANCE_URL", "http://[::1]:80/", "http://[::1]:80")
		accepts("EGRESS_PROXY", "http://10.0.0.1:3128", "http://10.0.0.1:3128")
		for _, text in ipairs({
			"ftp://x", "http://", "x", "http://user:pw@host", "http://host:0", "http://host:65536", "http://host:",
			"http://host/a b", "http://host/#f", "http://host?q=1", "http://300.1.1.1", "http://[1.2.3.4]", "http://[::1",
			"http://ho\1st", "http://" .. ("a"):rep(2050),
		}) do
			refuses("NODE_INSTANCE_URL", text)
		end
	end)

	it("list of urls", function()
		local cfg = load_env({ HELIOS_RPC_URL = "https://a.example/v1?k=1 , https://b.example" })
		assert.equal(2, #cfg.HELIOS_RPC_URL)
		assert.equal("https://a.example/v1?k=1", cfg.HELIOS_RPC_URL[1])
		refuses("HELIOS_RPC_URL", "http://a,,http://b")
		errors_of(with_file("return { HELIOS_RPC_URL = {} }"))
		refuses("HELIOS_RPC_URL", ("http://127.0.0.1,"):rep(64) .. "http://127.0.0.1")
	end)

	it("reads origins of pages as browsers send them", function()
		local origins = {
			"https://app.example", "http://localhost:3000", "https://[::1]:8443", "http://x:65535", "https://" .. ("a"):rep(255),
		}
		assert.same(origins, load_env({ CORS_ORIGINS = table.concat(origins, ", ") }).CORS_ORIGINS)
		assert.same({}, load_env({ CORS_ORIGINS = "" }).CORS_ORIGINS)
		for _, text in ipairs({
			"*", "null", "app.example", "https://", "https://App.example", "https://app.example/", "https://app.example:443",
			"http://x:80", "http://x:", "http://x:0", "http://x:080", "http://x:65536", "https://u@x", "ftp://x", "https://x?y",
			"https://[::1", "https://" .. ("a"):rep(256), ("https://x,"):rep(64) .. "https://x",
		}) do
			refuses("CORS_ORIGINS", text)
		end
	end)

	it("list of ranges", function()
		local cfg = load_env({ TRUSTED_PROXIES = "10.0.0.0/8, 192.168.1.7,2001:db8::/32" })
		assert.equal(3, #cfg.TRUSTED_PROXIES)
		assert.equal(8, cfg.TRUSTED_PROXIES[1].bits)
		for _, text in ipairs({ "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/", "x", "10.0.0.0/8,", "::/129", "1.2.3/8" }) do
			refuses("TRUSTED_PROXIES", text)
		end
		assert.equal(1, #assert(config.load(with_file('return { TRUSTED_PROXIES = { "::1" } }'))).TRUSTED_PROXIES)
		errors_of(with_file('return { TRUSTED_PROXIES = { "::1", x = "::1" } }'))
		errors_of(with_file("return { TRUSTED_PROXIES = { 1 } }"))
	end)

	it("string", function()
		accepts("DATA_DIR", "/var/lib/nova kms", "/var/lib/nova kms")
		refuses("DATA_DIR", "a\nb")
		refuses("DATA_DIR", ("a"):rep(4097))
		accepts("DATA_DIR", ("a"):rep(4096), ("a"):rep(4096))
	end)
end)
