--- The files of examples/enclave: that they parse, that they say what they must, and that they agree
-- with the program and with each other. That the image's files are enough for a node is tried in
-- e2e/image_spec.lua.

local cidr = require("kms.base.cidr")
local files = require("spec.support.files")
local lyaml = require("lyaml")
local nodes = require("spec.support.node")
local schema = require("kms.config.schema")
local uv = require("luv")

local ENCLAVE = "examples/enclave/"

local function read(path)
	return assert(files.read(path), path)
end

local function set(list)
	local all = {}
	for _, value in ipairs(list) do all[value] = true end
	return all
end

local settings = {}
for _, part in ipairs(schema.sections()) do
	for _, setting in ipairs(part.keys) do settings[setting.name] = setting end
end

local function default(name)
	return assert(settings[name], name).default
end

describe("enclaver.yaml", function()
	local manifest = lyaml.load(read(ENCLAVE .. "enclaver.yaml"))

	it("has what enclaver asks for, and nothing that it does not know", function()
		assert.equal("v1", manifest.version)
		for _, name in ipairs({ "name", "target" }) do assert.equal("string", type(manifest[name]), name) end
		assert.equal("nova-kms:latest", manifest.sources.app)
		local known = set({
			"version", "name", "target", "sources", "defaults", "ingress", "egress", "helios_rpc", "clock_sync",
		})
		for name in pairs(manifest) do assert.is_true(known[name], name) end
		for name in pairs(manifest.egress) do assert.is_true(set({ "proxy_port", "allow", "deny" })[name], name) end
	end)

	it("lets in what the node listens on", function()
		assert.same({ { listen_port = tonumber(default("BIND_ADDR"):match(":(%d+)$")) } }, manifest.ingress)
	end)

	it("has a light client where the node looks for the chain", function()
		local chain = manifest.helios_rpc.chains[1]
		assert.is_true(manifest.helios_rpc.enabled)
		local url = "http://127.0.0.1:" .. chain.local_rpc_port
		assert.equal(url, default("HELIOS_RPC_URL"))
		assert.truthy(chain.execution_rpc:find("^https://"))
		local node = assert(load(read(ENCLAVE .. "node.lua"), "node", "t", {}))()
		assert.equal(tostring(node.CHAIN_ID), chain.network_id)
		assert.equal(url, node.HELIOS_RPC_URL)
	end)

	it("has memory for what the node may hold", function()
		local bytes = default("MAX_TOTAL_STORAGE_BYTES") + default("MAX_BODY_MEMORY_BYTES") + (64 << 20)
		assert.is_true(manifest.defaults.memory_mb * (1 << 20) >= bytes + (512 << 20))
	end)

	local function ranges(patterns)
		local list = {}
		for _, pattern in ipairs(patterns) do
			-- What kms.base.cidr takes for IPv4 is IPv6 for enclaver.
			if not pattern:find("^::ffff:") then list[#list + 1] = cidr.parse(pattern) end
		end
		return list
	end

	local allowed, denied = ranges(manifest.egress.allow), ranges(manifest.egress.deny)

	local function reachable(address)
		return cidr.contains(allowed, address) and not cidr.contains(denied, address)
	end

	it("keeps every range out that the node's own check does", function()
		local tables = read("csrc/net/address.c")
		local v4, rest = tables:match("ipv4_ranges%[%] = (%b{}).-ipv6_ranges%[%] = (%b{})")
		local public = 0
		for first, class in v4:gmatch("{ { ([%d, ]+) }, %d+, KMS_ADDRESS_(%u+)") do
			local bytes = {}
			for byte in first:gmatch("%d+") do bytes[#bytes + 1] = byte end
			while #bytes < 4 do bytes[#bytes + 1] = "0" end
			assert.is_false(reachable(table.concat(bytes, ".")), class)
			public = public + 1
		end
		assert.equal(15, public)
		for first, class in rest:gmatch("{ { (0x[%x, ]+) }, %d+, KMS_ADDRESS_(%u+)") do
			local bytes = {}
			for byte in first:gmatch("0x(%x+)") do bytes[#bytes + 1] = byte end
			if #bytes % 2 == 1 then bytes[#bytes + 1] = "00" end
			local address = table.concat(bytes):gsub("%x%x%x%x", "%0:") .. ":1"
			if class ~= "PUBLIC" then assert.is_false(reachable(address), address) end
		end
	end)

	it("keeps special addresses out and lets public ones through", function()
		for _, address in ipairs({
			"127.0.0.1", "169.254.169.254", "10.1.2.3", "172.31.0.1", "192.168.0.1", "100.127.0.1", "255.255.255.255", "::1",
			"::", "::ffff:10.0.0.1", "fd00::1", "fe80::1", "64:ff9b::a00:1", "2002:a00:1::1", "2001:db8::1", "fd00:ec2::254",
		}) do assert.is_false(reachable(address), address) end
		for _, address in ipairs({ "8.8.8.8", "1.1.1.1", "2606:4700::1111", "2a00::1" }) do
			assert.is_true(reachable(address), address)
		end
	end)

	it("keeps out the parent and names of private zones", function()
		local deny = set(manifest.egress.deny)
		for _, pattern in ipairs({ "*", "**.", "**.internal", "**.local", "**.localhost" }) do
			assert.is_true(deny[pattern], pattern)
		end
	end)
end)

describe("the Dockerfile", function()
	local stages, instructions = {}, {}
	for line in (read(ENCLAVE .. "Dockerfile"):gsub("\\\n%s*", " ") .. "\n"):gmatch("([^\n]*)\n") do
		local name, rest = line:match("^(%u+)%s+(.*)$")
		assert(name or line == "" or line:find("^#"), line)
		if name == "FROM" then stages[#stages + 1] = { from = rest } end
		if name then
			instructions[#instructions + 1] = { name = name, rest = rest, stage = #stages }
			if #stages > 0 then table.insert(stages[#stages], { name = name, rest = rest }) end
		end
	end

	local function last(name)
		local found
		for _, instruction in ipairs(stages[#stages]) do found = instruction.name == name and instruction.rest or found end
		return found
	end

	it("has stages, each from a pinned Debian 12 or from nothing", function()
		assert.is_true(#stages >= 2)
		for _, stage in ipairs(stages) do
			assert.truthy(stage.from:find("^debian:bookworm%-%d%d%d%d%d%d%d%d%-slim") or stage.from == "scratch", stage.from)
		end
		-- The archive's day is the base's.
		local text = read(ENCLAVE .. "Dockerfile")
		assert.equal(text:match("bookworm%-(%d+)%-slim"), text:match("SNAPSHOT=(%d+)T"))
	end)

	it("starts the node as a user without rights, by its own program and no shell", function()
		assert.equal("scratch", stages[#stages].from)
		assert.equal("65532:65532", last("USER"))
		assert.equal('["/usr/bin/nova-kms"]', last("ENTRYPOINT"))
		assert.equal('["serve"]', last("CMD"))
		assert.equal(default("BIND_ADDR"):match(":(%d+)$"), last("EXPOSE"))
	end)

	it("fetches nothing but packages, holds no secret, and runs what is known here", function()
		local known = set({ "FROM", "ARG", "ENV", "WORKDIR", "RUN", "COPY", "USER", "EXPOSE", "ENTRYPOINT", "CMD" })
		for _, instruction in ipairs(instructions) do
			assert.is_true(known[instruction.name], instruction.name)
			assert.is_nil(instruction.rest:find("curl") or instruction.rest:find("wget"), instruction.rest)
			assert.is_nil(instruction.rest:find("SECRET"), instruction.rest)
			for _, word in ipairs({ "RUN", "FROM" }) do
				if instruction.name == word then assert.is_nil(instruction.rest:find(":latest")) end
			end
		end
	end)

	it("is given everything that the build reads, and no more", function()
		local sent = {}
		for line in read(ENCLAVE .. "Dockerfile.dockerignore"):gmatch("[^\n]+") do
			local path = line:match("^!(.+)$")
			assert(path or line == "*" or line:find("^#"), line)
			if path then
				assert.truthy(uv.fs_stat(path), path)
				sent[path] = true
			end
		end
		for _, path in ipairs({
			".ci/install", ".ci/packages", "Makefile", "config", "csrc", "include", "lua", "packaging/install",
			ENCLAVE .. "gather", ENCLAVE .. "node.lua",
		}) do assert.is_true(sent[path], path) end
	end)

	it("installs the packages that building and running take", function()
		assert.truthy(read(ENCLAVE .. "Dockerfile"):find("$(.ci/install --list build run)", 1, true))
		local pipe <close> = io.popen(".ci/install --list build run")
		local packages = set({})
		for line in pipe:lines() do packages[line] = true end
		for _, name in ipairs({ "gcc", "make", "libssl-dev", "libseccomp-dev", "libcurl4-gnutls-dev", "lua-cjson",
			"ca-certificates" }) do
			assert.is_true(packages[name], name)
		end
		assert.is_nil(packages.valgrind)
	end)
end)

describe("node.lua of the enclave", function()
	it("holds settings that exist, and stops a build that did not fill in the contracts", function()
		local node = assert(load(read(ENCLAVE .. "node.lua"), "node", "t", {}))()
		for name in pairs(node) do assert.truthy(settings[name], name) end
		assert.equal("nitro", node.TEE)
		assert.is_nil(node.IN_ENCLAVE) -- the default: true
		local code, out, err = nodes.run({ "config", "check", "--config", uv.cwd() .. "/" .. ENCLAVE .. "node.lua" })
		assert.not_equal(0, code)
		local said = out .. err
		assert.truthy(said:find("NOVA_APP_REGISTRY_ADDRESS", 1, true) and said:find("KMS_REGISTRY_ADDRESS", 1, true), said)
		local path = os.tmpname()
		files.write(path, (read(ENCLAVE .. "node.lua"):gsub("0x0+", "0x" .. ("1a"):rep(20))))
		code, out, err = nodes.run({ "config", "check", "--config", path })
		os.remove(path)
		assert.equal(0, code, out .. err)
	end)
end)
