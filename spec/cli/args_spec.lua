--- The command line: parsing, help, exit codes; and the commands that need no node.

local cjson = require("cjson")
local args = require("kms.cli.args")
local cli = require("kms.cli")

local command = {
	name = "get", summary = "get a value",
	options = {
		{ name = "node-url", value = "URL", help = "the node", default = "http://127.0.0.1:8000", short = "n" },
		{ name = "count", value = "N", type = "int", min = 1, max = 10, help = "how many" },
		{ name = "format", value = "F", values = { "hex", "base64" }, help = "encoding" },
		args.JSON,
	},
	arguments = { { name = "key", help = "the key" }, { name = "app-id", help = "the app", optional = true } },
}

describe("kms.cli.args", function()
	it("reads options in each form", function()
		assert.same({ node_url = "http://a", count = 3, json = true, key = "k" },
			args.parse(command, { "--node-url", "http://a", "--count=3", "k", "--json" }))
		assert.same({ node_url = "http://b", key = "k", app_id = "7" }, args.parse(command, { "-n", "http://b", "k", "7" }))
		assert.same({ node_url = "", key = "--json" }, args.parse(command, { "--node-url=", "--", "--json" }))
		assert.same({ node_url = "a=b", key = "-" }, args.parse(command, { "--node-url=a=b", "-" }))
	end)

	it("fills in defaults", function()
		assert.same({ node_url = "http://127.0.0.1:8000", key = "" }, args.parse(command, { "" }))
	end)

	it("refuses what is wrong with one message", function()
		for message, argv in pairs({
			["unknown option '--jsn', did you mean '--json'?"] = { "k", "--jsn" },
			["unknown option '--zzzzzzzzzz'"] = { "k", "--zzzzzzzzzz" },
			["unknown option '-x'"] = { "-x" },
			["--count needs a value: N"] = { "k", "--count" },
			["--node-url needs a value: URL"] = { "k", "--node-url", "--json" },
			["--count: '11' is not a whole number from 1 to 10"] = { "k", "--count", "11" },
			["--count: '0' is not a whole number from 1 to 10"] = { "k", "--count", "0" },
			["--count: '1.5' is not a whole number from 1 to 10"] = { "k", "--count=1.5" },
			["--count: '99999999999999999999' is not a whole number from 1 to 10"] = { "--count=99999999999999999999" },
			["--format: 'x' is not one of hex, base64"] = { "k", "--format", "x" },
			["--json takes no value"] = { "k", "--json=1" },
			["--json is given twice"] = { "k", "--json", "--json" },
			["KEY is missing"] = {},
			["unexpected argument 'c'"] = { "a", "b", "c" },
		}) do
			local parsed, got = args.parse(command, argv)
			assert.is_nil(parsed)
			assert.is_truthy(got:find(message, 1, true), got)
		end
		assert.same(10, args.parse(command, { "k", "--count", "10" }).count)
	end)

	it("shows help whatever else is there", function()
		assert.same({ help = true }, args.parse(command, { "--count=3", "--help" }))
		assert.same({ help = true }, args.parse(command, { "-h" }))
		local help = args.help(command, "nova-kms get")
		for _, part in ipairs({
			"Usage: nova-kms get [OPTIONS] KEY [APP-ID]\n", "get a value", "  -n, --node-url URL",
			"(default http://127.0.0.1:8000)",
			"encoding: hex, base64", "  -h, --help", "Exit codes: 0", "  KEY  ",
		}) do
			assert.is_truthy(help:find(part, 1, true), part)
		end
	end)
end)

describe("kms.cli", function()
	local out, err

	local function collector(list)
		return { write = function(_, ...) list[#list + 1] = table.concat({ ... }) end }
	end

	local root

	local function run(argv, variables, secret)
		out, err = {}, {}
		local native = setmetatable({ version = "1.2.3", taken = {} }, { __index = require("spec.support.native") })
		function native.ready() return false end
		function native.init(bytes)
			if bytes == 8388608 then return nil, "cannot lock memory" end
			return true
		end
		function native.take_env(name, bytes)
			native.taken[name] = bytes
			if secret == "malformed" then return nil, "not valid hexadecimal", "ERR_HEX" end
			return secret
		end
		function native.env_names()
			local names = {}
			for name in pairs(variables or {}) do names[#names + 1] = name end
			return names
		end
		local status = cli.main(argv, {
			stdout = collector(out), stderr = collector(err), program = "nova-kms",
			env = function(name) return (variables or {})[name] end,
			root = root or "/nonexistent", native = function() return native end,
		})
		out, err = table.concat(out), table.concat(err)
		return status, native
	end

	it("has help at every level, on standard output", function()
		for _, argv in ipairs({ { "--help" }, { "-h" }, { "config", "--help" }, { "config", "check", "--help" },
			{ "version", "-h" } }) do
			assert.equal(0, run(argv))
			assert.is_truthy(out:find("^Usage: nova%-kms"))
			assert.equal("", err)
		end
		run({ "--help" })
		assert.is_truthy(out:find("\n  config  +check the configuration\n"))
		assert.is_truthy(out:find("\n  version  +"))
	end)

	it("takes --version and help", function()
		assert.equal(0, run({ "--version" }))
		assert.is_truthy(out:find("^nova%-kms %d+%.%d+"), out)
		assert.equal(0, run({ "help" }))
		assert.is_truthy(out:find("^Usage: nova%-kms COMMAND"), out)
		assert.equal(0, run({ "help", "config", "check" }))
		assert.is_truthy(out:find("^Usage: nova%-kms config check"), out)
	end)

	it("answers wrong usage with 2, the level's usage and the nearest name", function()
		for _, case in ipairs({
			{ {}, "nova-kms: a command is missing" },
			{ { "versoin" }, "nova-kms: unknown command 'versoin', did you mean 'version'?" },
			{ { "--versio" }, "nova-kms: unknown option '--versio'" },
			{ { "config" }, "nova-kms config: a command is missing" },
			{ { "config", "chek" }, "did you mean 'check'?" },
			{ { "comp" }, "nova-kms: unknown command 'comp', did you mean 'completion'?" },
			{ { "dr" }, "nova-kms: unknown command 'dr'\n" },
			{ { "version", "x" }, "nova-kms version: unexpected argument 'x'" },
			{ { "config", "check", "--confg=x" }, "unknown option '--confg', did you mean '--config'?" },
		}) do
			assert.equal(2, run(case[1]))
			assert.equal("", out)
			assert.is_truthy(err:find(case[2], 1, true), err)
			assert.is_truthy(err:find("\nUsage: nova-kms", 1, true))
		end
	end)

	it("shows the version", function()
		assert.equal(0, run({ "version" }))
		assert.equal("nova-kms 1.2.3\n", out)
		assert.equal(0, run({ "version", "--json" }))
		assert.equal("1.2.3", cjson.decode(out).version)
	end)

	describe("config check", function()
		-- What a node needs beside the defaults, and the shipped policies.
		local function check(words, variables, secret)
			local all = { NOVA_APP_REGISTRY_ADDRESS = "0x" .. ("1"):rep(40), KMS_REGISTRY_ADDRESS = "0x" .. ("2"):rep(40) }
			for name, value in pairs(variables) do all[name] = value end
			root = "."
			local status, native = run({ "config", "check", table.unpack(words) }, all, secret)
			root = nil
			return status, native
		end

		it("says what differs from the defaults", function()
			local status, native = check({}, { MAX_KEY_BYTES = "100", MAX_APP_STORAGE_BYTES = "1048575" })
			assert.equal(0, status)
			assert.is_truthy(out:find("^configuration is valid: "))
			assert.is_truthy(out:find("\n  MAX_KEY_BYTES = 100 (environment)", 1, true))
			assert.is_nil(out:find("LOG_LEVEL", 1, true))
			assert.is_truthy(err:find("^note: MAX_APP_STORAGE_BYTES=1048575"))
			assert.same({ MASTER_SECRET_HEX = 32 }, native.taken)
		end)

		it("prints all of it as JSON", function()
			assert.equal(0, check({ "--json", "--config", "config/node.lua" },
				{ CHAIN_ID = "9007199254740991" }))
			local answer = cjson.decode(out)
			assert.is_true(answer.valid)
			assert.equal("config/node.lua", answer.file)
			assert.equal("info", answer.values.LOG_LEVEL)
			assert.equal("default", answer.origins.LOG_LEVEL)
			assert.is_truthy(out:find('"CHAIN_ID":9007199254740991', 1, true))
			assert.is_truthy(out:find('"notes":[]', 1, true))
			assert.is_nil(answer.values.MASTER_SECRET_HEX)
		end)

		it("prints each error on a line and ends with 4", function()
			assert.equal(4, run({ "config", "check" }, { TEE = "x", LOG_LEVEL = "y" }))
			assert.equal("", out)
			assert.equal(2, select(2, err:gsub("\n", "")))
			assert.equal(4, run({ "config", "check", "--json" }, { TEE = "x" }))
			assert.same({ false, 1 }, { cjson.decode(out).valid, #cjson.decode(out).errors })
			assert.equal(4, run({ "config", "check", "--config=/nonexistent/x" }))
			assert.is_truthy(err:find("/nonexistent/x", 1, true))
		end)

		it("says which variables look like misspelt settings, never their values", function()
			local note = "MASTER_SECRT_HEX is not a setting; did you mean MASTER_SECRET_HEX? (ignored)"
			local wrong = { MASTER_SECRT_HEX = "c0ffee", HOME = "/root", TEE = "x" }
			assert.equal(4, run({ "config", "check" }, wrong))
			assert.is_truthy(err:find("^note: " .. note:gsub("%p", "%%%0") .. "\nvariable TEE: "), err)
			assert.equal(4, run({ "config", "check", "--json" }, wrong))
			assert.same({ note }, cjson.decode(out).notes)
			wrong.TEE = nil
			assert.equal(0, check({}, wrong))
			assert.equal("note: " .. note .. "\n", err)
			assert.equal(0, check({ "--json" }, wrong))
			assert.same({ note }, cjson.decode(out).notes)
			assert.is_nil((out .. err):find("c0ffee", 1, true))
		end)

		it("refuses what serve refuses: addresses, policies, the allow list, the data folder", function()
			assert.equal(4, run({ "config", "check" }, {}))
			assert.is_truthy(err:find("variable KMS_REGISTRY_ADDRESS: not set", 1, true), err)
			assert.equal(4, check({}, { REQUIRE_PEER_ATTESTATION = "/nonexistent/list" }))
			assert.is_truthy(err:find("variable REQUIRE_PEER_ATTESTATION: ", 1, true), err)
			assert.equal(4, check({}, { DATA_DIR = "/tmp" }))
			assert.is_truthy(err:find("variable DATA_DIR: /tmp can be written by every user", 1, true), err)
		end)

		it("checks secrets without reading them", function()
			assert.equal(4, check({}, {}, "malformed"))
			assert.is_truthy(err:find("variable MASTER_SECRET_HEX: the value is not valid", 1, true))
			assert.equal(4, check({}, {}, {}))
			assert.is_truthy(err:find("ALLOW_OPERATOR_SECRET", 1, true))
			assert.equal(0, check({}, { ALLOW_OPERATOR_SECRET = "true" }, {}))
		end)

		it("says when memory cannot be locked", function()
			assert.equal(4, check({}, { LOCKED_MEMORY_BYTES = "8388608" }))
			assert.is_truthy(err:find("variable LOCKED_MEMORY_BYTES: value '8388608': cannot lock memory", 1, true))
		end)
	end)
end)
