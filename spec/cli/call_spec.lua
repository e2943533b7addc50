-- The commands that talk to nodes or make identities: what they refuse, what they print, and
-- with which exit code. Whole calls against a running node are in spec/e2e.

local uv = require("luv")
local exit = require("kms.cli.exit")
local cli = require("kms.cli")
local loopback = require("spec.support.loopback")
local native = require("spec.support.native")

local reply = loopback.reply

local dir

-- Runs a command line; its exit code, output and errors.
local function nova(argv, env)
	local out, err = {}, {}
	local code = cli.main(argv, {
		stdout = { write = function(_, ...) out[#out + 1] = table.concat({ ... }) end, flush = function() end },
		stderr = { write = function(_, ...) err[#err + 1] = table.concat({ ... }) end },
		env = function(name) return (env or {})[name] end,
		root = ".", program = "nova-kms", native = function() return native end,
	})
	return code, (table.concat(out):gsub("\n$", "")), (table.concat(err):gsub("\n$", ""))
end

-- The same in another process, so that a server in this one can answer.
local function nova_process(argv)
	local quoted = {}
	for i, word in ipairs(argv) do quoted[i] = ("%q"):format(word) end
	local path = dir .. "/run.lua"
	local file = assert(io.open(path, "w"))
	file:write(([[
		package.path, package.cpath = %q, %q
		local cli = require("kms.cli")
		local code = cli.main({ %s }, cli.world("."))
		require("luv").run("nowait") -- as lua/main.lua
		os.exit(code, true)
	]]):format(package.path, package.cpath, table.concat(quoted, ", ")))
	file:close()
	local co, output, left, status = coroutine.running(), "", 3, nil
	local out, err = loopback.own(uv.new_pipe()), loopback.own(uv.new_pipe())
	local function finished()
		left = left - 1
		if left == 0 then coroutine.resume(co) end
	end
	loopback.own((assert(uv.spawn("lua5.4", { args = { path }, stdio = { nil, out, err } }, function(code)
		status = code
		finished()
	end))))
	for _, pipe in ipairs({ out, err }) do
		pipe:read_start(function(_, data)
			if data then output = output .. data else finished() end
		end)
	end
	coroutine.yield()
	return status, output
end

local function by_path(pages)
	return loopback.serve(function(connection, bytes)
		if not loopback.length_of(bytes) then return false end
		connection:write(pages[bytes:match("^%u+ ([^ ?]+)")] or reply("{}", nil, "404 Not Found"))
		return true
	end)
end

describe("command", function()
	setup(function()
		dir = os.tmpname()
		os.remove(dir)
		assert(uv.fs_mkdir(dir, 448))
	end)

	teardown(function()
		for _, name in ipairs({ "run.lua", "a.seed", "app.seed", "demo-app.seed", "value", "open.seed" }) do
			os.remove(dir .. "/" .. name)
		end
		uv.fs_rmdir(dir)
	end)

	describe("keygen", function()
		it("makes an identity and shows only its public halves", function()
			local path = dir .. "/a.seed"
			local code, out, err = nova({ "keygen", path })
			assert.same({ 0, "" }, { code, err })
			assert.truthy(out:find("^wallet     0x" .. ("%x"):rep(40) .. "\ntee_pubkey " .. ("%x"):rep(240) .. "$"))
			local stat = uv.fs_stat(path)
			assert.equal(384, stat.mode & 511) -- 0600
			local file = assert(io.open(path))
			local seed = file:read("a"):match("%x+")
			file:close()
			assert.equal(64, #seed)
			assert.is_nil(out:find(seed, 1, true))

			local again
			code, again = nova({ "keygen", "--show", path })
			assert.same({ 0, out }, { code, again })
			code, again = nova({ "keygen", "--show", path, "--json" })
			assert.equal(0, code)
			assert.truthy(again:find(out:match("0x%x+"), 1, true))
			assert.is_nil(again:find(seed, 1, true))
		end)

		it("never overwrites, and says what is wrong", function()
			local path = dir .. "/a.seed"
			for _, case in ipairs({
				{ { "keygen", path }, "the file exists and is never overwritten" },
				{ { "keygen", dir .. "/no/such/folder.seed" }, "does its folder exist?" },
				{ { "keygen", "--show", dir .. "/none" }, "file does not exist" },
				{ { "keygen", "--show", dir }, "mode must be 0600" },
				{ { "keygen" }, "FILE is missing" },
			}) do
				local code, out, err = nova(case[1])
				assert.is_true(code == exit.USAGE or code == exit.FAILED)
				assert.equal("", out)
				assert.truthy(err:find(case[2], 1, true), err)
			end
			local open = dir .. "/open.seed"
			assert.equal(0, (nova({ "keygen", open })))
			assert(uv.fs_chmod(open, 416)) -- 0640
			local code, _, err = nova({ "keygen", "--show", open })
			assert.equal(exit.USAGE, code)
			assert.truthy(err:find("readable by others", 1, true))
		end)
	end)

	describe("call", function()
		local seed

		setup(function()
			seed = dir .. "/app.seed"
			assert.equal(0, (nova({ "keygen", seed })))
		end)

		it("refuses a wrong command line before anything is sent", function()
			for _, case in ipairs({
				{ "derive" }, { "derive", "--path" }, { "derive", "--path", "p", "--length", "0" },
				{ "derive", "--path", "p", "--length", "1025" }, { "derive", "--path", "p", "--length", "1.5" },
				{ "derive", "--path", "p", "--format", "der" }, { "derive", "--path", "p", "--json", "--format", "hex" },
				{ "derive", "--path", "p", "--key", "k" }, { "derive", "--path", "p", "extra" },
				{ "derive", "--path", "p", "--timeout", "0" }, { "derive", "--path", "p", "--timeout", "3601" },
				{ "put", "--value", "v" }, { "put", "--key", "k" },
				{ "put", "--key", "k", "--value", "v", "--value-file", "-" },
				{ "put", "--key", "k", "--value", "v", "--ttl-ms", "-1" },
				{ "put", "--key", "k", "--value-file", dir .. "/none" },
				{ "get" }, { "delete" }, { "list", "--key", "k" }, { "burn" }, {},
				{ "derive", "--path", "p", "--seed", dir .. "/none" },
				{ "derive", "--path", "p", "--seed", seed, "--url", "ftp://x/" },
				{ "derive", "--path", "p", "--seed", seed, "--url", "http://u@x/" },
				{ "derive", "--path", "p", "--seed", seed, "--node-wallet", "0x12", "--node-pubkey", "00" },
			}) do
				local code, out, err = nova({ "call", table.unpack(case) })
				assert.same({ table.concat(case, " "), exit.USAGE, "" }, { table.concat(case, " "), code, out })
				assert.is_true(#err > 0)
			end
		end)

		it("names what is wrong, and what is allowed", function()
			for words, case in pairs({
				["--node-pubkey: '04000000000000000000000000000...' is no P-384 key"] = {
					"derive", "--path", "p", "--seed", seed, "--url", "http://a", "--node-pubkey", "04" .. ("0"):rep(192),
				},
				["--key is empty: a key has at least one byte"] = { "put", "--key", "", "--value", "v" },
				["--key is empty: a key has at least"] = { "get", "--key", "", "--seed", seed },
				["not a file, or readable by others: mode must be 0600"] = { "derive", "--path", "p", "--seed", dir },
				["unknown option '--ttl', did you mean '--ttl-ms'?"] = { "put", "--key", "k", "--value", "v", "--ttl=5" },
			}) do
				local code, _, err = nova({ "call", table.unpack(case) })
				assert.equal(exit.USAGE, code)
				assert.truthy(err:find(words, 1, true), err)
			end
		end)

		it("takes the demo application's seed from DATA_DIR", function()
			local code, _, err = nova({ "call", "list" }, { DATA_DIR = dir })
			assert.equal(exit.USAGE, code)
			assert.equal(("nova-kms: seed %s/demo-app.seed: file does not exist; name your application's with --seed"):format(
				dir), err)
			code, _, err = nova({ "call", "list" }, { DATA_DIR = "" })
			assert.equal(exit.USAGE, code)
			assert.truthy(err:find("seed data/demo-app.seed: ", 1, true))
		end)

		it("says that a node cannot be reached", function()
			local gone = uv.new_tcp() -- keeps its port, and does not listen
			finally(function() gone:close() end)
			gone:bind("127.0.0.1", 0)
			local url = "http://127.0.0.1:" .. gone:getsockname().port
			local code, out, err = nova({ "call", "derive", "--path", "p", "--seed", seed, "--url", url })
			assert.same({ exit.UNREACHABLE, "" }, { code, out })
			assert.truthy(err:find("^nova%-kms: [^\n]+$"), err)
		end)

		it("says why a node refuses, and does not believe another's answer", function()
			loopback.run(function()
				local _, public = nova({ "keygen", "--show", seed, "--json" })
				local pin = { public:match("0x%x+"), public:match('"tee_pubkey":"(%x+)"') }
				local server = by_path({
					["/nonce"] = reply('{"nonce":"AAAAAAAAAAAAAAAAAAAAAA=="}'),
					["/kms/derive"] = reply('{"code":"unauthorized","message":"not registered"}', nil, "403 Forbidden"),
					["/kms/data"] = reply('{"sender_tee_pubkey":"00","nonce":"00","encrypted_data":"00"}'),
				})
				local function call(...)
					local argv = { "call", ... }
					for _, word in ipairs({ "--seed", seed, "--url", server.url, "--node-wallet", pin[1],
						"--node-pubkey", pin[2], "--known-nodes", "-" }) do argv[#argv + 1] = word end
					return nova_process(argv)
				end
				local code, out = call("derive", "--path", "p", "--allow-v1")
				assert.same({ exit.FAILED, "nova-kms: HTTP 403 unauthorized: not registered\n" }, { code, out })
				code, out = call("list", "--allow-v1")
				assert.same({ exit.UNVERIFIED, "nova-kms: the response is not trusted: invalid signature\n" },
					{ code, out })
			end)
		end)

		it("tells in its help what is trusted", function()
			local code, out = nova({ "call", "put", "--help" })
			assert.equal(0, code)
			assert.truthy(out:find("is trusted, so any server\nat the URL is", 1, true))
			assert.truthy(out:find("Other users of this machine can see --value", 1, true))
		end)
	end)

	describe("a busy node", function()
		-- Answers the first request with `first`, all others with a refusal.
		local function busy_once(first)
			local count = 0
			return loopback.serve(function(connection, bytes)
				if not loopback.length_of(bytes) then return false end
				count = count + 1
				connection:write(count == 1 and first or
					reply('{"code":"unauthorized","reason":"not_registered","message":"no"}', nil, "403 Forbidden"))
				return true
			end).url
		end

		it("is shown with the time to wait, and called again only with --retry", function()
			loopback.run(function()
				local seed = dir .. "/app.seed"
				os.remove(seed)
				assert.equal(0, (nova({ "keygen", seed })))
				local words = { "call", "derive", "--path", "p", "--known-nodes=-", "--seed", seed, "--url" }
				local first = reply('{"code":"rate_limited","message":"slow"}', "Retry-After: 1\r\n", "429 Too Many Requests")
				local once = { table.unpack(words) }
				once[9] = busy_once(first)
				local code, out = nova_process(once)
				assert.equal(exit.FAILED, code)
				assert.truthy(out:find("HTTP 429 rate_limited: slow (Retry-After: 1 s)", 1, true), out)
				local began = uv.hrtime()
				local again = { table.unpack(words) }
				again[9], again[10] = busy_once(first), "--retry"
				code, out = nova_process(again)
				assert.equal(exit.FAILED, code)
				assert.truthy(out:find("calling again in 1 s", 1, true), out)
				assert.truthy(out:find("HTTP 403 unauthorized (not_registered): no", 1, true), out)
				assert.is_true(uv.hrtime() - began >= 1e9)
			end)
		end)
	end)

	describe("status and nodes", function()
		local status = '{"node":{"tee_wallet":"0xab","tee_pubkey":"30","node_url":"http://n","service_available":false,' ..
			'"service_unavailable_reason":"clock\\u001b[2J","master_secret":{"state":"synced","synced_from":"http://o"}},' ..
			'"cluster":{"kms_app_id":9,"registry_address":null,"total_instances":3},"data_store":{"namespaces":1,' ..
			'"total_keys":2,"total_bytes":345}}'
		local nodes = '{"count":1,"operators":[{"operator":"0x1","instance":{"tee_wallet":"0xab","version_id":4,' ..
			'"zk_verified":true,"instance_url":"http://n","instance_status":{"value":0,"name":"ACTIVE"}}}]}'

		it("print what a node says, for people and for scripts", function()
			loopback.run(function()
				local url = by_path({ ["/status"] = reply(status), ["/nodes"] = reply(nodes) }).url
				local code, out = nova_process({ "status", "--url", url .. "/" })
				assert.equal(0, code)
				assert.equal("node       http://n\nwallet     0xab\npubkey     30\nservice    unavailable: clock\\x1b[2J\n" ..
					"secret     synced from http://o\ncluster    application 9, 3 instances\n" ..
					"store      2 keys in 1 namespace, 345 bytes\n", out)
				local failed = status:gsub("}$", ',"policy":{"last_error":{"mistakes":2,"first":"access.lua:2: x"}}}')
				code, out = nova_process({ "status", "--url", by_path({ ["/status"] = reply(failed) }).url })
				assert.equal(0, code)
				assert.truthy(out:find("\nreload     failed, the policies before it stay in force (2 mistakes): access.lua:2: x\n",
					1, true), out)
				code, out = nova_process({ "status", "--json", "--url", url })
				assert.same({ 0, status .. "\n" }, { code, out })
				code, out = nova_process({ "nodes", "--url", url })
				assert.same({ 0, "WALLET  STATUS  VERSION  VERIFIED  URL\n0xab    ACTIVE  4        true      http://n\n" },
					{ code, out })
				code, out = nova_process({ "nodes", "--json", "--url", url })
				assert.same({ 0, nodes .. "\n" }, { code, out })
			end)
		end)

		it("say for whom a node waits before it serves, and how to end that", function()
			loopback.run(function()
				local function lines_of(members)
					local page = status:gsub('"service_available"', members:gsub("%%", "%%%%") .. ',"service_available"')
					local _, out = nova_process({ "status", "--url", by_path({ ["/status"] = reply(page) }).url })
					return out:match("\n(waits for.-)secret ")
				end
				local members = '"store_waits_for":[{"wallet":"0x1","state":"does not answer"}]'
				local waits = "waits for  0x1, which does not answer\n"
				local by_hand = "; SERVE_ALONE=true: at once, without what only they hold\n"
				assert.equal(waits .. "alone      it serves without them in 212 s" .. by_hand,
					lines_of(members .. ',"store_alone":false,"store_alone_in_s":212'))
				assert.equal(waits .. "alone      it never serves without them, since one answers" .. by_hand,
					lines_of(members .. ',"store_alone_in_s":null'))
				assert.equal(waits .. "alone      it serves without what only they hold, until they are back\n",
					lines_of(members .. ',"store_alone":true,"store_alone_in_s":0'))
			end)
		end)

		it("survive whatever comes", function()
			loopback.run(function()
				for _, page in ipairs({ "{}", '{"node":{"store_waits_for":[1,{"wallet":{}}]}}',
					'{"node":1,"operators":[1,{"instance":2},null]}', '{"operators":{}}' }) do
					local url = by_path({ ["/status"] = reply(page), ["/nodes"] = reply(page) }).url
					assert.equal(0, (nova_process({ "status", "--url", url })))
					assert.equal(0, (nova_process({ "nodes", "--url", url })))
				end
				for page, want in pairs({
					[reply("[")] = exit.FAILED, [reply("1")] = exit.FAILED,
					[reply("{}", nil, "500 X")] = exit.FAILED, ["garbage\r\n\r\n"] = exit.FAILED,
				}) do
					local url = by_path({ ["/status"] = page }).url
					assert.equal(want, (nova_process({ "status", "--url", url })))
				end
			end)
		end)
	end)
end)
