-- Sealed snapshots of a running node in the storage of the platform.

local apps = require("spec.support.app")
local expect = require("spec.support.expect")
local files = require("spec.support.files")
local nodes = require("spec.support.node")
local odyn = require("spec.support.odyn")
local saved = require("spec.support.saved")
local wait = require("spec.support.wait")

local MASTER_HEX = ("6b"):rep(32)

describe("a node with SNAPSHOT=odyn", function()
	local dir, service, node

	before_each(function() dir = files.temp_dir() end)
	after_each(function()
		if node then node:stop() end
		if service then service:stop() end
		node, service = nil, nil
		files.remove_dir(dir)
	end)

	-- Starts a service with new keys, and a node that has nothing. Returns an application of it.
	local function start(storage)
		if node then node:stop() end
		if service then service:stop() end
		service = odyn.start({ storage = storage })
		node = nodes.start({ env = {
			TEE = "odyn", ODYN_URL = service.url, SNAPSHOT = "odyn", SNAPSHOT_INTERVAL_SECONDS = "1",
			MASTER_SECRET_HEX = MASTER_HEX,
		} })
		local app = apps.new(node, "200", "odyn")
		node:register({ app })
		return app
	end

	local function snapshot() return node:status().snapshot end

	it("loses nothing that was saved", function()
		local app = start(dir)
		for i = 1, 10 do expect.ok(app:put("key " .. i, "value " .. i)) end
		expect.ok(app:put("large", ("x"):rep(1000000)))
		saved.wait(node)
		local wallet = node.wallet
		app = start(dir)
		assert.not_equal(wallet, node.wallet)
		for i = 1, 10 do assert.equal("value " .. i, app:value("key " .. i)) end
		assert.equal(1000000, #app:value("large"))
		assert.equal(1, snapshot().restored.wallets)
	end)

	it("serves on and says why where its storage is gone", function()
		local app = start(dir)
		expect.ok(app:put("first", "1"))
		saved.wait(node)
		files.remove_dir(dir)
		expect.ok(app:put("second", "2"))
		wait.until_true("a failure", function() return snapshot().state == "failing" end)
		assert.equal("2", app:value("second"))
		local reason = node:control("GET", "/status").control.snapshot.failure
		assert.equal("Odyn POST /v1/s3/put: HTTP status 400", reason)
	end)

	it("does not serve where its storage cannot be read, as there may be records in it", function()
		service = odyn.start()
		node = nodes.start({ nowait = true, env = {
			TEE = "odyn", ODYN_URL = service.url, SNAPSHOT = "odyn", MASTER_SECRET_HEX = MASTER_HEX,
		} })
		node:wait_log("Odyn POST /v1/s3/list: HTTP status 400: is the storage of this application turned on?")
		assert.same({ false, "not restored" }, { node:status().node.service_available, snapshot().state })
	end)

	it("has no folder to list", function()
		local code, _, err = nodes.run({ "snapshot", "list" }, {
			env = { TEE = "odyn", SNAPSHOT = "odyn", CHAIN = "local", IN_ENCLAVE = "false" },
		})
		assert.equal(2, code)
		assert.truthy(err:find("list reads folders", 1, true), err)
	end)

	it("is refused with another TEE", function()
		assert.truthy(nodes.refused({ SNAPSHOT = "odyn", TEE = "sim" }):find(
			"variable SNAPSHOT: value 'odyn' is not valid with TEE=sim: allowed is with TEE=odyn", 1, true))
	end)
end)
