-- kms.snapshot.odyn: sealed snapshots in the platform's storage.

local native = require("spec.support.native")
local odyn_storage = require("spec.support.odyn_storage")
local snapshots = require("spec.support.snapshots")

local LIST, GET = "/v1/s3/list", "/v1/s3/get"

describe("kms.snapshot.odyn", function()
	local t, server, place

	before_each(function()
		t, server = snapshots.new(), odyn_storage.start()
		place = server:place()
		t.place = place
	end)
	after_each(function()
		server:stop()
		t:close()
	end)

	local function call(method, ...)
		local here = place(t.secret)
		return snapshots.wait(here[method], here, ...)
	end

	local WALLET = snapshots.WALLETS[1]

	local function fails(pattern, code, method, ...)
		local value, message, got = call(method, ...)
		assert.is_nil(value)
		assert.truthy(message:find(pattern, 1, true), message)
		assert.equal(code, got)
	end

	it("says that the storage may not be turned on, and repeats nothing of what the service says", function()
		server.status = 400
		assert.same({ nil, "Odyn POST /v1/s3/list: HTTP status 400: is the storage of this application turned on?",
			"ERR_TEE" }, { call("list") })
		fails("Odyn POST /v1/s3/get: HTTP status 400", "ERR_TEE", "read", WALLET, 1, "manifest")
		local _, message = call("read", WALLET, 1, "manifest")
		assert.is_nil(message:find("secret", 1, true))
		fails("HTTP status 400", "ERR_TEE", "write", WALLET, 1, "manifest", native.text_body("x"))
		fails("HTTP status 400", "ERR_TEE", "remove", WALLET, 1, "manifest")
	end)

	it("refuses values that are no base64, and takes none of them for a bad file", function()
		t:saved(1, "a", 2)
		for _, answer in ipairs({ '{"value":"AAE"}', '{"value":"A*=="}', '{"value":7}', "{}", "nothing", "" }) do
			server.answers[GET] = function() return answer end
			fails("file does not exist", "ERR_FILE_MISSING", "read", WALLET, 5, "manifest")
			local sequence = call("list")[WALLET].manifests[1]
			fails("Odyn POST /v1/s3/get: malformed answer", "ERR_TEE", "read", WALLET, sequence, "manifest")
		end
		local to = snapshots.store(snapshots.WALLETS[3])
		local restoring = t:restore(to)
		local ok, message = snapshots.wait(restoring.run, restoring, t.secret)
		assert.is_nil(ok)
		assert.truthy(message:find("malformed answer", 1, true), message)
		assert.is_nil(t:logged("a manifest of a sealed snapshot is not usable"))
		server.answers[GET] = nil
		assert.is_true(snapshots.wait(restoring.run, restoring, t.secret))
	end)

	it("reads objects up to 64 MiB, and takes a larger one for a bad file", function()
		local prefix = require("kms.snapshot.names").of_secret(t.secret)
		local key = ("%s/%s/%020d.manifest"):format(prefix, WALLET, 5)
		server.objects[key] = ("x"):rep(64 << 20)
		assert.equal(64 << 20, call("read", WALLET, 5, "manifest"):len())
		server.objects[key] = ("x"):rep((64 << 20) + 4096)
		fails("Odyn POST /v1/s3/get", "ERR_TOO_LARGE", "read", WALLET, 5, "manifest")
		server.objects[key] = nil
		t:saved(1, "a", 2)
		server.objects[("%s/%s/%020d.manifest"):format(prefix, WALLET, (1 << 53) - 1)] = ("x"):rep((64 << 20) + 4096)
		local to = snapshots.store(snapshots.WALLETS[3])
		assert.is_true(snapshots.wait(function() return t:restore(to):run(t.secret) end))
		assert.equal("a1 a2", t:keys(to))
	end)

	it("refuses listings that are malformed, or have no end", function()
		local page = 0
		local function lists(change)
			server.answers[LIST] = function(answer)
				page = page + 1
				return change(answer, page)
			end
		end
		for _, case in ipairs({
			{ function() return "nothing" end, "no JSON object" },
			{ function() return { is_truncated = false } end, "keys" },
			{ function() return { keys = { "a", 1 }, is_truncated = false } end, "keys" },
			{ function() return { keys = {}, is_truncated = true } end, "continuation_token" },
			{ function() return { keys = {}, is_truncated = true, continuation_token = ("x"):rep(4097) } end,
				"continuation_token" },
			{ function()
				local keys = {}
				for i = 1, 1001 do keys[i] = "a" end
				return { keys = keys, is_truncated = false }
			end, "keys" },
		}) do
			lists(case[1])
			fails("Odyn POST /v1/s3/list: malformed answer: " .. case[2], "ERR_TEE", "list")
		end
		lists(function() return { keys = {}, is_truncated = true, continuation_token = "again" } end)
		fails("the platform's storage gives the same page of its listing again", "ERR_HTTP", "list")
		page = 0
		lists(function(_, number) return { keys = {}, is_truncated = true, continuation_token = "page " .. number } end)
		fails("gives more than 1000 pages of its listing", "ERR_TOO_LARGE", "list")
		assert.equal(1000, page)
		lists(function() return ('{"x":"%s"}'):format(("x"):rep(9 << 20)) end)
		fails("Odyn POST /v1/s3/list", "ERR_TEE", "list")
	end)

	it("asks for the names of its own secret only", function()
		t:saved(1, "a", 1)
		local prefix = require("kms.snapshot.names").of_secret(t.secret) .. "/"
		assert.is_true(#server.requests > 4)
		for _, request in ipairs(server.requests) do
			assert.equal(prefix, request:match("^%S+ (.*/)0x") or request:match("^%S+ (.*)$"))
		end
	end)
end)
