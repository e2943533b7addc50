--- The local chain's file, as it is made and as an operator may spoil it.

local files = require("spec.support.files")
local local_chain = require("kms.chain.local")
local native = require("spec.support.native")

local function identity()
	local wallet, p384 = native.identity(native.secret_random(32))
	return { wallet = wallet:address(), tee_pubkey = p384:public_der(), url = "http://127.0.0.1:1", app_id = "1000" }
end

describe("chain.local", function()
	local dir, node, deps, chain

	before_each(function()
		dir, node = files.temp_dir(), identity()
		deps = {
			config = { DATA_DIR = dir, KMS_APP_ID = "49" }, identity = node, demo = identity(),
			wall_ms = function() return 5000 end,
		}
		chain = assert(local_chain.open(deps))
	end)

	after_each(function() files.remove_dir(dir) end)

	local function overwrite(text)
		files.write(dir .. "/chain.lua", text)
	end

	it("registers the node and the demo application, and keeps them", function()
		assert.same({ node.wallet }, chain:active_instances("49"))
		assert.same({ deps.demo.wallet }, chain:active_instances("1000"))
		assert.equal(node.tee_pubkey, local_chain.open(deps):instance_by_wallet(node.wallet).tee_pubkey)
	end)

	it("sets the secret's hash once", function()
		local hash = "0x" .. ("ab"):rep(32)
		assert.is_true(chain:set_master_secret_hash(hash))
		assert.equal(hash, local_chain.open(deps):master_secret_hash())
		local ok, _, code = chain:set_master_secret_hash("0x" .. ("cd"):rep(32))
		assert.is_nil(ok)
		assert.equal("ERR_CHAIN", code)
		assert.equal(hash, chain:master_secret_hash())
	end)

	local zero = '"0x' .. ("0"):rep(64) .. '"'
	for name, text in pairs({
		["no table"] = "return 1",
		["no Lua"] = "return {",
		["a call"] = "return os.exit(1)",
		["an endless loop"] = "while true do end",
		["a missing part"] = "return { apps = {}, versions = {}, master_secret_hash = " .. zero .. " }",
		["a row that is no table"] =
			"return { apps = {}, versions = {}, instances = { x = true }, master_secret_hash = " .. zero .. " }",
		["no hash"] = "return { apps = {}, versions = {}, instances = {} }",
		["a short hash"] = 'return { apps = {}, versions = {}, instances = {}, master_secret_hash = "0x00" }',
		["a hash that is a number"] = "return { apps = {}, versions = {}, instances = {}, master_secret_hash = 0 }",
	}) do
		it("does not answer from a file with " .. name, function()
			overwrite(text)
			local wallet = node.wallet
			for _, ask in ipairs({
				function() return chain:active_instances("49") end,
				function() return chain:instance_by_wallet(wallet) end,
				function() return chain:master_secret_hash() end,
				function() return chain:set_master_secret_hash("0x" .. ("ab"):rep(32)) end,
			}) do
				local answer, _, code = ask()
				assert.is_nil(answer)
				assert.equal("ERR_CHAIN", code)
			end
		end)
	end
end)
