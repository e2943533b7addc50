-- `nova-kms call` and its kin against a running node: whole calls, as a user makes them.

local cjson = require("cjson")
local crypto = require("spec.support.crypto")
local exit = require("kms.cli.exit")
local files = require("spec.support.files")
local node = require("spec.support.node")

local MASTER = ("5a"):rep(32)
local APP_ID = "1000" -- the demo application of a local chain

describe("nova-kms against a node", function()
	local running, url, dir

	setup(function()
		running = node.start({ env = { MASTER_SECRET_HEX = MASTER } })
		url = "http://127.0.0.1:" .. running.port
		dir = files.temp_dir()
	end)

	teardown(function()
		if running then running:stop() end
		if dir then files.remove_dir(dir) end
	end)

	local function nova(name, ...)
		return node.run({ name, "--url", url, ... })
	end

	-- As the demo application, whose seed lies in DATA_DIR.
	local function call(name, ...)
		return node.run({ "call", name, "--url", url, ... }, { env = { DATA_DIR = running.dir } })
	end

	-- Through a shell, for redirections.
	local function shell(redirection, ...)
		local quoted = { "DATA_DIR='" .. running.dir .. "'", "'" .. node.program .. "'", "call" }
		for _, word in ipairs({ ... }) do quoted[#quoted + 1] = "'" .. word .. "'" end
		local pipe = assert(io.popen(("%s --url %s 2>&1 %s"):format(table.concat(quoted, " "), url, redirection)))
		local output = pipe:read("a")
		local _, _, code = pipe:close()
		return code, output
	end

	local function succeeds(want, code, out, err)
		assert.same({ 0, want, "" }, { code, out, err })
	end

	local function fails(want, pattern, code, out, err)
		assert.same({ want, "" }, { code, out })
		assert.truthy(err:find("^nova%-kms: [^\n]*\n$"), err)
		assert.truthy(err:find(pattern), err)
	end

	it("derives what the master secret, path, context and length say, in each format", function()
		local function want(path, context, length)
			return crypto.derive(crypto.unhex(MASTER), APP_ID, path, context, length)
		end
		local key = want("a/b", "", 32)
		succeeds(crypto.hex(key) .. "\n", call("derive", "--path", "a/b", "--format", "hex"))
		succeeds(key, call("derive", "--path", "a/b", "--format", "raw"))
		succeeds(crypto.hex(want("a/b", "v1", 1024)) .. "\n",
			call("derive", "--path", "a/b", "--context", "v1", "--length", "1024", "--format", "hex"))
		local _, base64 = call("derive", "--path", "a/b")
		local code, json = call("derive", "--path", "a/b", "--json")
		assert.equal(0, code)
		local answer = cjson.decode(json)
		assert.same({ base64, "a/b", 32, 1000 }, { answer.key .. "\n", answer.path, answer.length, answer.app_id })
		assert.equal(44 + 1, #base64)
	end)

	it("puts, gets, lists and deletes, whatever the bytes", function()
		local bytes = {}
		for i = 0, 255 do bytes[#bytes + 1] = string.char(i) end
		local value = table.concat(bytes):rep(4096) -- 1 MiB, the largest by default
		files.write(dir .. "/value", value)
		local key = "odd/../k ?&%+\xc3\xa4\"'\\"
		local code, out = call("put", "--key", key, "--value-file", dir .. "/value")
		assert.equal(0, code)
		assert.truthy(out:find("^stored odd/%.%./k"), out)
		succeeds(value, call("get", "--key", key))
		assert.equal(0, (call("put", "--key", "empty", "--value", "", "--require-pop")))
		succeeds("", call("get", "--key", "empty"))
		succeeds("\n", call("get", "--key", "empty", "--format", "base64"))
		code, out = call("list", "--json")
		assert.equal(0, code)
		assert.same({ "empty", key }, cjson.decode(out).keys)
		assert.equal(0, (call("delete", "--key", key)))
		fails(exit.FAILED, "HTTP 404 not_found", call("get", "--key", key))
		fails(exit.FAILED, "HTTP 404 not_found", call("delete", "--key", key))
		succeeds("empty\n", call("list"))
	end)

	it("stores what comes from the standard input, and refuses one byte more than a node takes", function()
		files.write(dir .. "/value", "from\0stdin\n")
		assert.equal(0, (shell("< " .. dir .. "/value", "put", "--key", "in", "--value-file", "-")))
		succeeds("from\0stdin\n", call("get", "--key", "in"))
		files.write(dir .. "/value", ("x"):rep((1 << 20) + 1))
		fails(exit.FAILED, "HTTP 400 bad_request", call("put", "--key", "in", "--value-file", dir .. "/value"))
		files.write(dir .. "/value", ("x"):rep((16 << 20) + 1))
		fails(exit.USAGE, "larger than allowed", call("put", "--key", "in", "--value-file", dir .. "/value"))
		succeeds("from\0stdin\n", call("get", "--key", "in"))
	end)

	it("says when its answer cannot be written", function()
		local code, out = shell("> /dev/full", "derive", "--path", "p")
		assert.equal(exit.FAILED, code)
		assert.truthy(out:find("^nova%-kms: cannot write the result: [^\n]*\n$"), out)
	end)

	it("believes the node that it was told, and no other", function()
		local function pinned(wallet, pubkey)
			return call("derive", "--path", "p", "--node-wallet", wallet, "--node-pubkey", pubkey)
		end
		local other = crypto.made_up("another node")
		local pubkey = crypto.hex(running.der)
		assert.equal(0, (pinned(running.wallet, pubkey)))
		-- Another wallet: what is signed for it is refused already by the node.
		fails(exit.FAILED, "HTTP 403 unauthorized", pinned(other.wallet, pubkey))
		-- Another key: the node cannot read what is sealed to it.
		fails(exit.FAILED, "HTTP 400 bad_request", pinned(running.wallet, crypto.hex(other.der)))
		-- In version 1 a listing has nothing that is sealed to it.
		local code, _, err = call("list", "--allow-v1", "--node-wallet", running.wallet,
			"--node-pubkey", crypto.hex(other.der))
		assert.equal(exit.UNVERIFIED, code)
		assert.truthy(err:find("is not trusted", 1, true))
	end)

	it("is refused with an identity that nobody registered", function()
		local seed = dir .. "/stranger.seed"
		assert.equal(0, (node.run({ "keygen", seed })))
		fails(exit.FAILED, "HTTP 403 unauthorized", call("derive", "--path", "p", "--seed", seed))
	end)

	it("shows status and members", function()
		local code, out = nova("status")
		assert.equal(0, code)
		assert.truthy(out:find("service    available\n", 1, true))
		assert.truthy(out:find(running.wallet, 1, true))
		code, out = nova("status", "--json")
		assert.equal(0, code)
		assert.equal(running.wallet, cjson.decode(out).node.tee_wallet)
		code, out = nova("nodes")
		assert.equal(0, code)
		assert.truthy(out:find(running.wallet .. "  ACTIVE", 1, true))
	end)
end)
