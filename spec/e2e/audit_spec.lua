-- The audit log of a running node: who was given key material, who was refused, and what the log keeps to itself.

local apps = require("spec.support.app")
local audit_file = require("spec.support.audit_file")
local backend = require("spec.support.backend")
local crypto = require("spec.support.crypto")
local expect = require("spec.support.expect")
local files = require("spec.support.files")
local http = require("spec.support.http")
local nodes = require("spec.support.node")
local peers = require("spec.support.peer")
local sessions = require("spec.support.session_client")
local uv = require("luv")
local wait = require("spec.support.wait")

local MASTER = crypto.keccak256("the master secret of the audit log")
local APP = "700"

-- What stands for a name, from docs/audit.md.
local function name_hash(kind, app_id, name)
	local key = crypto.derive(MASTER, "0", "audit_key")
	local bytes = string.char(kind) .. (">I8"):pack(math.tointeger(tonumber(app_id))) .. crypto.sha256(name)
	return crypto.hmac(key, bytes):sub(1, 32)
end

describe("a node with AUDIT", function()
	local dir, file, node, app

	local function start(more)
		local env = { AUDIT = file, MASTER_SECRET_HEX = crypto.hex(MASTER) }
		for name, value in pairs(more or {}) do env[name] = value end
		node = nodes.start({ env = env, dir = dir .. "/node" })
		app = apps.new(node, APP, "audit")
		node:register({ app })
	end

	-- The events of this name, once there are so many.
	local function events(name, count)
		local found
		wait.until_true(("%d lines about %s"):format(count, name), function()
			found = audit_file.events(file, name)
			return #found >= count
		end)
		return found
	end

	-- Calls fn until the log says that it has refusals without lines, of these callers where that is given. Returns how
	-- often.
	local function flood(fn, of)
		local asked = 0
		wait.until_true("refusals that are only counted", function()
			for _ = 1, 70 do fn() end
			asked = asked + 70
			for _, line in ipairs(audit_file.events(file, "suppressed")) do
				if line.of == (of or line.of) then return true end
			end
		end)
		return asked
	end

	before_each(function()
		dir = files.temp_dir()
		file = dir .. "/audit.log"
		assert(uv.fs_mkdir(dir .. "/node", 448))
	end)
	after_each(function()
		if node then node:stop() end
		node = nil
		files.remove_dir(dir)
	end)

	it("says who was given which key, of requests and of messages, by hashes of names", function()
		start({ LOG_LEVEL = "warn" }) -- what the log leaves out stands here all the same
		expect.ok(app:derive({ path = "wallet/root" }))
		expect.ok(app:derive({ path = "wallet/root", context = "ctx" }))
		local session = sessions.open(app)
		session:call({ { op = "derive", path = "wallet/root" }, { op = "put", key = "k", value = "AA==" },
			{ op = "derive", path = "other" } })
		local derived = events("derive", 4)
		local root = name_hash(1, APP, "wallet/root")
		assert.same({ root, root, root, name_hash(1, APP, "other") },
			{ derived[1].name, derived[2].name, derived[3].name, derived[4].name })
		assert.is_nil(derived[1].context)
		assert.equal(name_hash(2, APP, "ctx"), derived[2].context)
		assert.same({ app.identity.wallet, APP, nil }, { derived[1].wallet, derived[1].app, derived[1].code })
		assert.truthy(derived[1].request:find("^%x+"))
		assert.equal(derived[3].request, derived[4].request)
		assert.equal(app.identity.wallet, events("session", 1)[1].wallet)
		assert.same({}, audit_file.events(file, "put"))
		local secret = events("secret_in_use", 1)[1]
		assert.equal("0x" .. crypto.hex(crypto.keccak256(MASTER)), secret.secret_hash)
		local text = files.read(file)
		for _, name in ipairs({ "wallet/root", "other", "ctx" }) do assert.is_nil(text:find(name, 1, true)) end
		assert.equal(384, uv.fs_stat(file).mode & 511) -- 0600
	end)

	it("has records in it where AUDIT_RECORDS says so", function()
		start({ AUDIT_RECORDS = "true" })
		expect.ok(app:put("some key", "value"))
		expect.ok(app:get("some key"))
		expect.refused(app:get("no such key"), 404, "not_found")
		expect.ok(app:list())
		expect.ok(app:delete("some key"))
		local key = name_hash(3, APP, "some key")
		assert.equal(key, events("put", 1)[1].name)
		assert.same({ key, "not_found" }, { events("get", 2)[1].name, events("get", 2)[2].code })
		assert.is_nil(events("list", 1)[1].name)
		assert.equal(key, events("delete", 1)[1].name)
		assert.same({}, audit_file.events(file, "refused"))
	end)

	backend.only("lasting keys", it)("chains and signs its lines, over a stop and a crash", function()
		start()
		expect.ok(app:derive({ path = "a" }))
		assert.equal(0, (node:stop()))
		local lines = audit_file.lines(file)
		assert.equal("signature", lines[#lines].event)
		assert.equal("stop", lines[#lines - 1].event)
		start()
		expect.ok(app:derive({ path = "b" }))
		events("derive", 2)
		node:kill()
		files.write(file, files.read(file) .. '{"seq":99,"prev":"00')
		start()
		node:stop()
		local text = files.read(file)
		local torn = text:match('({"seq":99,"prev":"00~\n)')
		assert.truthy(torn)
		files.write(file, (text:gsub('{"seq":99,"prev":"00~\n', "")))
		lines = audit_file.lines(file)
		local _, signatures = audit_file.check(lines, node.wallet)
		assert.is_true(signatures >= 2)
		local runs = audit_file.events(file, "start")
		assert.same({ 3, 0, 0, #torn }, { #runs, runs[1].torn, runs[2].torn, runs[3].torn })
		for i, line in ipairs(lines) do assert.equal(i, line.seq) end
	end)

	it("signs what is in it after some seconds, while it runs", function()
		start()
		-- On a slow machine there may be one before the last line of the start.
		local signature = events("signature", 1)[1]
		wait.until_true("all lines to be signed", function() return node:status().audit.unsigned_lines == 0 end)
		assert.is_true(select(2, audit_file.check(audit_file.lines(file), node.wallet)) >= 1)
		assert.equal(node.wallet, signature.wallet)
	end)

	it("has refusals of callers that are known in it, and none of strangers", function()
		start()
		local stranger = apps.new(node, "701", "not registered")
		expect.refused(app:derive({ path = "" , length = 5000 }), 400, "bad_request")
		expect.refused(http.request(node.port, {
			method = "POST", target = "/kms/derive", headers = { ["X-App-Wallet"] = app.identity.wallet }, body = "{}",
		}), 403, "unauthorized")
		expect.refused(stranger:derive({ path = "x" }), 403, "unauthorized")
		local refused = events("refused", 2)
		assert.same({ app.identity.wallet, APP, "derive", "bad_request", 400 },
			{ refused[1].wallet, refused[1].app, refused[1].op, refused[1].code, refused[1].status })
		assert.same({ stranger.identity.wallet, nil, "unauthorized" },
			{ refused[2].wallet, refused[2].app, refused[2].code })
		assert.equal(2, #refused)
		assert.same({}, audit_file.events(file, "derive"))
	end)

	it("counts refusals that come too often", function()
		start()
		local stranger = apps.new(node, "701", "not registered")
		local asked = flood(function() expect.refused(stranger:derive({ path = "x" }), 403, "unauthorized") end)
		local refused, told
		wait.until_true("all refusals to be counted", function()
			refused, told = #audit_file.events(file, "refused"), 0
			for _, line in ipairs(audit_file.events(file, "suppressed")) do
				assert.equal("-derive", line.of)
				told = told + math.tointeger(line.lines)
			end
			return refused + told == asked
		end)
		assert.is_true(refused >= 60 and told >= 1)
	end)

	it("counts refusals of instances that the chain keeps out apart, for each application", function()
		start()
		local stranger, revoked = apps.new(node, "701", "not registered"), apps.new(node, APP, "revoked")
		node:edit_chain(function(chain)
			local good = chain.instances[app.identity.wallet]
			chain.versions[APP .. "/2"] = { status = 2 }
			chain.instances[revoked.identity.wallet] = {
				id = "78", app_id = APP, version_id = "2", wallet = revoked.identity.wallet, operator = good.operator, url = "",
				registered_at = 0, status = 0, tee_pubkey = crypto.hex(revoked.identity.der), zk_verified = true,
			}
		end)
		local function refused_of(caller)
			wait.until_true("a line about " .. caller.identity.wallet, function()
				for _, line in ipairs(audit_file.events(file, "refused")) do
					if line.wallet == caller.identity.wallet then
						assert.equal(APP, line.app)
						return true
					end
				end
			end)
		end
		flood(function() expect.refused(stranger:derive({ path = "x" }), 403, "unauthorized") end, "-derive")
		expect.refused(revoked:derive({ path = "x" }), 403, "unauthorized", "version_revoked")
		refused_of(revoked)
		flood(function() expect.refused(revoked:derive({ path = "x" }), 403, "unauthorized") end, "instance/" .. APP)
		expect.refused(app:derive({ path = "", length = 5000 }), 400, "bad_request")
		refused_of(app)
	end)

	it("has policies, commands and secrets that were handed over in it", function()
		local policy = dir .. "/policy"
		assert(uv.fs_mkdir(policy, 448))
		start({ POLICY_DIR = policy })
		local before = node:status().policy.hash
		files.write(policy .. "/access.lua", 'return { derive = function() return false, "closed" end }\n')
		assert.equal(200, node:control("POST", "/reload").status or 200)
		expect.refused(app:derive({ path = "named" }), 403, "forbidden")
		local changed = events("policy", 1)[1]
		assert.same({ before, node:status().policy.hash }, { changed.before, changed.after })
		local refused = events("refused", 1)[1]
		assert.same({ name_hash(1, APP, "named"), "forbidden" }, { refused.name, refused.code })
		local command = events("command", 1)[1]
		assert.same({ "reload", 200, uv.getuid() }, { command.command, command.status, math.tointeger(command.uid) })
	end)

	it("says of which application a KMS node is that the chain keeps out", function()
		start()
		local peer = peers.new(node, "kept out")
		node:register({ peer })
		wait.until_true("the member to be known", function() return peer:ask_secret().status == 200 end)
		node:edit_chain(function(chain) chain.instances[peer.wallet].zk_verified = false end)
		wait.until_true("a line about its refusal", function()
			peer:ask_secret()
			for _, line in ipairs(audit_file.events(file, "refused")) do
				if line.wallet == peer.wallet and line.app == "49" and line.code == "forbidden" then return true end
			end
		end)
	end)

	it("has hand-overs of the master secret and bans in it, and a member that is refused", function()
		start()
		local peer = peers.new(node, "audited peer")
		node:register({ peer })
		wait.until_true("the member to be known", function() return peer:ask_secret().status == 200 end)
		assert.same({ peer.wallet, false }, { events("secret_handed", 1)[1].peer, events("secret_handed", 1)[1].attested })
		peer:join()
		for i = 1, 3 do
			local record = peer:record(APP, "k" .. i, "v")
			record.value = crypto.hex(crypto.random(40))
			expect.ok(peer:delta({ [APP] = { record } }))
		end
		wait.until_true("its ban", function()
			for _, ban in ipairs(audit_file.events(file, "ban")) do
				if ban.peer == peer.wallet and ban.cause == "poisoned_records" and ban.scope == "all" then return true end
			end
		end)
		-- Strangers cannot have its refusal counted only.
		local stranger = peers.new(node, "no member")
		flood(function() expect.refused(stranger:ask_secret(), 403, "forbidden") end)
		expect.refused(peer:delta({}), 403, "forbidden")
		assert.equal("-sync", audit_file.events(file, "suppressed")[1].of)
		wait.until_true("a line about its refusal", function()
			local refused = audit_file.events(file, "refused")
			local last = refused[#refused]
			return last and last.wallet == peer.wallet and not last.app and last.op == "sync" and last.code == "forbidden"
		end)
	end)
end)
