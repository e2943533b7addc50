--- What options and arguments take beside text: a value of another form is refused before anything else is done, by a
-- message that names the option and what is allowed.

local args = require("kms.cli.args")
local cli = require("kms.cli")
local types = require("kms.cli.option_types")

local WALLET = "0x" .. ("Ab"):rep(20)
local WALLET_ALLOWED = "a wallet's address: 0x and 40 hexadecimal digits"
local BASE_ALLOWED = "http:// or https:// with a host, no user name, query or fragment"
local KEY_ALLOWED = "a teePubkey: a P-384 key as 240 hexadecimal digits (DER), or 194 (the point alone)"

-- The kinds of values that have a form, and the types that check it.
local FORMS = {
	URL = { "base_url", "url" }, WALLET = { "wallet" }, ID = { "id", "int" },
	HEX = { "hex", "hex_or_empty", "tee_pubkey" },
	ADDRESS = { "wallet", "contract", "ip_address", "bind" },
}

-- All commands, those of a source tree too, by name.
local function commands()
	local list = {}
	local function add(command, name)
		for _, below in ipairs(command.commands or {}) do add(below, name .. " " .. below.name) end
		if not command.commands then list[name] = command end
	end
	add(cli.declaration({ commands = { { name = "devnet-odyn", module = "devnet.odyn_command" } } }), "nova-kms")
	return list
end

local function refusal_of(...)
	local found = assert(args.find(cli.declaration({}, (...)), { ... }))
	local parsed, message = args.parse(found.command, found.words)
	assert.is_nil(parsed)
	return message
end

describe("kms.cli.option_types", function()
	it("check the form of every URL, wallet, key, id and address", function()
		local checked = 0
		for name, command in pairs(commands()) do
			for _, option in ipairs(command.options or {}) do
				local allowed = FORMS[option.value]
				if allowed then
					local where = ("%s --%s"):format(name, option.name)
					assert.is_truthy(option.type, where)
					assert.is_truthy(table.concat(allowed, " "):find(option.type, 1, true), where)
					checked = checked + 1
				end
			end
			for _, argument in ipairs(command.arguments or {}) do
				if argument.name == "wallet" then assert.equal("wallet", argument.type, name) end
			end
		end
		assert.is_true(checked > 30)
	end)

	it("have a message that names the option, the value and what is allowed", function()
		for _, case in ipairs({
			{ "--node-wallet", "0x123", WALLET_ALLOWED, "call", "get", "--key", "k", "--url", "http://a" },
			{ "--node-pubkey", "00", KEY_ALLOWED, "call", "derive", "--path", "p" },
			{ "--url", "127.0.0.1:8000", BASE_ALLOWED, "call", "put", "--key", "k" },
			{ "--url", "ftp://x", BASE_ALLOWED, "status" },
			{ "--url", "http://x:99999", BASE_ALLOWED, "cluster", "check", "--url", "http://a" },
			{ "--url", "x", BASE_ALLOWED, "attest", "verify" },
			{ "--url", "x", BASE_ALLOWED, "audit", "verify", "file" },
			{ "--url", "x", BASE_ALLOWED, "recovery", "give" },
			{ "--rpc", "x", "http:// or https:// with a host, no user name or fragment", "snapshot", "verify" },
			{ "--kms-registry", "0x1", "a contract address: 0x and 40 hexadecimal digits, not all zero", "recovery", "give" },
			{ "--wallet", "0x12", WALLET_ALLOWED, "audit", "verify", "file" },
			{ "--wallet", WALLET .. "0", WALLET_ALLOWED, "app", "add" },
			{ "--pubkey", "zz", KEY_ALLOWED, "app", "add" },
			{ "--public-key", "zz", "an even number of hexadecimal digits", "attest", "verify", "file" },
			{ "--nonce", "0x1", "an even number of hexadecimal digits, or none", "attest", "show", "file" },
			{ "--app", "0", "a whole number from 1 to 18446744073709551615", "audit", "find" },
			{ "--app-id", "18446744073709551616", "a whole number from 1 to 18446744073709551615", "recovery", "give" },
			{ "--remote", "nowhere", "an IP address", "policy", "explain", "derive" },
		}) do
			local option, value, allowed = case[1], case[2], case[3]
			local words = table.move(case, 4, #case, 1, {})
			words[#words + 1] = option
			words[#words + 1] = value
			assert.equal(("%s: '%s' is not valid: allowed is %s"):format(option, value, allowed),
				refusal_of(table.unpack(words)))
		end
		assert.equal(("WALLET: '0x12' is not valid: allowed is %s"):format(WALLET_ALLOWED),
			refusal_of("bans", "lift", "0x12"))
	end)

	it("show one line, and no password of a URL", function()
		assert.equal(("--url: 'http://***@x/***' is not valid: allowed is %s"):format(BASE_ALLOWED),
			refusal_of("status", "--url", "http://user:c0ffee@x/secret"))
		assert.equal(("--url: '***@x/***' is not valid: allowed is %s"):format(BASE_ALLOWED),
			refusal_of("status", "--url", "user:c0ffee@x/secret"))
		local odd = refusal_of("status", "--url", "a\n\27[31mx")
		assert.is_truthy(odd:find("--url: 'a\\n\\x1b[31mx' is not valid", 1, true), odd)
		assert.is_true(#refusal_of("status", "--url", ("x"):rep(500)) < 250)
	end)

	it("give values in one form", function()
		assert.equal(WALLET:lower(), types.wallet.parse(WALLET))
		assert.equal(WALLET:lower(), types.wallet.parse(WALLET:sub(3)))
		assert.equal("http://a.b/c", types.base_url.parse("HTTP://A.b/c/"))
		assert.equal("https://rpc/v3/Key?a=b", types.url.parse("https://rpc/v3/Key?a=b"))
		assert.equal("00ff", types.hex.parse("0x00FF"))
		assert.is_nil(types.hex.parse("0x"))
		assert.equal("", types.hex_or_empty.parse("0x"))
		local point = "04aa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b9859f741e082542a385502f25dbf55296c3a545e3872760ab7"
			.. "3617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147ce9da3113b5f0b8c00a60b1ce1d7e819d7a431d7c90ea0e5f"
		assert.equal(point, types.tee_pubkey.parse(point:upper()))
		assert.equal(("0"):rep(240), types.tee_pubkey.parse("0x" .. ("0"):rep(240)))
		assert.is_nil(types.tee_pubkey.parse(point .. "00"))
		assert.is_nil(types.tee_pubkey.parse(point:sub(1, -3)))
	end)
end)
