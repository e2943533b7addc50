--- Configuration: file, environment, types, bounds, rules between keys, and that nothing in
-- a file can hang the start or leak.

local config = require("kms.config")
local configs = require("spec.support.config")
local schema = require("kms.config.schema")
local types = require("kms.config.types")

local env_of, errors_of, write = configs.env_of, configs.errors_of, configs.write
local with_file, with_env, load_env = configs.with_file, configs.with_env, configs.load_env

describe("kms.config", function()
	after_each(configs.clean)

	describe("defaults", function()
		it("hold what the protocol names", function()
			local cfg = load_env({})
			assert.is_true(cfg.IN_ENCLAVE)
			assert.equal("0.0.0.0:8000", cfg.BIND_ADDR)
			assert.equal("http://127.0.0.1:18545", cfg.HELIOS_RPC_URL[1])
			assert.equal("http://127.0.0.1:18000", cfg.ODYN_URL)
			assert.equal(120, cfg.POP_TIMEOUT_SECONDS)
			assert.equal(120, cfg.RATE_LIMIT_PER_MINUTE)
			assert.equal(30, cfg.NONCE_RATE_LIMIT_PER_MINUTE)
			assert.equal(6000, cfg.APP_RATE_LIMIT_PER_MINUTE)
			assert.equal(4 << 20, cfg.MAX_REQUEST_BODY_BYTES)
			assert.equal(256 << 20, cfg.MAX_BODY_MEMORY_BYTES)
			assert.equal(1 << 20, cfg.MAX_KV_VALUE_SIZE_BYTES)
			assert.equal(86400000, cfg.TOMBSTONE_RETENTION_MS)
			assert.is_nil(cfg.NODE_INSTANCE_URL)
			assert.equal("default", config.origin(cfg, "LOG_LEVEL"))
			assert.same({}, config.notes(cfg))
		end)

		it("are themselves valid, and every key has a type and a text", function()
			for _, section in ipairs(schema.sections()) do
				for _, key in ipairs(section.keys) do
					assert.is_truthy(types[key.type], key.name)
					assert.is_truthy(key.doc:find("^%u.*%.$") or key.doc:find("^auto: "), key.name)
				end
			end
		end)

		it("stand in config/node.lua, each with its text and bounds", function()
			local file <close> = assert(io.open("config/node.lua"))
			local text = file:read("a")
			local uncommented = text:gsub("\n\t%-%- ([A-Z_]+ = [^\n]*,)", "\n\t%1")
			local cfg = assert(config.load(with_file(text)))
			local set = assert(config.load(with_file(uncommented, {})))
			local names = 0
			for _, key in ipairs(config.describe()) do
				local block = ("\n\t-- %s\n\t-- Allowed: %s.\n"):format(key.doc, key.allowed)
				if not key.secret then
					block = block .. ("\t-- %s = "):format(key.name)
					assert.equal("default", config.origin(cfg, key.name))
					local unset = key.type == "bool" and key.default == nil
					assert.equal(unset and "default" or "file", config.origin(set, key.name), key.name)
					names = names + 1
				end
				assert.is_truthy(text:find(block, 1, true), "config/node.lua differs at " .. key.name)
			end
			assert.same(config.public(cfg), config.public(set))
			assert.equal(names, select(2, text:gsub("\n\t%-%- [A-Z_]+ = ", "")), "a key the schema does not know")
		end)
	end)

	describe("precedence", function()
		it("is environment, file, default", function()
			local cfg = assert(config.load(with_file('return { LOG_LEVEL = "debug", MAX_KEY_BYTES = 2 * 50 }',
				{ LOG_LEVEL = "error" })))
			assert.equal("error", cfg.LOG_LEVEL)
			assert.equal(100, cfg.MAX_KEY_BYTES)
			assert.equal("environment", config.origin(cfg, "LOG_LEVEL"))
			assert.equal("file", config.origin(cfg, "MAX_KEY_BYTES"))
		end)

		it("counts an empty variable as not set", function()
			assert.equal("info", load_env({ LOG_LEVEL = "", IN_ENCLAVE = " " }).LOG_LEVEL)
			for _, trace in ipairs({ "trace", "TRACE", "Trace" }) do
				assert.equal("debug", load_env({ LOG_LEVEL = trace }).LOG_LEVEL)
			end
		end)

		it("knows the other name of HELIOS_RPC_URL", function()
			assert.equal("http://127.0.0.1:1", load_env({ NODE_URL = "http://127.0.0.1:1" }).HELIOS_RPC_URL[1])
			local both = load_env({ NODE_URL = "http://127.0.0.1:1", HELIOS_RPC_URL = "http://127.0.0.1:2" })
			assert.equal("http://127.0.0.1:2", both.HELIOS_RPC_URL[1])
			assert.is_truthy(errors_of(with_env({ NODE_URL = "x" })):find("variable NODE_URL: value 'x'", 1, true))
		end)
	end)

	describe("errors", function()
		it("are all reported, one clear line each", function()
			local _, errors = errors_of(with_env({ LOG_LEVEL = "loud", TEE = "x", MAX_KEY_BYTES = "0" }))
			assert.equal(3, #errors)
			assert.same("variable LOG_LEVEL: value 'loud' is not valid: allowed is one of error, warn, info, debug",
				errors[2])
		end)

		it("name the nearest known key and the file", function()
			local options = with_file("return { LOG_LEVL = 'info', XYZZY_PLUGH = 1, LOG_FORMAT = 7 }")
			local text, errors = errors_of(options)
			assert.equal(3, #errors)
			assert.is_truthy(text:find(options.path .. ": unknown key 'LOG_LEVL', the nearest known one is LOG_LEVEL", 1, true))
			assert.is_truthy(text:find("unknown key 'XYZZY_PLUGH'\n", 1, true))
			assert.is_truthy(text:find("variable LOG_FORMAT: value '7' is not valid", 1, true))
			assert.is_truthy(text:find("(set in " .. options.path .. ")", 1, true))
		end)

		it("show values on one line and cut", function()
			local text = errors_of(with_env({ TEE = "a\nb\27[31m" .. ("x"):rep(500) }))
			assert.is_truthy(text:find("value 'a\\nb\\x1b[31mxxx", 1, true))
			assert.is_true(#text < 250)
		end)

		it("never show what may be a secret", function()
			local secret = ("c0ffee42"):rep(8)
			for _, options in ipairs({
				with_file(("return { MASTER_SECRET_HEX = '%s' }"):format(secret)),
				with_file(("return { MASTER_SECRET_HEX = 0%sz }"):format(secret)),
				with_env({ LOG_LEVEL = secret }),
				with_env({ NODE_INSTANCE_URL = ("http://user:%s@host"):format(secret) }),
				with_env({ HELIOS_RPC_URL = "https://rpc.example/v2/s3cr3t" }),
				with_env({ HELIOS_RPC_URL = "https://rpc.example/v2/s3cr3t x,http://ok" }),
				with_env({ HELIOS_RPC_URL = "rpc.example/v2/s3cr3t" }),
				with_env({ HELIOS_RPC_URL = "https://ok,user:s3cr3t@rpc.example:8545" }),
				with_env({ ODYN_URL = "rpc.example?key=s3cr3t" }),
				with_env({ ODYN_URL = "http://user:s3cr3t/more@rpc.example" }),
			}) do
				local text = errors_of(options)
				assert.is_nil(text:find("c0ffee42", 1, true), text)
				assert.is_nil(text:find("s3cr3t", 1, true), text)
			end
		end)

		it("refuse a file that is named and not there, not one that is the default", function()
			assert.equal("/nonexistent/x: cannot be read: no such file or directory",
				(errors_of({ path = "/nonexistent/x", env = env_of({}) })))
			errors_of({ env = env_of({ NOVA_KMS_CONFIG = "/nonexistent/x" }), default_path = "/nonexistent/y" })
			assert.is_truthy(config.load({ env = env_of({}), default_path = "/nonexistent/y" }))
		end)

		it("take the file from NOVA_KMS_CONFIG, and the argument before it", function()
			local path = write("return { MAX_KEY_BYTES = 9 }")
			local cfg = assert(config.load({ env = env_of({ NOVA_KMS_CONFIG = path }) }))
			assert.equal(9, cfg.MAX_KEY_BYTES)
			assert.equal(path, config.path(cfg))
			cfg = assert(config.load({ path = write("return { MAX_KEY_BYTES = 8 }"), env = env_of({ NOVA_KMS_CONFIG = path }) }))
			assert.equal(8, cfg.MAX_KEY_BYTES)
		end)

		it("refuse what is no regular file, without opening it", function()
			assert.is_truthy(errors_of({ path = "/tmp", env = env_of({}) }):find("is not a file", 1, true))
			assert.is_truthy(errors_of({ path = "/dev/zero", env = env_of({}) }):find("is not a file", 1, true))
			local fifo = os.tmpname()
			os.remove(fifo)
			assert(os.execute("mkfifo " .. fifo))
			configs.own(fifo)
			assert.is_truthy(errors_of({ path = fifo, env = env_of({}) }):find("is not a file", 1, true))
		end)

		it("refuse a file that may not be read", function()
			local path = write("return {}")
			-- Root may read everything: a link that leads to itself is unreadable for anybody.
			os.remove(path)
			assert(os.execute(("ln -s %s %s"):format(path, path)))
			assert.is_truthy(errors_of({ path = path, env = env_of({}) }):find(path .. ": cannot be read: ", 1, true))
			errors_of({ default_path = path, env = env_of({}) })
		end)

		it("still check the environment when the file is broken", function()
			local text = errors_of(with_file("x = = 1", { TEE = "x" }))
			assert.is_truthy(text:find("variable TEE", 1, true))
		end)
	end)

	describe("file", function()
		local function fails(text, expected)
			local options = with_file(text)
			local line, errors = errors_of(options)
			assert.equal(1, #errors)
			assert.is_truthy(line:find(options.path .. expected), line)
			assert.equal("x", ("X"):lower()) -- string methods are back
			assert.is_nil(debug.gethook())
		end

		it("reports syntax errors with file and line", function() fails("return {\nA = = 2 }", ":2: ") end)
		it("reaches nothing", function()
			fails("local x = os.getenv('HOME')", ":1: 'os' is not known here")
			fails("\n_G = require('os')", ":2: 'require' is not known here")
			fails("local s = ('x'):rep(1 << 40)", ":1: attempt to index")
		end)
		it("cannot set keys elsewhere than in its table", function()
			fails("TEE = 'sim'", ":1: 'TEE' is not known here")
			fails("", ": it does not return a table")
			fails("return 'x'", ": it does not return a table")
		end)
		it("cannot test a key", function()
			fails("return { ALLOW_DEV_IDENTITY = not IN_ENCLAVE }", ":1: 'IN_ENCLAVE' is not known here")
		end)
		it("cannot hang", function()
			fails("while true do end", ":1: it runs too long")
			fails("local function f() return f() end f()", ":1: it runs too long")
			fails("goto x ::x:: ::y:: goto y", ":1: it runs too long")
		end)
		it("cannot fill the memory", function()
			fails("local s = 'aaaaaaaaaaaaaaaa' while true do s = s .. s end", ":1: it needs too much memory")
		end)
		it("cannot be bytecode", function() fails(string.dump(function() end), ": attempt to load a binary chunk") end)
		it("is refused when it raises", function() fails("local x = nil + 1", ":1: attempt to perform arithmetic") end)
		it("is bounded in size", function()
			fails("return {}" .. (" "):rep(256 * 1024 - 8), ": is larger than")
			assert.is_truthy(config.load(with_file("return {}" .. (" "):rep(256 * 1024 - 9))))
		end)
		it("may hold odd names", function()
			errors_of(with_file("return { 2, [{}] = 3, [true] = 4, ['a\\nb\\27'] = 5 }"))
		end)
	end)

	describe("rules between keys", function()
		it("keep sim and local out of enclaves", function()
			local text, errors = errors_of(with_env({ TEE = "sim", CHAIN = "local" }))
			assert.equal(2, #errors)
			assert.is_truthy(text:find("variable TEE: value 'sim'", 1, true))
			assert.is_truthy(text:find("variable CHAIN: value 'local'", 1, true))
			assert.equal("sim", load_env({ TEE = "sim", CHAIN = "local", IN_ENCLAVE = "false" }).TEE)
		end)

		it("want loopback or two RPC URLs in an enclave", function()
			errors_of(with_env({ HELIOS_RPC_URL = "https://rpc.example" }))
			errors_of(with_env({ HELIOS_RPC_URL = "https://127.0.0.1.example" }))
			load_env({ HELIOS_RPC_URL = "https://rpc.example,https://rpc2.example" })
			load_env({ HELIOS_RPC_URL = "http://localhost:1" })
			load_env({ HELIOS_RPC_URL = "http://[::1]:1/x" })
			load_env({ HELIOS_RPC_URL = "https://rpc.example", IN_ENCLAVE = "0" })
		end)

		it("take an operator's secret in an enclave only where that is allowed", function()
			local function set() return true end
			local _, errors = config.check_secrets(load_env({}), set)
			assert.equal(1, #errors)
			assert.is_truthy(errors[1]:find("variable MASTER_SECRET_HEX: ", 1, true))
			assert.is_true(config.check_secrets(load_env({ ALLOW_OPERATOR_SECRET = "true" }), set))
			assert.is_true(config.check_secrets(load_env({ IN_ENCLAVE = "false" }), set))
			assert.is_true(config.check_secrets(load_env({}), function() return false end))
		end)

		it("let ALLOW_DEV_IDENTITY count only outside", function()
			local inside = load_env({ ALLOW_DEV_IDENTITY = "true" })
			assert.is_false(inside.ALLOW_DEV_IDENTITY)
			assert.is_truthy(config.notes(inside)[1]:find("ALLOW_DEV_IDENTITY", 1, true))
			assert.is_true(load_env({ ALLOW_DEV_IDENTITY = "true", IN_ENCLAVE = "false" }).ALLOW_DEV_IDENTITY)
		end)

		it("derive ALLOW_PRIVATE_PEERS", function()
			assert.is_false(load_env({}).ALLOW_PRIVATE_PEERS)
			assert.is_true(load_env({ IN_ENCLAVE = "false" }).ALLOW_PRIVATE_PEERS)
			assert.is_false(load_env({ IN_ENCLAVE = "false", ALLOW_PRIVATE_PEERS = "no" }).ALLOW_PRIVATE_PEERS)
		end)

		it("warn about sizes that do not fit together", function()
			local function noted(variables, word)
				local text = table.concat(config.notes(load_env(variables)), "\n")
				assert.is_truthy(text:find(word, 1, true), text)
			end
			noted({ MAX_BODY_MEMORY_BYTES = "6291456", MAX_REQUEST_BODY_BYTES = "6291457" }, "MAX_BODY_MEMORY_BYTES=6291456")
			noted({ MAX_APP_BODY_MEMORY_BYTES = "4194303" }, "MAX_APP_BODY_MEMORY_BYTES=4194303")
			noted({ MAX_APP_STORAGE_BYTES = "1048575" }, "MAX_APP_STORAGE_BYTES=1048575")
			noted({ MAX_APP_TOTAL_BYTES = "10485759" }, "MAX_APP_TOTAL_BYTES=10485759")
			noted({ MAX_TOTAL_STORAGE_BYTES = "10485759" }, "MAX_TOTAL_STORAGE_BYTES=10485759")
		end)
	end)

	describe("the table", function()
		it("refuses unknown names, secrets and writes", function()
			local cfg = load_env({ TRUSTED_PROXIES = "::1" })
			assert.error_matches(function() return cfg.NO_SUCH_KEY end, "no configuration key is named 'NO_SUCH_KEY'")
			assert.error_matches(function() return cfg.MASTER_SECRET_HEX end, "never read here")
			assert.error_matches(function() cfg.TEE = "sim" end, "cannot be changed")
			assert.error_matches(function() cfg.TRUSTED_PROXIES[1].bits = 0 end, "cannot be changed")
			assert.error_matches(function() config.origin(cfg, "X") end, "no configuration key")
			assert.error_matches(function() config.notes({}) end, "not a configuration")
			assert.is_false(getmetatable(cfg))
		end)

		it("never asks for a secret", function()
			local asked = {}
			assert(config.load({
				default_path = "/nonexistent/x",
				env = function(name) asked[name] = true end,
			}))
			assert.is_true(asked.TEE)
			for _, name in ipairs(config.secret_names()) do assert.is_nil(asked[name]) end
			assert.same({ "MASTER_SECRET_HEX" }, config.secret_names())
		end)

		it("has a public copy without secrets and credentials", function()
			local public = config.public(load_env({
				HELIOS_RPC_URL = "https://rpc.example/v2/KEY,https://b.example/", EGRESS_PROXY = "http://p:1/x",
				TRUSTED_PROXIES = "::1,10.0.0.0/8",
			}))
			assert.equal("https://rpc.example/***, https://b.example/", public.HELIOS_RPC_URL)
			assert.equal("http://p:1/***", public.EGRESS_PROXY)
			assert.equal("::1, 10.0.0.0/8", public.TRUSTED_PROXIES)
			assert.equal("0.0.0.0:8000", public.BIND_ADDR)
			assert.is_nil(public.MASTER_SECRET_HEX)
			public.TEE = "changed" -- a copy
		end)
	end)
end)
