-- The parts of a devnet, without a chain: calls of its owner, ports, the folder, child processes.
-- Whole devnets are in spec/cluster.

local abi = require("devnet.abi")
local files = require("spec.support.files")
local folder = require("devnet.folder")
local loopback = require("spec.support.loopback")
local native = require("spec.support.native")
local ports = require("devnet.ports")
local process = require("devnet.process")
local uv = require("luv")
local wait = require("spec.support.wait")

local WALLET = "0x" .. ("Ab"):rep(20)

describe("devnet.abi", function()
	it("encodes calls as the core does", function()
		assert.equal(native.abi_call("getVersion", "7", "18446744073709551615"),
			abi.call("getVersion(uint256,uint256)", 7, "18446744073709551615"))
		assert.equal(native.abi_call("getInstanceByWallet", WALLET), abi.call("getInstanceByWallet(address)", WALLET))
		assert.equal(native.abi_call("masterSecretHash"), abi.call("masterSecretHash()"))
	end)

	it("puts text and bytes behind the words", function()
		local word = abi.word
		assert.equal(word(96) .. word(1) .. word(160) .. word(3) .. "616263" .. ("0"):rep(58) .. word(0),
			abi.arguments("f(string,bool,bytes)", "abc", true, ""))
		local long = ("x"):rep(33)
		assert.equal(word(32) .. word(33) .. ("78"):rep(33) .. ("0"):rep(62), abi.arguments("f(string)", long))
		assert.equal(("5a"):rep(32), abi.arguments("f(bytes32)", "0x" .. ("5a"):rep(32)))
	end)

	it("takes as many arguments as the function has", function()
		assert.has_error(function() abi.call("f(bool,bool)", true) end, "f(bool,bool): too few arguments")
		assert.has_error(function() abi.call("f(bool)", true, true) end, "f(bool): too many arguments")
	end)
end)

describe("devnet.ports", function()
	it("finds free ones, each another", function()
		local found, seen = assert(ports.plan(0, 3)), {}
		for _, port in ipairs({ found.chain, found.s3, table.unpack(found.nodes) }) do seen[port] = true end
		for _, list in ipairs({ found.odyn, found.metrics }) do
			for _, port in ipairs(list) do seen[port] = true end
		end
		local count = 0
		for port in pairs(seen) do count = count + (port > 0 and 1 or 0) end
		assert.equal(11, count)
	end)

	it("lays them out from a base", function()
		local base, found
		repeat -- others on this machine open ports, too
			base = assert(ports.plan(0, 1)).chain
			found = ports.plan(base, 1)
		until found
		assert.same({ chain = base, s3 = base + 40, nodes = { base + 1 }, odyn = { base + 51 }, metrics = { base + 21 } },
			found)
	end)

	it("finds some for what a devnet of an earlier version had none for", function()
		local found = assert(ports.check({ chain = 0, nodes = { 0, 0 }, odyn = { 0, 0 } }))
		assert.is_true(found.s3 > 0 and found.metrics[1] > 0 and found.metrics[2] > 0)
	end)

	it("names the one that is in use", function()
		loopback.run(function()
			local server = loopback.serve()
			local found, message = ports.plan(server.port, 1)
			assert.is_nil(found)
			assert.truthy(message:find(("port %d of 127.0.0.1 is not free"):format(server.port), 1, true), message)
		end)
	end)
end)

describe("devnet.folder", function()
	local dir

	before_each(function() dir = files.temp_dir() end)
	after_each(function() files.remove_dir(dir) end)

	it("is cleared of what a devnet made, and of nothing else", function()
		assert(folder.prepare(dir))
		files.write(dir .. "/chain/state.json", "{}")
		files.write(dir .. "/mine", "kept")
		assert(folder.prepare(dir))
		assert.is_nil(files.read(dir .. "/chain/state.json"))
		assert.equal("kept", files.read(dir .. "/mine"))
	end)

	it("is refused where it is not a devnet's", function()
		files.write(dir .. "/mine", "kept")
		local ok, message = folder.prepare(dir)
		assert.is_nil(ok)
		assert.truthy(message:find("contains other files", 1, true), message)
		assert.is_nil(uv.fs_stat(dir .. "/chain"))
	end)

	it("keeps what is there where there is something to keep", function()
		local ok, message = folder.prepare(dir, true)
		assert.is_nil(ok)
		assert.truthy(message:find("no devnet", 1, true), message)
		assert(folder.prepare(dir))
		assert.is_nil((folder.prepare(dir, true))) -- it never got as far as a chain
		assert(folder.record(dir, { registry = { kms_app_id = 1 } }))
		files.write(dir .. "/chain/state.json", "{}")
		assert(folder.prepare(dir, true))
		assert.equal("{}", files.read(dir .. "/chain/state.json"))
		assert.equal(1, folder.known(dir).registry.kms_app_id)
	end)
end)

describe("devnet.process", function()
	local dir

	before_each(function() dir = files.temp_dir() end)
	after_each(function() files.remove_dir(dir) end)

	local function start(args, options)
		options = options or {}
		return assert(process.start({
			program = "/bin/sh", args = { "-c", args }, env = options.env or {}, log = dir .. "/log", on_end = options.on_end,
		}))
	end

	it("has its own environment and its output in a file", function()
		loopback.run(function()
			local one = start("echo $NAME; echo $HOME; echo err >&2; exit 3", { env = { NAME = "value" } })
			assert.is_true(one:wait(10000))
			assert.equal("ended with status 3", one:ending())
			assert.equal("value\n\nerr\n", files.read(dir .. "/log"))
		end)
	end)

	it("tells of an end that nobody asked for, and of no other", function()
		loopback.run(function()
			local ended = {}
			local function on_end(one) ended[#ended + 1] = one:ending() end
			local stopped = start("exec sleep 60", { on_end = on_end })
			local killed = start("exec sleep 60", { on_end = on_end })
			local failed = start("exec sleep 60", { on_end = on_end })
			assert.is_true(stopped:stop(10000))
			killed:kill()
			uv.kill(failed.pid, "sigkill")
			assert.is_true(failed:wait(10000))
			assert.same({ "was ended by signal 9" }, ended)
			assert.is_false(stopped:alive() or killed:alive())
			stopped:kill() -- again is fine
		end)
	end)

	it("is ended where it does not end by itself", function()
		loopback.run(function()
			local one = start("trap '' TERM; echo ready; while :; do sleep 0.1; done")
			wait.until_true("the trap", function() return files.read(dir .. "/log") == "ready\n" end)
			assert.is_false(one:stop(200))
			assert.equal("was ended by signal 9", one:ending())
		end)
	end)
end)
