-- Secrets of a running node are found in guarded memory (locked, not dumped) and nowhere else:
-- architecture.md, rule 1. Reads the node's memory from outside, as root.

local apps = require("spec.support.app")
local backend = require("spec.support.backend")
local cjson = require("cjson")
local crypto = require("spec.support.crypto")
local expect = require("spec.support.expect")
local files = require("spec.support.files")
local http = require("spec.support.http")
local kit = require("kms_testkit")
local memory = require("spec.support.memory")
local nodes = require("spec.support.node")
local uv = require("luv")
local wait = require("spec.support.wait")

local MASTER = crypto.keccak256("the master secret of the memory scan")
local SEED = crypto.keccak256("the seed of the memory scan")
local APP_ID = "970"

local function skip(reason)
	print("memory scan skipped: " .. reason)
	return pending(reason)
end

describe("the scanner", function()
	local process, ended

	-- Ends the process, and waits for that: one of the tests looks for processes that are left.
	local function finish()
		if process and not ended then process:kill("sigkill") end
		wait.until_true("the process to end", function() return not process or ended end)
		process = nil
	end

	-- A process that has these texts in its environment, so in its memory.
	local function holding(texts)
		local env = {}
		for i, text in ipairs(texts) do env[i] = ("V%d=%s"):format(i, text) end
		local handle, pid
		ended = false
		handle, pid = uv.spawn("setpriv", { args = { "--pdeathsig", "KILL", "sleep", "300" }, env = env }, function()
			ended = true
			handle:close()
		end)
		process = assert(handle, pid)
		wait.until_true("sleep runs", function() -- setpriv has become sleep
			local link = uv.fs_readlink(("/proc/%d/exe"):format(pid))
			return link and link:find("sleep") or link and link:find("coreutils")
		end)
		return pid
	end

	after_each(finish)

	it("finds a planted secret in every form it looks for", function()
		local reason = memory.obstacle()
		if reason then return skip(reason) end
		local secret
		repeat -- no NUL in what goes into an environment
			secret = crypto.random(48)
			local masked = secret:gsub(".", function(c) return string.char(c:byte() ~ 0x36) end)
				.. secret:gsub(".", function(c) return string.char(c:byte() ~ 0x5c) end)
		until not (secret .. masked):find("\0", 1, true)
		local function groups(size, each)
			local out = {}
			for i = 1, #secret, size do out[#out + 1] = each(secret:sub(i, i + size - 1)) end
			return out
		end
		local limbs, backwards = groups(8, function(group) return group end), {}
		for i = #limbs, 1, -1 do backwards[#backwards + 1] = limbs[i] end
		local forms = {
			raw = secret, reversed = secret:reverse(), limbs = table.concat(backwards),
			swapped8 = table.concat(groups(8, string.reverse)), swapped4 = table.concat(groups(4, string.reverse)),
			ipad = secret:gsub(".", function(c) return string.char(c:byte() ~ 0x36) end),
			opad = secret:gsub(".", function(c) return string.char(c:byte() ~ 0x5c) end),
			hex = crypto.hex(secret), HEX = crypto.hex(secret):upper(),
			["base64+0"] = crypto.base64("abc" .. secret .. "defg"),
			["base64+1"] = crypto.base64("a" .. secret .. "bcde"),
			["base64+2"] = crypto.base64("ab" .. secret .. "cd"),
		}
		for name, text in pairs(forms) do
			local hits, totals = memory.scan(holding({ text }), { planted = secret })
			assert.is_true(#hits >= 1, name .. " was not found")
			for _, hit in ipairs(hits) do
				assert.equal(name, hit.form)
				assert.equal("open", hit.where)
			end
			assert.is_true(totals.bytes > 100000)
			finish()
		end
		assert.same({}, (memory.scan(holding({ "nothing" }), { planted = secret })))
	end)

	it("leaves no process behind when it does not end in time", function()
		local program, timeout_s = memory.program, memory.timeout_s
		finally(function() memory.program, memory.timeout_s = program, timeout_s end)
		memory.program, memory.timeout_s = "/bin/sleep", 0.2 -- `sleep PID`
		local own = uv.os_getpid()
		assert.error_matches(function() memory.scan(own, { planted = ("s"):rep(48) }) end, "did not end within 0.2 s")
		for child in (files.read(("/proc/%d/task/%d/children"):format(own, own)) or ""):gmatch("%d+") do
			assert.not_equal("sleep\n", files.read(("/proc/%s/comm"):format(child)))
		end
	end)
end)

describe("the memory of a node", function()
	local reason, node, app, secrets, public, present

	-- A value of high entropy, and pieces of it to look for.
	local function plain(name, size)
		local value = crypto.random(size)
		secrets[name .. " start"] = value:sub(1, 48)
		if size >= 4096 then
			secrets[name .. " middle"] = value:sub(size // 2, size // 2 + 47)
			secrets[name .. " end"] = value:sub(-48)
		end
		return value
	end

	local function exercise(rounds)
		for i = 1, rounds do
			for _, length in ipairs({ 32, 64, 1024 }) do
				local path = ("wallet/%d/%d"):format(i, length)
				local key = crypto.derive(MASTER, APP_ID, path, "ctx", length)
				secrets["derived " .. path] = key:sub(1, 64)
				local response = expect.ok(app:derive({ path = path, context = "ctx", length = length }, { pop = true }))
				assert.equal(crypto.base64(key), response.inner.key)
			end
			for _, size in ipairs({ 48, 100, 5000, 1 << 20 }) do
				local name = ("value %d %d"):format(i, size)
				local value = plain(name, size)
				expect.ok(app:put(name, value, { pop = true }))
				assert.is_true(value == app:value(name))
			end
			expect.refused(app:put("refused", plain("refused " .. i, 60), { pop = "0x00" }), 403, "forbidden")
			expect.refused(app:put("", plain("no key " .. i, 60), { pop = true }), 400, "bad_request")
			local ttl = { pop = true, more = { ttl_ms = -1 } }
			expect.refused(app:put("bad ttl", plain("bad ttl " .. i, 60), ttl), 400, "bad_request")
			expect.refused(app:put("too large", plain("too large " .. i, (1 << 20) + 1), { pop = true }), 400, "bad_request")
			expect.ok(app:delete(("value %d 100"):format(i), { pop = true }))
		end
	end

	-- Many clients at once: the pool's threads work, with stacks and contexts of their own.
	local function load_it(rounds)
		local list, sent = {}, {}
		for i = 1, 16 do list[i] = apps.new(node, APP_ID, "load " .. i) end
		node:register(list)
		for _, one in ipairs(list) do
			secrets["channel " .. one.wallet] = one:channel_key()
			one.next_nonce = one:nonce()
		end
		for round = 1, rounds do
			for i, one in ipairs(list) do
				local name = ("load %d %d"):format(i, round)
				if (i + round) % 3 == 0 then
					secrets["derived " .. name] = crypto.derive(MASTER, APP_ID, name)
					sent[i] = one:send({ method = "POST", target = "/kms/derive", inner = { path = name } })
				elseif (i + round) % 3 == 1 then
					local value = plain(name, 200 * i)
					sent[i] = one:send({
						method = "PUT", target = "/kms/data", inner = { key = "load" .. i, value = crypto.base64(value) },
					})
				else
					sent[i] = one:send({ method = "GET", target = "/kms/data/load" .. i })
				end
			end
			for i, one in ipairs(list) do
				local response = one:receive(sent[i])
				assert.is_true(response.status == 200 or response.status == 404, response.body)
			end
		end
		for _, one in ipairs(list) do one:close() end
	end

	setup(function()
		reason = memory.node_obstacle()
		if reason then return end
		local dir = files.temp_dir()
		if backend.has("files") then files.write(dir .. "/node.seed", crypto.hex(SEED) .. "\n") end
		assert(uv.fs_mkdir(dir .. "/snapshots", 448))
		-- Bodies wait while the memory is scanned, however long that takes.
		node = nodes.start({ dir = dir, env = {
			MASTER_SECRET_HEX = crypto.hex(MASTER), MIN_BODY_BYTES_PER_SECOND = "0", BODY_TIMEOUT_SECONDS = "600",
			SNAPSHOT = dir .. "/snapshots", SNAPSHOT_INTERVAL_SECONDS = "1",
			AUDIT = dir .. "/audit.log", AUDIT_RECORDS = "true",
		} })
		app = apps.new(node, APP_ID, "memory")
		node:register({ app })
		secrets = {
			master = MASTER, ["data key"] = crypto.derive(MASTER, APP_ID, "data_key"),
			["sync key"] = crypto.derive(MASTER, "0", "sync_hmac_key"),
			["snapshot key"] = crypto.derive(MASTER, "0", "snapshot_key"),
			["audit key"] = crypto.derive(MASTER, "0", "audit_key"),
			["channel"] = app:channel_key(),
			["ECDH x"] = kit.ecdh(app.identity.scalar, node.point),
		}
		-- What must be found, or the scan proves nothing: what is here and known to this spec.
		present = { "master" }
		if backend.has("own keys") then present[#present + 1] = "channel" end
		if backend.has("files") then
			local own = crypto.seed_identity(SEED)
			assert.equal(own.wallet, node.wallet)
			secrets.seed, secrets["wallet key"], secrets["P-384 scalar"] = SEED, own.wallet_key, own.scalar
			table.move({ "seed", "wallet key" }, 1, 2, #present + 1, present)
		end
		public = { ["node wallet"] = node.wallet, ["node key"] = node.der, ["chain hash"] = crypto.keccak256(MASTER) }
		exercise(2)
		wait.until_true("a sealed snapshot", function() return node:status().snapshot.saved_at_ms end)
		load_it(24)
	end)

	teardown(function()
		if not node then return end
		node:stop()
		files.remove_dir(node.dir)
	end)

	it("has secrets in guarded pages only", function()
		if reason then return skip(reason) end
		local hits, totals
		-- A page that the node gives back while the scan comes to it cannot be read.
		wait.until_true("a scan of all pages", function()
			hits, totals = memory.scan(node.pid, secrets)
			assert.equal("", memory.leaks(hits))
			return totals.unreadable == 0, totals.unreadable
		end)
		local guarded = memory.count(hits, "guarded")
		for _, name in ipairs(present) do
			assert.is_true((guarded[name] or 0) > 0, name .. " was not found at all: the scan proves nothing")
		end
		assert.is_true(totals.bytes > 16 << 20, totals.bytes)
	end)

	it("has what is public in the open, where the scan does see it", function()
		if reason then return skip(reason) end
		local hits = memory.scan(node.pid, public)
		local open = memory.count(hits, "open")
		assert.is_true((open["node wallet"] or 0) > 0)
		assert.is_true((open["node key"] or 0) > 0)
		assert.not_equal("", memory.leaks(hits))
	end)

	it("keeps no derived key and no plaintext after its answer", function()
		if reason then return skip(reason) end
		local gone = {}
		for name, bytes in pairs(secrets) do
			if name:find("^derived") or name:find("^value") or name:find("^load") then gone[name] = bytes end
		end
		-- A connection's last work may just be ending.
		wait.until_true("all of them to be wiped", function()
			local found = {}
			for i, hit in ipairs((memory.scan(node.pid, gone))) do found[i] = hit.name .. " " .. hit.form end
			return #found == 0, table.concat(found, ", ")
		end)
	end)

	it("is as clean while requests wait in the middle", function()
		if reason then return skip(reason) end
		local one, sent, bodies = apps.new(node, APP_ID, "in the middle"), {}, {}
		node:register({ one })
		secrets["middle channel"] = one:channel_key()
		for i = 1, 8 do
			local value = plain("middle " .. i, 20000)
			local headers, signature = one:pop({})
			local inner = cjson.encode({ key = "middle" .. i, value = crypto.base64(value) })
			bodies[i] = cjson.encode(crypto.seal(one:channel_key(), one.identity.der, inner))
			headers[#headers + 1] = { "Content-Length", #bodies[i] }
			local conn = assert(http.connect(node.port))
			conn:write(http.format({ method = "PUT", target = "/kms/data", headers = headers })
				.. bodies[i]:sub(1, #bodies[i] // 2))
			sent[i] = { conn = conn, signature = signature }
		end
		assert.equal(200, http.get(node.port, "/health").status)
		assert.equal("", memory.leaks((memory.scan(node.pid, secrets))))
		for i, request in ipairs(sent) do request.conn:write(bodies[i]:sub(#bodies[i] // 2 + 1)) end
		for _, request in ipairs(sent) do
			expect.ok(one:receive(request))
			request.conn:close()
		end
		assert.equal("", memory.leaks((memory.scan(node.pid, secrets))))
	end)
end)
