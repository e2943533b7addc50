-- docs/recovery.md: every command of it, on a cluster that lives through all that it is for. The tests are one story,
-- in this order.

local clusters = require("spec.support.cluster")
local data_file = require("kms.base.data_file")
local files = require("spec.support.files")
local http = require("spec.support.http")
local loss = require("devnet.loss")
local anvil = require("devnet.anvil")
local nodes = require("spec.support.node")
local registries = require("devnet.registry")
local runbooks = require("spec.support.runbook")
local saved = require("spec.support.saved")
local uv = require("luv")
local wait = require("spec.support.wait")

local NAMES = { "alice", "bob", "carol", "dave", "erin" }
local READY_MS, SEEN_S = 120000, 60
local MEASUREMENT = "0x" .. ("5a"):rep(32)

describe("docs/recovery.md", function()
	local cluster, net, dir, book, key

	local function folder_of(name) return ("%s/%s"):format(dir, name) end

	-- What stands for the variables of the document.
	local function set_vars()
		book.vars_now = {
			RPC = net.chain.url, APPS = net.registry.apps, KMS = net.registry.kms, APP = tostring(net.registry.kms_app_id),
			VERSION = "1", OPERATOR = anvil.OWNER, OWNER = "--unlocked --from " .. anvil.OWNER, MEASUREMENT = MEASUREMENT,
			SOCKET = net.nodes[1].dir .. "/control.sock",
		}
	end

	-- Runs the next block of a section. change: words, vars, dir, number; index: the node that is node1 in it.
	local function paste(section, change)
		change = change or {}
		local vars = {}
		for _, list in ipairs({ book.vars_now, change.vars or {} }) do
			for name, value in pairs(list) do vars[name] = value end
		end
		return book:paste(section, { words = change.words, vars = vars, dir = change.dir, number = change.number })
	end

	setup(function()
		if clusters.missing() then return end
		dir = files.temp_dir()
		cluster = clusters.start({
			custodians = { count = #NAMES, threshold = 3 }, env = { TEE = "sim", MAX_CLOCK_SKEW_MS = "2000" },
		})
		net = cluster.net
		book = runbooks.read("docs/recovery.md", dir, "spec/cluster/runbook_spec.lua")
		for i, node in ipairs(net.nodes) do book.words["https://node" .. i] = node.url end
		book.words["https://rpc1.example"], book.words["https://rpc2.example"] = net.chain.url, net.chain.url
		files.write(dir .. "/app.seed", files.read(net.apps[1].seed_path))
		assert(uv.fs_symlink(net.custodians.allowed, dir .. "/allowed.lua"))
		files.write(dir .. "/node.lua", ("return { IN_ENCLAVE = false, CHAIN = \"local\", RECOVERY = %q }"):format(
			net.custodians.dir .. "/custodians.lua"))
		for i, name in ipairs(NAMES) do
			assert(uv.fs_mkdir(folder_of(name), 448))
			assert(uv.fs_symlink(net.custodians.people[i].key_file, folder_of(name) .. "/key.txt"))
			assert(uv.fs_symlink(net.custodians.allowed, folder_of(name) .. "/allowed.lua"))
		end
		set_vars()
	end)
	teardown(function()
		if cluster then cluster:stop() end
		if dir then files.remove_dir(dir) end
	end)

	local test = clusters.test(it, pending)

	-- The operator gives each custodian what is in a folder of shares.
	local function hand_out(folder)
		for _, name in ipairs(NAMES) do
			local share = files.read(("%s/%s/%s.age"):format(dir, folder, name))
			if share then files.write(("%s/%s.age"):format(folder_of(name), name), share) end
		end
	end

	local function as(name, words)
		words = words or {}
		words["alice.age"] = name .. ".age"
		return { dir = folder_of(name), words = words, number = 1 }
	end

	-- Waits until a node says something in GET /ready.
	local function wait_for(index, text)
		wait.until_true(("node %d to say: %s"):format(index, text), function()
			local response = http.get(net.nodes[index].port, "/ready")
			return response and response.body:find(text, 1, true)
		end, SEEN_S)
	end

	local function wait_status(index)
		wait.until_true("the node's wallet", function()
			local response = http.get(net.nodes[index].port, "/status")
			return response and response.body:find(net.nodes[index].wallet, 1, true)
		end, SEEN_S)
	end

	-- `nova-kms call` as the application. Returns exit code, what it printed.
	local function call(url, what, ...)
		return nodes.run({ "call", what, "--url", url, "--seed", dir .. "/app.seed", ... }, { env = { HOME = dir } })
	end

	local function derive(url)
		local code, out, err = call(url, "derive", "--path=wallet/root")
		assert.equal(0, code, err)
		return out
	end

	-- The id of a node's instance on chain.
	local function instance_of(index)
		local data = anvil.call(net.registry.apps, "getInstanceByWallet(address)", net.nodes[index].wallet)
		local result
		clusters.await(function() result = net.chain:rpc("eth_call", data, "latest") end)
		return tostring(tonumber(result:sub(67, 130), 16))
	end

	-- Kills all nodes and deletes their files; fresh ones get new wallets.
	local function lose_all()
		local wallets = {}
		clusters.await(function() loss.strike(net) end)
		for i, node in ipairs(net.nodes) do
			wallets[i] = node.wallet
			assert(node:make_identity())
			assert.not_equal(wallets[i], node.wallet)
		end
		net.custodians:write_allowed(net)
	end

	-- What the runbook of the loss says from step 2 on: node 1, custodians, then the others.
	local function recover(people)
		clusters.await(function() net:start_nodes() end)
		wait_status(1)
		paste("All nodes died", { number = 2 })
		wait_for(1, "waiting for custodians (0 of 3)")
		assert.truthy(paste("All nodes died", { number = 3 }):find("waiting    has 0 of 3 shares"))
		local said
		for _, name in ipairs(people) do
			local change = as(name)
			change.number = 4
			said = paste("All nodes died", change)
			assert.truthy(said:find("given: the node has", 1, true), said)
		end
		assert.truthy(said:find("has the master secret again", 1, true), said)
		for i = 2, 3 do
			wait_status(i)
			paste("All nodes died", { number = 2, words = { ["https://node1"] = net.nodes[i].url } })
		end
		cluster:wait_ready(READY_MS)
	end

	-- The key and the record of before are on every node.
	local function assert_all_back()
		for _, node in ipairs(net.nodes) do
			assert.equal(key, derive(node.url))
			wait.until_true("the record", function()
				local code, out = call(node.url, "get", "--key=record")
				return code == 0 and out == "kept"
			end)
		end
	end

	test("sets custodians up", function()
		local made = folder_of("new")
		assert(uv.fs_mkdir(made, 448))
		local section = "Setting it up, once"
		paste(section, { dir = made })
		assert.truthy(files.read(made .. "/key.txt"):find("AGE-SECRET-KEY-1", 1, true))
		assert.truthy(paste(section):find("RECOVERY = ", 1, true))
		assert.truthy(paste(section):find("any 3 of 5 restore the secret", 1, true))
		hand_out("shares")
		key = derive(net.nodes[1].url)
		wait.until_true("the write", function()
			return call(net.nodes[2].url, "put", "--key=record", "--value=kept") == 0
		end)
	end)

	test("has every custodian rehearse", function()
		local section = "Rehearsal, every quarter"
		for _, name in ipairs(NAMES) do
			assert.truthy(paste(section, as(name)):find(("the share of %s is good"):format(name), 1, true))
		end
		assert.truthy(paste(section, { dir = folder_of("alice") }):find("the share of alice is good", 1, true))
		saved.wait_all(cluster, 3, SEEN_S)
		local said = paste(section)
		for _, name in ipairs(NAMES) do assert.truthy(said:find(name .. ", rehearsed 0 days ago", 1, true), said) end
		assert.is_nil(said:find("\nbad: ", 1, true), said)
	end)

	test("brings keys and records back when all nodes died, on nodes with new wallets", function()
		saved.wait_all(cluster, 3, SEEN_S)
		lose_all()
		paste("All nodes died")
		recover({ "erin", "bob", "alice" })
		local derived = paste("All nodes died", { number = 5 })
		assert.equal(key, derived:match("^[^\n]+\n"))
		assert.truthy(derived:find('"snapshot":{', 1, true), derived)
		-- Here all three were started at once: whichever was first restored the snapshots, and the others got its store.
		local restored = 0
		for i = 1, 3 do restored = restored + (cluster:status(i).snapshot.restored and 1 or 0) end
		assert.is_true(restored >= 1)
		assert_all_back()
	end)

	test("takes a machine that was compromised out of the cluster", function()
		local wallet = net.nodes[3].wallet
		local change = { vars = { INSTANCE = instance_of(3) } }
		paste("A node was compromised", change)
		wait.until_true("its end as a member", function()
			local _, out = nodes.run({ "nodes", "--url", net.nodes[2].url }, { env = {} })
			return out:find(net.nodes[2].wallet, 1, true) and not out:find(wallet, 1, true)
		end, SEEN_S)
		-- A fresh one takes its place.
		cluster:kill(3)
		files.remove_dir(net.nodes[3].dir)
		assert(net.nodes[3]:make_identity())
		net.custodians:write_allowed(net)
		cluster:revive(3)
		wait_status(3)
		paste("All nodes died", { number = 2, words = { ["https://node1"] = net.nodes[3].url } })
		cluster:wait_ready(READY_MS)
		assert_all_back()
	end)

	test("moves to a new set when a custodian left", function()
		local path = net.custodians.dir .. "/custodians.lua"
		local old = assert(data_file.read(path))
		local new = { threshold = 3, custodians = {}, earlier = { old } }
		for i = 2, #NAMES do new.custodians[i - 1] = old.custodians[i] end
		assert(data_file.write(path, "-- Without alice.\n", new))
		local section = "A custodian left"
		paste(section)
		for i = 1, 3 do
			cluster:stop_node(i)
			cluster:revive(i)
			cluster:wait_ready(READY_MS)
		end
		local code, text
		wait.until_true("the node to give shares", function()
			code, text = book:try(section, { vars = book.vars_now, number = 2 })
			return code == 0
		end)
		assert.truthy(text:find("any 3 of 4 restore the secret", 1, true), text)
		assert.is_nil(text:find("alice", 1, true), text)
		-- Her share is not one of the set in force.
		local refused, out, err = book:try("Rehearsal, every quarter", as("alice"))
		assert.equal(5, refused)
		assert.truthy((out .. err):find("of another set of custodians", 1, true), out .. err)
		hand_out("shares-new")
		assert.truthy(paste("Rehearsal, every quarter", as("bob")):find("the share of bob is good", 1, true))
		-- While `earlier` has it, the old set restores the secret.
		saved.wait_all(cluster, 3, SEEN_S)
		files.write(folder_of("bob") .. "/bob.age", files.read(dir .. "/shares/bob.age"))
		files.write(folder_of("carol") .. "/carol.age", files.read(dir .. "/shares/carol.age"))
		lose_all()
		paste("All nodes died", { number = 1 })
		recover({ "alice", "bob", "carol" })
		assert_all_back()
	end)

	test("copies an application's records to a cluster with another secret", function()
		local other = nodes.start({})
		finally(function() other:stop() end)
		local url = "http://127.0.0.1:" .. other.port
		local app = net.apps[1]
		other:register({ { app_id = tostring(app.app_id), identity = { wallet = app.wallet, der = app.tee_pubkey } } })
		wait.until_true("the application to be served", function()
			return call(url, "derive", "--path=p") == 0
		end)
		paste("A new secret", { vars = { OLD_CLUSTER = net.nodes[1].url, NEW_CLUSTER = url } })
		assert.equal("kept", select(2, call(url, "get", "--key=record")))
		assert.not_equal(key, derive(url))
	end)

	test("moves to new contracts when the key for the registry is lost", function()
		local section = "The operator's key for the registry is lost"
		local old = net.registry
		assert.equal(0, (book:try("A custodian left", { vars = book.vars_now, number = 2 })))
		hand_out("shares-new")
		paste(section, { vars = { OLD_KMS = old.kms } })
		for i = 2, 3 do
			paste(section, { number = 1, vars = { OLD_KMS = old.kms, SOCKET = net.nodes[i].dir .. "/control.sock" } })
		end
		clusters.await(function()
			net.registry = registries.deploy(net.chain)
			for i, id in ipairs(net.registry:create_apps(net.apps)) do net.apps[i].app_id = id end
			net.registry:register(net.apps)
		end)
		set_vars()
		paste(section)
		lose_all()
		recover({ "bob", "carol", "dave" })
		assert_all_back()
	end)

	test("moves to a new image, node by node", function()
		local section = "Moving to a new image"
		assert.truthy(paste(section):find("status +1 %(success%)"))
		for i = 3, 1, -1 do
			local words = { ["https://node3"] = net.nodes[i].url }
			local vars = { INSTANCE = instance_of(i), NEW_VERSION = "2", SOCKET = net.nodes[i].dir .. "/control.sock" }
			paste(section, { number = 2, vars = vars })
			clusters.await(function() return net.nodes[i].process:wait(READY_MS) end)
			files.remove_dir(net.nodes[i].dir)
			assert(net.nodes[i]:make_identity())
			net.custodians:write_allowed(net)
			cluster:revive(i)
			wait_status(i)
			paste(section, { number = 3, words = words, vars = vars })
			cluster:wait_ready(READY_MS)
			local said = paste(section, { number = 4, words = words, vars = vars })
			assert.truthy(said:find("service    available", 1, true), said)
			assert.truthy(said:find(net.nodes[i].wallet .. "  ACTIVE  2 ", 1, true), said)
		end
		paste(section, { number = 5 })
		assert_all_back()
	end)

	test("stops every node of a version that is revoked", function()
		paste("A node was compromised", { vars = { VERSION = "2" } })
		for i = 1, 3 do
			wait.until_true("its end", function() return http.get(net.nodes[i].port, "/ready").status == 503 end, SEEN_S)
		end
	end)

	test("has a new secret where nothing was worth keeping", function()
		lose_all()
		paste("A new secret", { number = 2 })
		clusters.await(function()
			net.chain:transact({ anvil.call(net.registry.apps, registries.SIGNATURES.enroll, net.registry.kms_app_id, "v3",
				MEASUREMENT, "", "", "", "") })
		end)
		clusters.await(function() net:start_nodes() end)
		for i = 1, 3 do
			wait_status(i)
			local change = { number = 2, vars = { VERSION = "3" }, words = { ["https://node1"] = net.nodes[i].url } }
			paste("All nodes died", change)
			if i == 1 then paste("A new secret", { number = 3 }) end
		end
		cluster:wait_ready(READY_MS)
		assert.not_equal(key, derive(net.nodes[1].url))
		-- What custodians had is a share of the old secret.
		local code, out, err = book:try("Rehearsal, every quarter", as("bob"))
		assert.equal(1, code, out .. err)
		assert.truthy((out .. err):find("the node refused", 1, true), out .. err)
	end)

	test("has no command that was not run here", function()
		assert.same({}, book:unused())
	end)
end)
