--- `nova-kms attest`: exit codes by class of failure, what it prints, and what it refuses.

local cjson = require("cjson")
local cli = require("kms.cli")
local crypto = require("spec.support.crypto")
local exit = require("kms.cli.exit")
local files = require("spec.support.files")
local native = require("spec.support.native")

local REAL = os.getenv("KMS_ATTESTATION_SAMPLE") -- a real document, or nil
local NONCE = ("5a"):rep(32)
local STAMP = "1800000000.5"

describe("nova-kms attest", function()
	local dir, path, root

	local function nova(...)
		local out, err = {}, {}
		local code = cli.main({ "attest", ... }, {
			stdout = { write = function(_, ...) out[#out + 1] = table.concat({ ... }) end, flush = function() end },
			stderr = { write = function(_, ...) err[#err + 1] = table.concat({ ... }) end },
			env = function(name) return name == "DATA_DIR" and dir or nil end,
			root = ".", program = "nova-kms", native = function() return native end,
		})
		return code, table.concat(out), table.concat(err)
	end

	local function make(...)
		local code, out, err = nova("make", path, ...)
		assert.same({ 0, "" }, { code, err })
		return out
	end

	-- Verifies the made document at its own time; its exit code and the failure's name.
	local function verify(...)
		local code, out, err = nova("verify", path, "--root", dir .. "/attest-root.der", ...)
		if code == 0 then return code, out end
		assert.equal("", out)
		return code, (err:match("^nova%-kms: ([%w_]+): [^\n]+\n$"))
	end

	setup(function()
		dir = files.temp_dir()
		path = dir .. "/document"
		assert(native.seed_create(dir .. "/node.seed"))
		root = make("--time", STAMP, "--nonce", NONCE):match("its root is (%x+)\n$")
	end)
	teardown(function() files.remove_dir(dir) end)

	it("makes what it verifies", function()
		assert.equal(root, crypto.hex(native.sha256(files.read(dir .. "/attest-root.der"))))
		assert.same({ 0, "verified: simulated, made 2027-01-15T08:00:00.500Z\n" }, {
			verify("--time", STAMP, "--allow-debug", "--nonce", NONCE, "--max-age", "0"),
		})
		assert.same({ 0, "verified: simulated, made 2027-01-15T08:00:00.500Z\n", "" }, {
			nova("verify", path, "--root", "aws-nitro," .. root, "--time", "document", "--allow-debug"),
		})
	end)

	-- The option was refused, though a document's nonce may be empty.
	it("verifies a document whose nonce is empty", function()
		make("--time", STAMP, "--nonce", "")
		assert.same({ 0 }, { (verify("--time", STAMP, "--allow-debug", "--nonce", "")) })
		make("--time", STAMP, "--nonce", NONCE)
		assert.same({ exit.UNEXPECTED, "nonce" }, { verify("--time", STAMP, "--allow-debug", "--nonce", "") })
	end)

	it("exits by the class of the failure, and names it", function()
		local function expect(code, failure, ...)
			assert.same({ code, failure }, { verify(...) })
		end
		expect(exit.UNEXPECTED, "debug", "--time", STAMP)
		expect(exit.UNEXPECTED, "nonce", "--time", STAMP, "--allow-debug", "--nonce", "00")
		expect(exit.OUTDATED, "stale", "--time", "1800000001.501", "--allow-debug", "--max-age", "1")
		expect(exit.OUTDATED, "future", "--time", "1800000000.499", "--allow-debug")
		expect(exit.OUTDATED, "expired", "--time", "2028-01-01T00:00:00Z", "--allow-debug")
		expect(exit.OUTDATED, "not_yet_valid", "--time", "2027-01-15T07:59:56.999Z", "--allow-debug")
		local key = crypto.hex(native.attest_read(files.read(path)).public_key)
		assert.same({ 0 }, { (verify("--time", STAMP, "--allow-debug", "--public-key", "0x" .. key)) })
		for _, other in ipairs({ key:sub(1, -3), key:sub(1, -2) .. (key:sub(-1) == "0" and "1" or "0") }) do
			expect(exit.UNEXPECTED, "public_key", "--time", STAMP, "--allow-debug", "--public-key", other)
		end
		assert.equal(exit.USAGE, (nova("verify", path, "--time", STAMP, "--allow-debug", "--public-key", "")))
		assert.same({ 0 }, { (verify("--time", "2027-01-15T08:00:00Z", "--allow-debug", "--max-ahead", "1")) })
		local code, _, err = nova("verify", path, "--time", STAMP)
		assert.equal(exit.UNTRUSTED, code)
		assert.truthy(err:find("^nova%-kms: root: "))
		files.write(dir .. "/broken", files.read(path) .. "x")
		code, _, err = nova("verify", dir .. "/broken")
		assert.equal(exit.MALFORMED, code)
		assert.truthy(err:find("^nova%-kms: shape: "))
		code = nova("show", dir .. "/broken")
		assert.equal(exit.MALFORMED, code)
		local bytes = files.read(path)
		files.write(dir .. "/broken", bytes:sub(1, -2) .. string.char(bytes:byte(-1) ~ 1))
		code, _, err = nova("verify", dir .. "/broken", "--root", root, "--time", STAMP)
		assert.equal(exit.UNTRUSTED, code)
		assert.truthy(err:find("^nova%-kms: signature: "))
	end)

	it("reads a document in base64 and hex", function()
		local bytes, text = files.read(path), dir .. "/text"
		local base64 = native.base64_encode(bytes)
		for _, form in ipairs({
			base64, base64:gsub(("."):rep(64), "%0\n") .. "\n",
			(base64:gsub("[+/=]", { ["+"] = "-", ["/"] = "_", ["="] = "" })),
			crypto.hex(bytes), "0x" .. crypto.hex(bytes):upper() .. "\n",
		}) do
			files.write(text, form)
			assert.equal(0, (nova("verify", text, "--root", root, "--time", STAMP, "--allow-debug")))
		end
	end)

	it("says what a file is that is no document", function()
		for content, what in pairs({
			[""] = "is empty", ['{"document":"hEQ="}'] = "is JSON", ['"hEQ="'] = "is JSON",
			["123"] = "has an odd number of digits",
			["-----BEGIN CERTIFICATE-----"] = "is PEM", ["<html>"] = "is text, but neither", [("x"):rep(70000)] = "is larger",
		}) do
			files.write(dir .. "/text", content)
			local code, _, err = nova("verify", dir .. "/text")
			assert.equal(exit.MALFORMED, code)
			assert.truthy(err:find("/text " .. what, 1, true), err)
		end
		local _, _, err = nova("verify", dir)
		assert.truthy(err:find(dir .. ": Is a directory", 1, true), err)
	end)

	it("refuses a time in milliseconds, and a fraction without its point", function()
		for _, time in ipairs({ "1800000000500", "180000000050", "18000000005001" }) do
			local code, _, err = nova("verify", path, "--time", time)
			assert.equal(exit.USAGE, code)
			assert.truthy(err:find(time .. " looks like milliseconds", 1, true), err)
		end
		for _, time in ipairs({ "1800000000.", "1800000000.1234", "2027-01-15T08:00:00500Z" }) do
			assert.equal(exit.USAGE, (nova("verify", path, "--time", time)))
		end
	end)

	it("refuses a date that the calendar does not have, or from before Unix time", function()
		for _, time in ipairs({
			"2025-13-45T99:99:99Z", "2025-02-29T00:00:00Z", "2025-01-01T24:00:00Z", "1969-12-31T23:59:59Z",
		}) do
			for _, command in ipairs({ "make", "verify" }) do
				local code, out, err = nova(command, command == "make" and dir .. "/odd" or path, "--time", time)
				assert.same({ exit.USAGE, "" }, { code, out }, time)
				assert.truthy(err:find("^nova%-kms: %-%-time: allowed is Unix seconds"), err)
			end
		end
	end)

	it("lets the leaf begin ahead by --max-ahead", function()
		-- The leaf begins 3 s before the document.
		local ahead = "1799999995"
		assert.same({ exit.OUTDATED, "not_yet_valid" }, { verify("--time", ahead, "--allow-debug", "--max-ahead", "1") })
		assert.same({ 0 }, { (verify("--time", ahead, "--allow-debug", "--max-ahead", "6")) })
	end)

	it("compares with an allow-list, whose roots count too", function()
		local pcr = ("c4"):rep(48)
		files.write(dir .. "/list", ([[return { roots = { "%s" }, images = {
			{ name = "next", pcrs = { [0] = "%s", [1] = "%s", [2] = "%s", [8] = "%s" } } } }]]):format(root, pcr, pcr, pcr, pcr))
		assert.same({ exit.UNEXPECTED, "pcr" }, { verify("--time", STAMP, "--allow-debug", "--pcr", dir .. "/list") })
		make("--time", STAMP, "--pcr", dir .. "/list")
		assert.equal(0, (nova("verify", path, "--time", STAMP, "--pcr", dir .. "/list")))
		local _, out = nova("show", path, "--time", STAMP, "--pcr", dir .. "/list")
		assert.truthy(out:find("\nPCR8         " .. pcr .. " %(signing certificate%)\n"), out)
		assert.truthy(out:find("\nPCR zero     3 4 5 6 7 9 10", 1, true))
		make("--time", STAMP, "--nonce", NONCE)
	end)

	it("shows a document to people: what it says, what of it is trusted and why not", function()
		local code, out = nova("show", path, "--root", root, "--time", STAMP)
		assert.equal(0, code)
		for _, part in ipairs({
			"module       simulated (made by software, proves nothing about hardware)\n",
			"made         2027-01-15T08:00:00.500Z\n", "\nPCR zero     0 1 2 3 ", '\\"purpose\\":\\"public\\"',
			"\nnonce        " .. NONCE, "  1 nova-kms simulated attestation root\n",
			"    valid    2020-01-01T00:00:00Z to 2049-12-31T23:59:59Z\n", "SHA-256  " .. root,
			"  signature     passed: ", "  debug         failed: PCR0 is all zero", "  nonce         not reached\n",
			"\nNOT TRUSTED: PCR0 is all zero",
		}) do assert.truthy(out:find(part, 1, true), part .. "\n" .. out) end
		out = select(2, nova("show", path, "--root", root, "--time", STAMP, "--allow-debug"))
		assert.truthy(out:find("  debug         not asked: zeros are allowed\n", 1, true), out)
		assert.truthy(out:find("  nonce         not asked: no nonce was given\n", 1, true))
		assert.truthy(out:find("  public_key    not asked: no key was given\n", 1, true), out)
		assert.truthy(out:find("\nTRUSTED\n", 1, true))
	end)

	it("shows a document to programs", function()
		local code, out = nova("show", path, "--root", root, "--time", "2027-01-15T07:59:00Z", "--json")
		assert.equal(0, code)
		local shown = cjson.decode(out)
		assert.is_false(shown.trusted)
		assert.equal("not_yet_valid", shown.failure)
		assert.same({ name = "not_yet_valid", state = "failed", text = shown.message }, shown.checks[5])
		assert.equal("not reached", shown.checks[6].state)
		assert.equal(NONCE, shown.document.nonce)
		assert.is_true(shown.document.simulated)
		assert.equal(root, shown.document.chain[1].sha256)
		code, out = nova("verify", path, "--root", root, "--time", STAMP, "--allow-debug", "--json")
		assert.equal(0, code)
		shown = cjson.decode(out)
		assert.is_true(shown.trusted)
		assert.is_nil(shown.failure)
		code, out = nova("verify", dir .. "/node.seed", "--json")
		assert.equal(exit.MALFORMED, code)
		assert.equal("shape", cjson.decode(out).failure)
	end)

	it("says what is wrong with a command line", function()
		for want, argv in pairs({
			["give either a file"] = { "verify" }, ["give either"] = { "verify", path, "--url", "http://127.0.0.1" },
			["--nonce: 'xy' is not valid: allowed is an even number of hexadecimal digits"] = {
				"verify", path, "--nonce", "xy",
			},
			["--public-key: 'xy' is not valid: allowed is an even number of hexadecimal digits"] = {
				"verify", path, "--public-key", "xy",
			},
			["--nonce is for a file"] = { "verify", "--url", "http://127.0.0.1:1", "--nonce", "00" },
			["--time: allowed is"] = { "verify", path, "--time", "yesterday" },
			["--root: 'aws'"] = { "verify", path, "--root", "aws" },
			["--root: '" .. dir .. "/node.seed'"] = { "verify", path, "--root", dir .. "/node.seed" },
			["No such file"] = { "verify", dir .. "/none" },
			["none.lua: cannot be read: no such"] = { "show", path, "--pcr", dir .. "/none.lua" },
			["node.seed: file does not exist"] = { "make", path, "--seed", dir .. "/none/node.seed" },
			["--time: "] = { "make", path, "--time", "document" }, ["none/x: No such"] = { "make", dir .. "/none/x" },
		}) do
			local code, out, err = nova(table.unpack(argv))
			assert.same({ exit.USAGE, "" }, { code, out }, want)
			assert.truthy(err:find(want, 1, true), err)
		end
	end)

	describe("with the document of a real enclave", function()
		local real = REAL and files.read(REAL)

		local function test(name, body)
			it(name, function()
				if not real then return pending("no document of a real enclave here") end
				return body()
			end)
		end

		test("verifies it at its own time, and refuses it now and as what it is", function()
			assert.same({ 0, "verified: i-0d77c5a9ff8a7dbad-enc0199e6cadc8142c2, made 2025-10-16T02:54:42.550Z\n", "" }, {
				nova("verify", REAL, "--time", "2025-10-16T02:54:42.550Z", "--allow-debug", "--max-age", "0", "--nonce", ""),
			})
			local code, _, err = nova("verify", REAL, "--allow-debug")
			assert.equal(exit.OUTDATED, code)
			assert.truthy(err:find("^nova%-kms: expired: "))
			code, _, err = nova("verify", REAL, "--time", "document")
			assert.equal(exit.UNEXPECTED, code)
			assert.truthy(err:find("^nova%-kms: debug: "))
		end)

		test("gives its facts", function()
			local facts = assert(native.attest_verify(real, {
				roots = { native.attest_aws_root }, now_ms = 1760583282550, allow_debug = true, max_age_ms = 0,
				user_data = native.hex_decode("5134f3c14b171e9754a27adb1907c1dd0070470c"),
			}))
			assert.equal(5, facts.chain_len)
			assert.equal(120, #facts.public_key)
			assert.is_string(native.peer_point(facts.public_key))
			assert.equal("20c1e12d", native.hex_encode(facts.pcrs[4]):sub(1, 8))
			assert.equal("", facts.nonce)
			assert.equal(1760594082, facts.chain[5].not_after_s) -- 05:54:42
		end)

		-- Where a byte is, which bit of it is turned, and what is wrong then.
		test("names what is wrong with each of twenty corruptions", function()
			local function where(pattern, offset) return (assert(real:find(pattern, 1, true))) + (offset or 0) end
			local leaf, bundle = where("certificate", 14), where("cabundle", 12)
			local cases = {
				{ 1, "shape" }, -- the array of four
				{ 5, "shape" }, -- the algorithm
				{ 7, "shape" }, -- the unprotected map
				{ 9, "shape" }, -- the length of the payload
				{ where("module_id", 3), "shape" }, -- a field's name
				{ where("module_id", 20), "signature" }, -- the module
				{ where("SHA384", 2), "signature" },
				{ where("timestamp", 16), "signature" },
				{ where("pcrs") + 4, "shape" }, -- how many there are
				{ where("pcrs") + 8 + 30, "signature" }, -- within PCR0
				{ where("pcrs") + 8 + 51 + 20, "signature" }, -- within PCR1
				{ leaf + 200, "chain" }, -- the leaf's body
				{ leaf + 640, "chain" }, -- its signature
				{ bundle + 3, "root" }, -- the first byte of the root
				{ bundle + 300, "root" }, -- its key
				{ bundle + 536 + 3 + 100, "chain" }, -- the second certificate
				{ bundle + 536 + 715 + 3 + 400, "chain" }, -- the third
				{ where("public_key", 60), "signature" },
				{ where("user_data", 15), "signature" },
				{ #real - 40, "signature" }, -- of the document
			}
			assert.equal(20, #cases)
			for _, case in ipairs(cases) do
				local at, want = case[1], case[2]
				local bytes = real:sub(1, at - 1) .. string.char(real:byte(at) ~ 2) .. real:sub(at + 1)
				local facts, _, code, failure = native.attest_verify(bytes, {
					roots = { native.attest_aws_root }, now_ms = 1760583282550, allow_debug = true,
				})
				assert.is_nil(facts)
				assert.equal("ERR_ATTEST", code)
				assert.equal(want, failure, "byte " .. at)
			end
		end)

		test("accepts no other byte anywhere", function()
			for at = 1, #real, 5 do
				local byte = real:byte(at) ~ (1 << at % 8)
				local bytes = real:sub(1, at - 1) .. string.char(byte) .. real:sub(at + 1)
				local facts, _, code = native.attest_verify(bytes, {
					roots = { native.attest_aws_root }, now_ms = 1760583282550, allow_debug = true,
				})
				assert.is_nil(facts, "byte " .. at)
				assert.equal("ERR_ATTEST", code, "byte " .. at)
			end
		end)
	end)
end)
