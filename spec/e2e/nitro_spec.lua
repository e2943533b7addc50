-- A node with its keys from the Nitro Security Module: the shipped program, with a fake device
-- preloaded into it.

local apps = require("spec.support.app")
local crypto = require("spec.support.crypto")
local expect = require("spec.support.expect")
local files = require("spec.support.files")
local http = require("spec.support.http")
local native = require("spec.support.native")
local nodes = require("spec.support.node")
local peers = require("spec.support.peer")
local preload = require("spec.support.preload")
local uv = require("luv")
local wait = require("spec.support.wait")

local MASTER = crypto.keccak256("the master secret of the nitro spec")

local function start(options)
	options = options or {}
	options.env = options.env or {}
	options.env.TEE, options.env.LD_PRELOAD = "nitro", preload("nsm_fake")
	return nodes.start(options)
end

local function refused(env)
	local dir = files.temp_dir()
	env.TEE = "nitro"
	local code, out, err = nodes.run({ "serve" }, { env = nodes.env(dir, nodes.free_port(), env) })
	files.remove_dir(dir)
	assert.equal(1, code, out .. err)
	assert.is_nil((out .. err):find("traceback", 1, true), err)
	return out .. err
end

describe("a node with TEE=nitro", function()
	it("serves keys and records", function()
		local node = start({ env = { MASTER_SECRET_HEX = crypto.hex(MASTER) } })
		finally(function() node:stop() end)
		local app = apps.new(node, "500", "nitro")
		node:register({ app })
		local key = expect.ok(app:derive({ path = "p" }, { pop = true })).inner.key
		assert.equal(crypto.base64(crypto.derive(MASTER, "500", "p")), key)
		expect.ok(app:put("k", "value", { pop = true }))
		assert.equal("value", app:value("k"))
		expect.ok(app:delete("k", { pop = true }))
		assert.equal(0, (node:stop()))
	end)

	it("shows a document of the module over its key, its wallet and the nonce", function()
		local node = start()
		finally(function() node:stop() end)
		local response = assert(http.get(node.port, "/attestation?nonce=00112233"))
		assert.equal(200, response.status, response.body)
		for _, part in ipairs({ node.der, node.wallet, "\0\17\34\51", "i-0123456789abcdef0" }) do
			assert.truthy(response.body:find(part, 1, true))
		end
		-- Its form is right; who signed it is nobody.
		local _, _, code, failure = native.attest_verify(response.body, {
			now_ms = os.time() * 1000, roots = { native.attest_aws_root }, images = {},
		})
		assert.same({ "ERR_ATTEST", "root" }, { code, failure })
	end)

	it("has no key on disk and another identity after a restart", function()
		local dir = files.temp_dir()
		finally(function() files.remove_dir(dir) end)
		local node = start({ dir = dir })
		node:wait_log("made keys in the enclave")
		assert.truthy(node:log():find("i-0123456789abcdef0-enc0123456789abcd", 1, true))
		for _, name in ipairs({ "node.seed", "master.sealed" }) do assert.is_nil(uv.fs_stat(dir .. "/" .. name), name) end
		assert.equal(0, (node:stop()))
		files.remove_dir(dir)
		local again = start()
		finally(function() again:stop() end)
		assert.not_equal(node.wallet, again.wallet)
		assert.not_equal(node.der, again.der)
	end)

	it("goes on when the device vanishes", function()
		local dir = files.temp_dir()
		local node = start({ dir = dir, env = { NSM_FAKE_FILE = dir .. "/fault" } })
		finally(function() node:stop() files.remove_dir(dir) end)
		local app = apps.new(node, "501", "nitro without device")
		node:register({ app })
		files.write(dir .. "/fault", "gone")
		expect.ok(app:derive({ path = "p" }))
		for i = 1, 2 do -- ticks: at each one the node sees another member
			node:register({ peers.new(node, "member " .. i) })
			wait.until_true("a tick", function() return node:status().cluster.total_instances == 1 + i end)
		end
		assert.equal(200, http.get(node.port, "/ready").status)
		expect.ok(app:derive({ path = "q" }))
	end)

	it("serves applications while others wait for documents of a slow device", function()
		local dir = files.temp_dir()
		local node = start({ dir = dir, env = {
			NSM_FAKE_FILE = dir .. "/fault", NSM_FAKE_LOG = dir .. "/requests", THREADS = "2",
		} })
		finally(function() node:stop() files.remove_dir(dir) end)
		local app = apps.new(node, "502", "nitro with a slow device")
		node:register({ app })
		expect.ok(app:derive({ path = "p" }))
		local before = #(files.read(dir .. "/requests") or "")
		files.write(dir .. "/fault", "slow")
		local asking = {}
		for i = 1, 4 do
			asking[i] = assert(http.connect(node.port))
			asking[i]:write("GET /attestation?nonce=00 HTTP/1.1\r\nHost: x\r\n\r\n")
		end
		wait.until_true("a request at the device", function() return #(files.read(dir .. "/requests") or "") > before end)
		for i = 1, 5 do expect.ok(app:derive({ path = "q" .. i })) end
		for _, conn in ipairs(asking) do assert.equal(0, conn.size) end
		files.write(dir .. "/fault", "")
		for _, conn in ipairs(asking) do
			assert.equal(200, conn:receive().status)
			conn:close()
		end
	end)

	it("starts through signals that interrupt the device", function()
		local node = start({ env = { NSM_FAKE = "interrupted-often" } })
		assert.equal(0, (node:stop()))
	end)

	it("does not start without the device", function()
		local said = refused({})
		assert.truthy(said:find("TEE=nitro: no Nitro Security Module: this is no Nitro enclave", 1, true), said)
	end)

	it("does not start on a device that fails", function()
		for fault, text in pairs({
			denied = "no right", gone = "is gone", garbage = "malformed", trailing = "malformed", short = "malformed",
			oversized = "malformed", interrupted = "failed", ["error=InternalError"] = "refused the request: InternalError",
		}) do
			local said = refused({ LD_PRELOAD = preload("nsm_fake"), NSM_FAKE = fault })
			assert.truthy(said:find("TEE=nitro: ", 1, true) and said:find(text, 1, true), said)
		end
	end)
end)
