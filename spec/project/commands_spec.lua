--- The commands of documents whose readers have a source tree and a node that `make run` has started in another
-- terminal, each block as it is written, in the order of the document. The other documents' commands are run by the
-- specs that they name (documents_spec.lua).

local cjson = require("cjson")
local documents = require("spec.support.document")
local files = require("spec.support.files")
local ports = require("spec.support.ports")
local runbooks = require("spec.support.runbook")
local uv = require("luv")
local wait = require("spec.support.wait")

local SPEC = "spec/project/commands_spec.lua"
local PORT, METRICS_PORT = ports.take(), ports.take()
local URL = "http://127.0.0.1:" .. PORT
local BUILD = os.getenv("KMS_BUILD") or "build"
local MAKE_RUN_S = 900 -- it builds everything
local NO_PCR = ("0"):rep(96)

-- What blocks print, by a part of the block.
local PRINTED = {
	["call derive"] = "[%w+/]+=\n$",
	["lua5.4 first.lua"] = "^[%w+/]+=\npostgres://db\tconfig/db\nnot found\tHTTP 404 not_found: not found\tERR_REFUSED\n$",
	["call get"] = "postgres://db",
	["call list"] = "config/db\n",
	["audit verify"] = "whole",
	["/metrics | grep -w kms_ready"] = "\nkms_ready 1\n",
}

describe("commands of documents:", function()
	local folder, tree, group, words, vars

	-- A tree of sources whose build folder is that of this spec.
	local function make_tree()
		tree = folder .. "/nova-kms"
		assert(uv.fs_mkdir(tree, 448))
		for name in uv.fs_scandir_next, assert(uv.fs_scandir(".")) do
			if name ~= "build" and name ~= ".git" then assert(uv.fs_symlink(uv.cwd() .. "/" .. name, tree .. "/" .. name)) end
		end
		assert(uv.fs_mkdir(tree .. "/build", 448))
		assert(uv.fs_symlink(folder .. "/node", tree .. "/build/node"))
		assert(uv.fs_symlink(tree .. "/bin/nova-kms", tree .. "/build/nova-kms"))
		assert(uv.fs_symlink(("%s/%s/kms_native.so"):format(uv.cwd(), BUILD), tree .. "/build/kms_native.so"))
	end

	-- The settings of the enclave's page, with the contracts that its reader has put in.
	local function fill_in_enclave()
		assert(uv.fs_unlink(tree .. "/examples"))
		assert(uv.fs_mkdir(tree .. "/examples", 448))
		for name in uv.fs_scandir_next, assert(uv.fs_scandir("examples")) do
			if name ~= "enclave" then
				assert(uv.fs_symlink(("%s/examples/%s"):format(uv.cwd(), name), ("%s/examples/%s"):format(tree, name)))
			end
		end
		assert(uv.fs_mkdir(tree .. "/examples/enclave", 448))
		local node = files.read("examples/enclave/node.lua"):gsub("0x0+", "0x" .. ("1a"):rep(20))
		files.write(tree .. "/examples/enclave/node.lua", node)
	end

	local function nova_kms(arguments)
		local pipe = assert(io.popen(("%s/nova-kms %s 2>&1"):format(BUILD, arguments)))
		local text = pipe:read("a")
		assert(pipe:close(), text)
		return text
	end

	-- The node's image and root of attestation, as an operator lists them.
	local function write_allow_list()
		local document = folder .. "/document.cbor"
		nova_kms(("attest make --seed %s/node/node.seed %s"):format(folder, document))
		local shown = cjson.decode(nova_kms(("attest show %s --json"):format(document)))
		local list = { roots = { shown.document.chain[1].sha256 }, allow_debug = true, images = { { name = "simulated",
			pcrs = { [0] = NO_PCR, [1] = NO_PCR, [2] = NO_PCR } } } }
		for _, name in ipairs({ "allowed.lua", "images.lua" }) do
			files.write(tree .. "/" .. name, "return " .. files.serialize(list))
		end
	end

	-- `make run`, as in another terminal. It ends with this process, too, however that one ends.
	local function start()
		local env = { "BIND_ADDR=127.0.0.1:" .. PORT, "DATA_DIR=" .. folder .. "/node", "BUILD=" .. BUILD,
			"AUDIT=" .. folder .. "/node/audit.log", "METRICS_ADDR=127.0.0.1:" .. METRICS_PORT }
		for name, value in pairs(uv.os_environ()) do env[#env + 1] = name .. "=" .. value end
		local log = assert(uv.fs_open(folder .. "/log", "w", 420))
		local handle, pid = uv.spawn("setpriv", { args = { "--pdeathsig", "TERM", "make", "run", "BUILD=" .. BUILD },
			env = env, detached = true, stdio = { nil, log, log } }, function() end)
		uv.fs_close(log)
		assert(handle, pid)
		group = pid
		return wait.until_true("make run to print an example", function()
			local text = files.read(folder .. "/log") or ""
			if ("\n" .. text):find("\nTry: ") then return text end
			return false, text
		end, MAKE_RUN_S)
	end

	-- The programs of a document whose first line names a file.
	local function write_files(document)
		for _, block in ipairs(document.blocks) do
			local name = block.text:match("^%-%- (%w+%.lua)\n")
			if name then files.write(tree .. "/" .. name, (block.text:gsub("http://127%.0%.0%.1:8000", URL))) end
		end
	end

	local function wait_signed()
		wait.until_true("a signature in the audit log", function()
			return files.read(folder .. "/node/audit.log"):find('"event":"signature"', 1, true)
		end)
	end

	setup(function()
		folder = files.temp_dir()
		assert(uv.fs_mkdir(folder .. "/node", 448))
		make_tree()
		fill_in_enclave()
		vars = {
			BIND_ADDR = "127.0.0.1:" .. PORT, HOME = folder, NOVA_KMS_CONFIG = tree .. "/config/dev.lua",
			SOCKET = folder .. "/node/control.sock", AUDIT = folder .. "/node/audit.log",
		}
	end)

	teardown(function()
		if group then
			uv.kill(-group, "sigterm")
			wait.holds(function() return not uv.kill(-group, 0) end, 20)
			uv.kill(-group, "sigkill")
		end
		files.remove_dir(folder)
	end)

	-- The first block of README.md. The example that it prints works when pasted.
	it("README.md: make run", function()
		assert.equal("make run", documents.commands(documents.read("README.md"))[1].text)
		local example = start():match("Try: ([^\n]+)")
		local pipe = assert(io.popen(("XDG_STATE_HOME=%s/state %s 2>&1"):format(folder, example)))
		local output = pipe:read("a")
		assert.is_true(pipe:close(), output)
		assert.is_truthy(output:find("^[%w+/]+=*\n$"), output)
		write_allow_list()
		local status = cjson.decode(nova_kms(("status --json --url %s"):format(URL))).node
		words = {
			["http://127.0.0.1:8000"] = URL, ["https://kms.example.org"] = URL, ["https://kms1.example.org"] = URL,
			["https://kms2.example.org"] = URL, ["/var/log/nova-kms"] = folder .. "/node",
			["/etc/nova-kms/node.lua"] = tree .. "/config/dev.lua",
			["http://127.0.0.1:9464"] = "http://127.0.0.1:" .. METRICS_PORT,
		}
		vars.PUBKEY, vars.WALLET = status.tee_pubkey, status.tee_wallet
	end)

	for _, path in ipairs(documents.paths()) do
		local book
		local document = documents.read(path)
		for _, block in ipairs(documents.commands(document)) do
			if block.run_by == SPEC and not block.not_run and block.text ~= "make run" then
				it(("%s:%d: %s"):format(path, block.line, block.text:match("[^\n]+")), function()
					assert(words, "make run did not start a node")
					if not book then
						files.remove_dir(tree .. "/bin")
						os.remove(tree .. "/vars")
						book = runbooks.read(path, tree, SPEC)
						book.words = words
						if path == "docs/audit.md" then wait_signed() end
						write_files(document)
					end
					local code, out, err = book:run(block, { vars = vars })
					assert.equal(0, code, out .. err)
					for part, pattern in pairs(PRINTED) do
						if block.text:find(part, 1, true) then assert.truthy(out:find(pattern), out) end
					end
				end)
			end
		end
	end

	it("make fairness, for one of its loads", function()
		local pipe = assert(io.popen(("lua5.4 spec/bench/fairness.lua %s 1 look_ups 2>&1"):format(BUILD)))
		local text = pipe:read("a")
		assert.is_true(pipe:close(), text)
	end)
end)
