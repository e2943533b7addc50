--- Contract calls, answers and transactions as Lua sees them. The decoder itself is tried in
-- spec/native/chain/test_abi.c.

local native = require("spec.support.native")

local WALLET = "0x" .. ("ab"):rep(20)
local HASH = "0x" .. ("5a"):rep(32)

local function word(number) return ("%064x"):format(number) end

local function address_word(address) return ("0"):rep(24) .. address:sub(3) end

local function bytes_part(bytes)
	local digits = native.hex_encode(bytes)
	return word(#bytes) .. digits .. ("0"):rep(-#digits % 64)
end

describe("abi_call", function()
	it("encodes decimal texts, addresses and hashes", function()
		assert.equal("0x24f3a51b" .. ("0"):rep(48) .. ("f"):rep(16), native.abi_call("getApp", "18446744073709551615"))
		assert.equal(native.abi_selector("getInstanceByWallet(address)") .. address_word(WALLET),
			native.abi_call("getInstanceByWallet", WALLET))
		assert.equal("0x4df7e390" .. HASH:sub(3), native.abi_call("setMasterSecretHash", HASH))
		assert.equal(10, #native.abi_call("masterSecretHash"))
		assert.equal(native.abi_selector("anchorSnapshot(bytes32,uint64)") .. HASH:sub(3) .. word(1700000000),
			native.abi_call("anchorSnapshot", HASH, "1700000000"))
	end)

	it("refuses what is no call of the registries, or not its arguments", function()
		local cases = {
			{ "transfer" }, { "getApp" }, { "getApp", "1", "2" }, { "getApp", "x" }, { "getApp", "-1" },
			{ "getApp", "18446744073709551616" }, { "getInstanceByWallet", "0x12" },
			{ "setMasterSecretHash", "0x12" }, { "setMasterSecretHash", HASH .. "00" }, { "getApp", {} },
		}
		for _, case in ipairs(cases) do
			assert.is_false((pcall(native.abi_call, table.unpack(case))))
		end
	end)
end)

describe("abi_decode", function()
	it("gives an instance", function()
		local url, key = "https://node.example", ("k"):rep(97)
		local answer = "0x" .. word(32) .. word(9) .. ("0"):rep(48) .. ("f"):rep(16) .. word(1) .. address_word(WALLET)
			.. word(320) .. word(384) .. address_word(WALLET) .. word(1) .. word(2) .. word(1700000000)
			.. bytes_part(url) .. bytes_part(key)
		assert.same({
			id = "9", app_id = "18446744073709551615", version_id = "1", operator = WALLET, wallet = WALLET, url = url,
			tee_pubkey = key, zk_verified = true, status = 2, registered_at = 1700000000,
		}, native.abi_decode("getInstanceByWallet", answer))
	end)

	it("gives words, lists and nothing", function()
		assert.equal("49", native.abi_decode("kmsAppId", "0x" .. word(49)))
		assert.equal(HASH, native.abi_decode("masterSecretHash", HASH))
		assert.equal(WALLET, native.abi_decode("novaAppRegistry", "0x" .. address_word(WALLET)))
		assert.is_true(native.abi_decode("isOperator", "0x" .. word(1)))
		assert.is_false(native.abi_decode("isOperator", "0x" .. word(0)))
		assert.is_true(native.abi_decode("setMasterSecretHash", "0x"))
		assert.same({ WALLET }, native.abi_decode("getActiveInstances", "0x" .. word(32) .. word(1) .. address_word(WALLET)))
		assert.same({ manifest = HASH, time = 1700000000, member = WALLET },
			native.abi_decode("newestSnapshotAnchor", HASH .. word(1700000000) .. address_word(WALLET)))
		assert.same({}, native.abi_decode("getActiveInstances", "0x" .. word(32) .. word(0)))
		assert.same({ "7" }, native.abi_decode("getInstancesForVersion", "0x" .. word(32) .. word(1) .. word(7)))
	end)

	it("refuses what is not well formed, with a code", function()
		local cases = {
			{ "kmsAppId", "" }, { "kmsAppId", "0x" }, { "kmsAppId", word(1) }, { "kmsAppId", "0x" .. word(1) .. "0" },
			{ "kmsAppId", "0x" .. ("g"):rep(64) }, { "kmsAppId", "0x" .. ("f"):rep(64) }, { "isOperator", "0x" .. word(2) },
			{ "getApp", "0x" .. word(32) }, { "getActiveInstances", "0x" .. word(32) .. word(1) },
			{ "setMasterSecretHash", "0x00" },
		}
		for _, case in ipairs(cases) do
			local value, message, code = native.abi_decode(table.unpack(case))
			assert.is_nil(value)
			assert.same({ "the contract's answer is malformed", "ERR_ABI" }, { message, code })
		end
	end)
end)

describe("sign_transaction", function()
	local wallet = native.identity(native.secret_random(32))

	local function fields(change)
		local all = {
			chain_id = "0x2105", nonce = "0x0", max_priority_fee_per_gas = "0xf4240", max_fee_per_gas = "0x77359400",
			gas_limit = "0xea60", to = WALLET, value = "0x0", data = native.abi_call("setMasterSecretHash", HASH),
		}
		for name, value in pairs(change or {}) do all[name] = value end
		return all
	end

	it("gives the raw transaction and its hash", function()
		local raw, hash = assert(native.sign_transaction(wallet, fields()))
		assert.truthy(raw:find("^0x02f8%x+$"))
		assert.truthy(raw:find(WALLET:sub(3), 1, true))
		assert.truthy(raw:find(HASH:sub(3), 1, true))
		assert.truthy(hash:find("^0x" .. ("%x"):rep(64) .. "$"))
		assert.same({ raw, hash }, { native.sign_transaction(wallet, fields()) })
		assert.are_not.equal(hash, select(2, native.sign_transaction(wallet, fields({ nonce = "0x1" }))))
	end)

	it("refuses fields that are no quantity, address or hex", function()
		for _, change in ipairs({
			{ nonce = "0x" }, { nonce = "1" }, { nonce = 1 }, { nonce = "0x1g" }, { nonce = "0x" .. ("1"):rep(17) },
			{ to = "0x1" }, { data = "0x1" }, { data = "0xzz" }, { more = "0x1" },
			{ data = "0x" .. ("00"):rep(65537) },
		}) do
			assert.is_false((pcall(native.sign_transaction, wallet, fields(change))))
		end
		assert.truthy(native.sign_transaction(wallet, fields({ data = "0x" .. ("00"):rep(65536) })))
		assert.truthy(native.sign_transaction(wallet, fields({ nonce = "0x" .. ("f"):rep(16) })))
	end)

	it("fails where the transaction could not be valid", function()
		for _, change in ipairs({ { chain_id = "0x0" }, { gas_limit = "0x0" }, { max_fee_per_gas = "0x1" } }) do
			local raw, _, code = native.sign_transaction(wallet, fields(change))
			assert.is_nil(raw)
			assert.equal("ERR_RANGE", code)
		end
	end)
end)
