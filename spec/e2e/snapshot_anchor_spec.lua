-- Anchors of sealed snapshots on chain: what a running node sends, and what it does not restore.

local apps = require("spec.support.app")
local cjson = require("cjson")
local chain_server = require("spec.support.chain_server")
local crypto = require("spec.support.crypto")
local evm_node = require("spec.support.evm_node")
local expect = require("spec.support.expect")
local files = require("spec.support.files")
local http = require("spec.support.http")
local loopback = require("spec.support.loopback")
local native = require("spec.support.native")
local nodes = require("spec.support.node")
local ports = require("spec.support.ports")
local prometheus = require("spec.support.prometheus")
local wait = require("spec.support.wait")

local MASTER = crypto.keccak256("the master secret of anchored snapshots")

describe("a node with SNAPSHOT_ANCHOR", function()
	local dir, chain, node, env

	before_each(function()
		dir, chain = files.temp_dir(), chain_server.start()
		chain.hash = "0x" .. crypto.hex(crypto.keccak256(MASTER))
		env = {
			SNAPSHOT = dir, SNAPSHOT_INTERVAL_SECONDS = "1", SNAPSHOT_ANCHOR = "true", SNAPSHOT_ANCHOR_SECONDS = "1",
			MASTER_SECRET_HEX = crypto.hex(MASTER), KMS_NODE_TICK_SECONDS = "1",
			-- The chain shows an anchor at once. A transaction that is watched for six more blocks would keep the node from
			-- sending the next one, which it tries again a minute later.
			CHAIN_CONFIRMATIONS = "0",
		}
	end)
	after_each(function()
		if node then node:stop() end
		node = nil
		loopback.close()
		files.remove_dir(dir)
	end)

	local function snapshot() return node:status().snapshot end

	-- Ends the node for good: it is no member any more.
	local function lose()
		local wallet = node.wallet
		node:kill()
		chain.instances[wallet] = nil
		return wallet
	end

	-- Files of snapshots are there as a whole or not at all, so a copy is a state that was there.
	local function copy(from, to)
		assert.equal(0, (nodes.run({ "-a", from, to }, { program = "/bin/cp", env = {} })))
	end

	-- Starts a node with a new folder, and so with another wallet. Returns an application of it.
	local function start(more)
		for name, value in pairs(more or {}) do env[name] = value end
		node = evm_node.serve(chain, env)
		local app = apps.new(node, "200", "anchors")
		chain:register(app.app_id, app.identity.wallet, app.identity.der)
		return app
	end

	-- Waits until what is saved is anchored. Returns its time in milliseconds.
	local function wait_anchored()
		return wait.until_true("an anchor of the newest snapshot", function()
			local now = snapshot()
			local anchored = now.anchor.anchored_at_ms
			return now.unsaved_s == 0 and now.saved_at_ms and anchored == now.saved_at_ms // 1000 * 1000 and anchored
		end)
	end

	it("anchors each newest manifest by its hash and time", function()
		local port = ports.take()
		local app = start({ METRICS_ADDR = "127.0.0.1:" .. port })
		expect.ok(app:put("key", "value"))
		local first = wait_anchored()
		assert.same({ "ok", 0 }, { snapshot().anchor.state, snapshot().anchor.failures })
		expect.ok(app:put("key", "another"))
		wait.until_true("another anchor", function() return wait_anchored() > first end)
		local anchor = chain.anchors[node.wallet]
		local found = false
		local list = require("kms.base.files").list
		local folder = dir .. "/" .. list(dir)[1] .. "/" .. node.wallet
		for _, name in ipairs(list(folder)) do
			local hash = "0x" .. crypto.hex(native.sha256(files.read(folder .. "/" .. name)))
			found = found or hash == anchor.manifest and name:find("%.manifest$") ~= nil
		end
		assert.is_true(found)
		local families = prometheus.scrape(port)
		assert.is_true(prometheus.value(families, "kms_snapshot_anchors_total", { result = "ok" }) >= 2)
		assert.equal(0, prometheus.value(families, "kms_snapshot_anchors_total", { result = "failed" }))
		assert.is_true(prometheus.value(families, "kms_snapshot_anchor_age_seconds") < 600)
		assert.truthy(node:log():find("sealed snapshot anchored on chain", 1, true))
	end)

	it("does not restore an older state than was anchored, and says which", function()
		local app = start()
		expect.ok(app:put("key", "old"))
		local old = wait_anchored()
		finally(function()
			files.remove_dir(dir .. ".old")
			files.remove_dir(dir .. ".new")
		end)
		copy(dir, dir .. ".old")
		expect.ok(app:put("key", "new"))
		local new = wait.until_true("another anchor", function()
			local time = wait_anchored()
			return time > old and time
		end)
		local wallet = lose()
		copy(dir, dir .. ".new")
		files.remove_dir(dir)
		copy(dir .. ".old", dir)
		node = evm_node.start(chain, env)
		evm_node.register(chain, node)
		node:wait_log(wallet .. " has anchored one of ")
		local now = node:status()
		assert.same({ false, "not restored" }, { now.node.service_available, now.snapshot.state })
		local older = now.snapshot.older_than_anchored
		assert.same({ new, wallet, old }, {
			older.anchored_time_ms, older.wallet, older.newest_time_ms // 1000 * 1000,
		})
		chain.instances[now.node.tee_wallet] = nil
		node:kill()
		-- The true state is taken.
		files.remove_dir(dir)
		copy(dir .. ".new", dir)
		app = start()
		assert.equal("new", app:value("key"))
		lose()
		-- An old state is taken when the operator says so.
		chain.anchors[wallet].time = os.time() + 200
		files.remove_dir(dir)
		copy(dir .. ".old", dir)
		app = start({ RESTORE_OLDER = "true" })
		assert.equal("old", app:value("key"))
		assert.truthy(node:log():find("as RESTORE_OLDER=true says", 1, true))
	end)

	it("serves on when the chain takes no anchor, says why, and tries again", function()
		chain.override = function(name)
			if name == "eth_estimateGas" then return { error = { code = 3, message = "insufficient funds for gas" } } end
		end
		local app = start()
		expect.ok(app:put("key", "value"))
		wait.until_true("a failure", function() return snapshot().anchor.state == "failing" end)
		assert.is_true(snapshot().anchor.failures >= 1)
		local why = node:control("GET", "/status").control.snapshot.anchor_failure
		assert.truthy(why:find("anchorSnapshot would revert", 1, true), why)
		assert.equal("value", app:value("key"))
		assert.truthy(node:log():find("sealed snapshot not anchored on chain", 1, true))
		assert.is_nil(snapshot().anchor.last_failure)
	end)

	it("stops the start where the registry has no such function, and only then", function()
		chain.without_anchors = true
		chain.override = function() return { error = { code = -32000, message = "the server is down" } } end
		node = evm_node.start(chain, env)
		wait.until_true("a try", function() return (chain.calls["eth_chainId"] or 0) > 0 end)
		wait.until_true("its status", function() return http.get(node.port, "/status") end)
		assert.is_nil(node.process.code)
		chain.override = nil
		node:wait_log("SNAPSHOT_ANCHOR=true, but KMSRegistry has no anchors of snapshots")
		assert.equal(1, (node:wait_end()))
		node = nil
	end)

	it("is compared with by nova-kms snapshot verify", function()
		local app = start()
		expect.ok(app:put("key", "value"))
		wait_anchored()
		local function verify(...)
			local socket = node.dir .. "/control.sock"
			return nodes.run({ "snapshot", "verify", "--socket", socket, "--rpc", chain.url, ... }, { env = {} })
		end
		local code, out, err = verify("--kms-registry", chain_server.KMS)
		assert.same({ 0, "" }, { code, err })
		assert.truthy(out:find(("anchor: %%S+ of %s: is manifest %%d+\n$"):format(node.wallet)), out)
		code, out, err = verify("--kms-registry", chain_server.KMS, "--json")
		assert.equal(0, code)
		assert.equal(1, #cjson.decode(out).wallets)
		assert.truthy(err:find("^anchor: "), err)
		code, out, err = verify()
		assert.equal(2, code, out)
		assert.truthy(err:find("--kms-registry: the contract's address is missing", 1, true), err)
		local other = "0x" .. ("7"):rep(40)
		chain.anchors[other] = { manifest = chain_server.NO_HASH, time = os.time() + 290, member = other }
		code, out = verify("--kms-registry", chain_server.KMS)
		assert.equal(1, code)
		assert.truthy(out:find("of " .. other .. ": newer than everything here", 1, true), out)
		chain.anchors[other].time = 1
		chain.anchors[node.wallet].manifest = chain_server.NO_HASH
		code, out = verify("--kms-registry", chain_server.KMS)
		assert.truthy(out:find("that manifest is gone, and newer ones are here", 1, true), out)
		assert.equal(0, code)
		chain.anchors = {}
		code, out = verify("--kms-registry", chain_server.KMS)
		assert.equal(0, code)
		assert.truthy(out:find("anchor: nothing is anchored", 1, true), out)
	end)
end)

describe("SNAPSHOT_ANCHOR", function()
	it("needs snapshots and a chain", function()
		for _, case in ipairs({
			{ SNAPSHOT = "off", CHAIN = "evm" }, { SNAPSHOT = "/tmp", CHAIN = "local" },
		}) do
			case.SNAPSHOT_ANCHOR = "true"
			assert.truthy(nodes.refused(case):find(("variable SNAPSHOT_ANCHOR: value 'true' is not valid with SNAPSHOT=%s and "
				.. "CHAIN=%s"):format(case.SNAPSHOT, case.CHAIN), 1, true))
		end
		for _, value in ipairs({ "0", "2592001" }) do
			assert.truthy(nodes.refused({ SNAPSHOT_ANCHOR_SECONDS = value }):find(
				"variable SNAPSHOT_ANCHOR_SECONDS: value '" .. value .. "' is not valid", 1, true))
		end
	end)
end)
