-- What is left of a session: nothing outside guarded memory while it is open, nothing at all once it has ended, and
-- nothing that whoever recorded it could open with the keys of wallets and teePubkeys (docs/protocol.md section 15.4).

local apps = require("spec.support.app")
local backend = require("spec.support.backend")
local crypto = require("spec.support.crypto")
local files = require("spec.support.files")
local memory = require("spec.support.memory")
local nodes = require("spec.support.node")
local recorded = require("spec.support.recorded_session")
local sessions = require("spec.support.session_client")
local wait = require("spec.support.wait")

local MASTER = crypto.keccak256("the master secret behind sessions")

local function start()
	local node = nodes.start({ env = { MASTER_SECRET_HEX = crypto.hex(MASTER) } })
	local app = apps.new(node, "400", "secrecy")
	node:register({ app })
	return node, app
end

describe("the memory of a node with sessions", function()
	-- Uses the session in all ways. Returns what went through it that is secret.
	local function exercise(session, name)
		local value = crypto.random(60000)
		local found = {
			[name .. " value"] = value:sub(1, 48), [name .. " value's end"] = value:sub(-48),
			[name .. " derived"] = crypto.derive(MASTER, "400", name),
			[name .. " array"] = crypto.derive(MASTER, "400", "0" .. name),
			[name .. " shared"] = session.opening.shared,
		}
		local operations = { { op = "put", key = name, value = crypto.base64(value) }, { op = "get", key = name } }
		for i = 0, 40 do operations[#operations + 1] = { op = "derive", path = i .. name } end
		assert.equal(value, crypto.unbase64(session:call(operations)[2].value))
		assert.equal(200, session:call({ op = "derive", path = name }).status)
		assert.equal(404, session:call({ op = "get", key = "none" }).status)
		return found
	end

	it("holds keys and contents in guarded memory only, and no key of a session that has ended", function()
		local reason = memory.node_obstacle()
		if reason then
			print("memory scan skipped: " .. reason)
			return pending(reason)
		end
		local node, app = start()
		finally(function() node:stop() end)
		local secrets, open, ended = {}, {}, {}
		for i = 1, 3 do
			open[i], ended[i] = sessions.open(app), sessions.open(app)
			for name, secret in pairs(exercise(open[i], "open " .. i)) do secrets[name] = secret end
			for name, secret in pairs(exercise(ended[i], "ended " .. i)) do secrets[name] = secret end
			for kind, list in pairs({ open = open, ended = ended }) do
				secrets[("%s %d c2s"):format(kind, i)], secrets[("%s %d s2c"):format(kind, i)] = list[i].c2s, list[i].s2c
			end
		end
		local sids = {}
		for i, session in ipairs(ended) do sids[i] = session.grant.sid end
		sessions.open(app, { ends = sids })
		app:close()
		local hits
		-- A connection's last work may just be ending.
		wait.until_true("the plaintexts to be wiped", function()
			hits = memory.scan(node.pid, secrets)
			local guarded = memory.count(hits, "guarded")
			for name in pairs(guarded) do
				if not name:find("^open %d c2s$") and not name:find("^open %d s2c$") then return false end
			end
			return true
		end)
		assert.equal("", memory.leaks(hits))
		local guarded = memory.count(hits, "guarded")
		for i = 1, 3 do
			-- The scanner finds what is there.
			assert.equal(1, guarded[("open %d c2s"):format(i)])
			assert.equal(1, guarded[("open %d s2c"):format(i)])
			assert.is_nil(guarded[("ended %d c2s"):format(i)])
			assert.equal(200, open[i]:call({ op = "derive", path = "p" }).status)
		end
	end)
end)

describe("the record of a session that has ended", function()
	backend.only("files", it)("does not open with both P-384 private keys", function()
		local node, app = start()
		finally(function() node:stop() end)
		local session = sessions.open(app)
		local request = session:seal('{"op":"derive","path":"recorded"}')
		assert.equal(200, sessions.post(app, request).status)
		local own = crypto.seed_identity(crypto.unhex(files.read(node.dir .. "/node.seed"):sub(1, 64)))
		local _, grant = recorded.envelopes(session, own, app.identity)
		assert.equal(session.grant.sid, grant.sid)
		assert.is_nil(recorded.attack(request, session, own, app.identity, { MASTER }))
		assert.truthy(recorded.with_erased(request, session, own, app.identity))
	end)
end)
