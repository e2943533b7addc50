-- All nodes of a cluster die and their secret with them: custodians restore it with `nova-kms recovery` and Debian's
-- age, as docs/recovery.md says, and sealed snapshots its records.

local cjson = require("cjson")
local clusters = require("spec.support.cluster")
local custodians = require("spec.support.custodians")
local files = require("spec.support.files")
local http = require("spec.support.http")
local native = require("spec.support.native")
local nodes = require("spec.support.node")
local saved = require("spec.support.saved")
local uv = require("luv")
local wait = require("spec.support.wait")

local NAMES = { "alice", "bob", "carol", "dave", "erin" }
local SILENT_MS = 3000 -- of the chain, while a custodian asks
local NO_PCR = ("0"):rep(96)

describe("a cluster that lost all its nodes", function()
	local cluster, clients, dir, people, key, shares_dir, allowed

	-- An allow list with the simulated root of every node.
	local function write_allowed(change)
		local roots = {}
		for i = 1, 3 do
			local der = files.read(cluster:node(i).dir .. "/attest-root.der")
			roots[i] = ("%q"):format(native.hex_encode(native.sha256(der)))
		end
		local registry = cluster.net.registry
		local chain = { id = 31337, registry = registry.apps, kms_registry = registry.kms, app_id = registry.kms_app_id }
		for name, value in pairs(change or {}) do chain[name] = value end
		local path = dir .. "/allowed.lua"
		files.write(path, ([[return { allow_debug = true, roots = { %s },
			images = { { name = "devnet", pcrs = { [0] = %q, [1] = %q, [2] = %q } } },
			chain = { id = %d, registry = %q, kms_registry = %q, app_id = %q } }]]):format(table.concat(roots, ", "),
			NO_PCR, NO_PCR, NO_PCR, chain.id, chain.registry, chain.kms_registry, tostring(chain.app_id)))
		return path
	end

	local function url(index) return "http://127.0.0.1:" .. cluster:node(index).port end

	-- Runs `nova-kms recovery`. Returns exit code, what it printed.
	local function recovery(command, index, options)
		local args = { "recovery", command, "--url", url(index), options.strict and "--timeout=10" or "--allow-simulated" }
		for _, word in ipairs(options) do args[#args + 1] = word end
		local code, out, err = nodes.run(args, { stdin = options.stdin })
		return code, out .. err
	end

	-- options: share, pcr (paths), strict; any more words. A tick that the chain does not answer closes the node for a
	-- moment: then it is given again.
	local function give(index, x, options)
		options = options or {}
		local words = {
			"--yes", "-i", people[x].path, "--share", options.share or ("%s/%s.age"):format(shares_dir, people[x].name),
			"--pcr", options.pcr or allowed, "--rpc", cluster.net.chain.url,
		}
		for _, word in ipairs(options) do words[#words + 1] = word end
		words.strict = options.strict
		local code, text
		wait.until_true("the node to be open", function()
			code, text = recovery("give", index, words)
			return options.once or not text:find("not wait for custodians", 1, true)
		end)
		return code, text
	end

	setup(function()
		if clusters.missing() then return end
		dir = files.temp_dir()
		people, shares_dir = custodians.make(dir, NAMES), dir .. "/shares"
		assert(uv.fs_mkdir(dir .. "/snapshots", 448))
		files.write(dir .. "/custodians.lua", custodians.file(people, 3))
		cluster = clusters.start({ env = {
			RECOVERY = dir .. "/custodians.lua", TEE = "sim", SNAPSHOT = dir .. "/snapshots", SNAPSHOT_INTERVAL_SECONDS = "1",
			MAX_CLOCK_SKEW_MS = "2000", -- nodes that restarted without records make no writes for twice as long
		} })
		allowed = write_allowed()
		clients = cluster:register("custodians")
		key = clients[1]:derive({ path = "wallet" }).inner.key
		clusters.write(clients[2], "record", "kept")
	end)
	teardown(function()
		if cluster then cluster:stop() end
		if dir then files.remove_dir(dir) end
	end)

	local test = clusters.test(it, pending)

	local function page(index)
		return cjson.decode(assert(http.get(cluster:node(index).port, "/recovery")).body)
	end

	-- What GET /recovery says of shares, once the node shows it.
	local function waiting_of(index)
		local waiting
		wait.until_true("the node to be open", function()
			waiting = page(index).waiting
			return waiting ~= cjson.null
		end)
		return waiting
	end

	-- Alice gives her share to node 1 and types an answer (script makes the terminal).
	local function give_on_terminal(answer)
		local command = ("exec %s recovery give --allow-simulated -i %s --share %s/alice.age --pcr %s --url %s --rpc %s")
			:format(nodes.program, people[1].path, shares_dir, allowed, url(1), cluster.net.chain.url)
		local code, out, err
		files.write(dir .. "/typed", answer .. "\n")
		wait.until_true("the node to be open", function()
			local typed = assert(uv.fs_open(dir .. "/typed", "r", 0))
			code, out, err = nodes.run({ "-qec", command, "/dev/null" }, { program = "/usr/bin/script", stdin = typed })
			uv.fs_close(typed)
			return not out:find("not wait for custodians", 1, true)
		end)
		return code, out .. err
	end

	test("had its shares fetched from any node, in files that only their custodians open", function()
		local code, text = recovery("shares", 2, { "--out", shares_dir, "--pcr", allowed })
		assert.equal(0, code, text)
		for x, custodian in ipairs(people) do
			local share = custodians.open(custodian, files.read(("%s/%s.age"):format(shares_dir, custodian.name)))
			assert.equal(x, share:byte(23))
		end
	end)

	test("had rehearsals, of which every node knows", function()
		local code, text
		wait.until_true("the node to make writes", function()
			code, text = recovery("check", 1, { "--pcr", allowed, "-i", people[2].path, "--share", shares_dir .. "/bob.age" })
			return code == 0
		end)
		assert.truthy(text:find("the share of bob is good", 1, true), text)
		wait.until_true("node 3 to know it", function() return page(3).custodians[2].checked_at_ms ~= cjson.null end)
		code, text = recovery("check", 1, { "--pcr", allowed, "-i", people[1].path, "--share", shares_dir .. "/bob.age" })
		assert.equal(2, code, text)
	end)

	test("refuses shares while it has its secret", function()
		local code, text = give(1, 1, { once = true })
		assert.equal(5, code, text)
		assert.truthy(text:find("does not wait for custodians", 1, true), text)
	end)

	test("waits for custodians when every node was killed and its data are gone", function()
		saved.wait_all(cluster, 3)
		cluster:kill(1, 2, 3)
		for i = 1, 3 do assert(os.remove(cluster:node(i).dir .. "/master.sealed")) end
		cluster:revive(1, 2, 3)
		for i = 1, 3 do
			wait.until_true("node " .. i .. " to wait for custodians", function()
				local response = http.get(cluster:node(i).port, "/ready")
				return response and response.body:find("waiting for custodians (0 of 3)", 1, true)
			end)
		end
	end)

	test("gets nothing from a custodian who is shown another chain, image or secret", function()
		assert.equal(3, (give(1, 1, { pcr = write_allowed({ id = 1 }) })))
		local code, text = give(1, 1, { pcr = write_allowed({ app_id = 77 }) })
		assert.equal(5, code, text)
		files.write(dir .. "/other.lua", ([[return { roots = { %q }, allow_debug = true,
			images = { { name = "x", pcrs = { [0] = %q, [1] = %q, [2] = %q } } } }]]):format(("0"):rep(64), NO_PCR, NO_PCR,
			NO_PCR))
		code, text = give(1, 1, { pcr = dir .. "/other.lua" })
		assert.equal(5, code, text)
		assert.truthy(text:find("root", 1, true), text)
		allowed = write_allowed()
		-- An enclave in debug mode, whose host can read it, has PCRs of zeros; and one that is only simulated.
		local listed = files.read(allowed)
		files.write(dir .. "/strict.lua", (listed:gsub("allow_debug = true", "allow_debug = false")))
		code, text = give(1, 1, { pcr = dir .. "/strict.lua" })
		assert.equal(5, code, text)
		assert.truthy(text:find("debug", 1, true), text)
		assert.equal(5, (give(1, 1, { strict = true })))
		-- Not one of these left a share.
		assert.equal(0, waiting_of(1).have)
		code, text = give(1, 1, { "--rpc", "http://127.0.0.1:1" })
		assert.equal(3, code, text)
		assert.equal(0, waiting_of(1).have)
	end)

	test("asks its custodian on the terminal, and takes only yes for it", function()
		for _, case in ipairs({ { "no", 1, 0 }, { "y", 1, 0 }, { "yes", 0, 1 } }) do
			local code, text = give_on_terminal(case[1])
			assert.equal(case[2], code, text)
			assert.truthy(text:find("Type yes: ", 1, true), text)
			assert.truthy(text:find("operator +0x%x+"), text)
			assert.equal(case[3] == 0, text:find("nothing was sent", 1, true) ~= nil, text)
			assert.equal(case[3], waiting_of(1).have)
		end
	end)

	test("lets its custodian wait while the chain does not answer, and then takes the share", function()
		local chain = cluster.net.chain.process.pid
		assert(uv.kill(chain, "sigstop"))
		local timer = uv.new_timer()
		finally(function()
			uv.kill(chain, "sigcont")
			timer:close()
		end)
		wait.until_true("the node to be closed", function() return page(1).waiting == cjson.null end)
		timer:start(SILENT_MS, 0, function() uv.kill(chain, "sigcont") end)
		local code, text = give(1, 1, { once = true })
		assert.equal(0, code, text)
		assert.truthy(text:find("has 1 of the 3", 1, true), text)
	end)

	test("is not restored by two custodians, of whom one gives twice", function()
		for x = 1, 2 do
			local code, text = give(1, x)
			assert.equal(0, code, text)
			assert.truthy(text:find(("has %d of the 3"):format(x), 1, true), text)
			assert.truthy(text:find("devnet  SIMULATED", 1, true), text)
		end
		assert.equal(503, http.get(cluster:node(1).port, "/ready").status)
	end)

	test("names the custodian of a forged third share, and is whole with the fourth, keys and records too", function()
		local forged = custodians.open(people[3], files.read(shares_dir .. "/carol.age")):sub(1, -33) .. ("\7"):rep(32)
		files.write(dir .. "/forged.age", custodians.seal(dir, { people[3].key }, forged))
		local code, text = give(1, 3, { share = dir .. "/forged.age" })
		assert.equal(0, code, text)
		assert.truthy(text:find("do not fit together", 1, true), text)
		-- Another node waits, too, and is two shares ahead: both are restored at about the same time, into one cluster.
		for x = 1, 2 do assert.equal(0, (give(2, x))) end
		code, text = give(1, 4)
		assert.equal(0, code, text)
		assert.truthy(text:find("has the master secret again", 1, true), text)
		assert.same({ "carol" }, page(1).misfits)
		code, text = give(2, 4, { once = true })
		-- By then the first one may have given it the secret.
		assert.truthy(code == 0 or text:find("not wait for custodians", 1, true), text)
		cluster:wait_ready(60000)
		clusters.on_every_node("the key of before", clients, function(client)
			local response = client:derive({ path = "wallet" })
			return response.status == 200 and response.inner.key == key
		end)
		clusters.on_every_node("the record of before", clients, function(client)
			return client:value("record") == "kept"
		end)
		assert.equal("recovered", cluster:status(1).node.master_secret.state)
		-- Who was given nothing got it from the others, as newcomers do.
		assert.equal("synced", cluster:status(3).node.master_secret.state)
	end)
end)
