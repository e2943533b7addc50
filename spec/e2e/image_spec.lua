-- The enclave's image without Docker: its files against what a node really opens, and a node that
-- has only them. The calls of that node against the filter of the systemd unit.

local apps = require("spec.support.app")
local expect = require("spec.support.expect")
local files = require("spec.support.files")
local images = require("spec.support.image")
local nodes = require("spec.support.node")
local preload = require("spec.support.preload")
local uv = require("luv")
local wait = require("spec.support.wait")

local function there(command)
	return os.execute("command -v " .. command .. " >/dev/null 2>&1")
end

local function obstacle()
	if nodes.build:find("asan") or nodes.build:find("tsan") then return "sanitizers bring files of their own" end
	if not uv.fs_stat("/etc/ssl/certs/ca-certificates.crt") then return "the package ca-certificates is not installed" end
end

describe("the enclave's image", function()
	local reason, image, listed, data, opened, calls

	-- Starts an installed node under strace, lets it work and stop.
	local function trace()
		local path = image.dir .. "/trace"
		local node = nodes.start({ program = images.traced(image, path), env = {
			TEE = "nitro", LD_PRELOAD = preload("nsm_fake"),
		} })
		local app = apps.new(node, "600", "traced")
		node:register({ app })
		expect.ok(app:derive({ path = "p" }))
		expect.ok(app:put("k", "v"))
		assert.equal(0, (node:stop()))
		wait.until_true("the trace ends", function() return files.read(path):find("+++ exited with 0", 1, true) end)
		data, opened, calls = node.dir, images.read_trace(path)
	end

	-- What is no file of an image: the kernel's, the node's data, what the test adds, the loader's
	-- cache, and the time zone, which is UTC where there is none.
	local function outside(path)
		-- The root and what it lists: confining looks there for all that is not /proc.
		if path == "/" or not path:find("/", 1, true) then return true end
		for _, prefix in ipairs({ "/proc", "/sys", "/dev", data }) do
			if path:sub(1, #prefix) == prefix then return true end
		end
		return path:find("nsm_fake", 1, true) ~= nil or path == "/etc/ld.so.cache" or path == "/etc/localtime"
	end

	setup(function()
		reason = obstacle()
		if reason then return end
		image, listed = images.make(), {}
		for _, path in ipairs(image.files) do listed[path] = true end
	end)
	teardown(function() if image then images.remove(image) end end)

	it("holds the program, its scripts, its libraries, certificates and a user", function()
		if reason then return pending(reason) end
		for _, path in ipairs({
			"/usr/bin/nova-kms", "/usr/share/nova-kms/lua/main.lua", "/usr/share/nova-kms/config/node.lua",
			"/etc/ssl/certs/ca-certificates.crt", "/etc/passwd", "/etc/nsswitch.conf",
		}) do assert.is_true(listed[path], path) end
		assert.is_true(#image.files < 400)
	end)

	it("holds no shell and nothing else that could be run", function()
		if reason then return pending(reason) end
		for _, path in ipairs(image.files) do
			if path:find("/s?bin/") then assert.equal("/usr/bin/nova-kms", path) end
			local mode = uv.fs_stat(image.root .. path).mode
			assert.equal(0, mode & 2066, path) -- set-user-id, written by others
		end
	end)

	it("is compared with files that were there, also where threads interrupt each other's lines in the trace", function()
		local dir = files.temp_dir()
		finally(function() files.remove_dir(dir) end)
		files.write(dir .. "/trace", table.concat({
			'11 openat(AT_FDCWD, "/whole", O_RDONLY) = 3', '11 openat(AT_FDCWD, "/none", O_RDONLY) = -1 ENOENT (x)',
			'11 openat(AT_FDCWD, "/late", O_PATH <unfinished ...>', '12 openat(AT_FDCWD, "/missing", O_PATH <unfinished ...>',
			"11 <... openat resumed>) = 4", "12 <... openat resumed>) = -1 ENOENT (x)", "11 close(4) = 0", "",
		}, "\n"))
		assert.same({ ["/whole"] = true, ["/late"] = true }, (images.read_trace(dir .. "/trace")))
	end)

	it("holds what a node opens, and no library that it does not", function()
		if reason then return pending(reason) end
		if not there("strace") then return pending("strace is not here") end
		trace()
		local used = {}
		for path in pairs(opened) do
			local inside = path:gsub("^" .. image.tree:gsub("%p", "%%%0"), "")
			used[inside] = true
			assert.is_true(listed[inside] or outside(path), path)
		end
		for _, path in ipairs(image.files) do
			if path:find("%.so") and not path:find("ld-linux", 1, true) then assert.is_true(used[path], path) end
		end
	end)

	it("is enough for a node to serve with nothing else around it", function()
		if reason then return pending(reason) end
		if uv.getuid() ~= 0 then return pending("needs root, to change the root folder") end
		if not os.execute("unshare -m true 2>/dev/null") then return pending("this system gives no mount namespace") end
		local dir = image.root .. "/tmp/nova-kms"
		assert(uv.fs_mkdir(dir, 448))
		assert(uv.fs_chown(dir, 65532, 65532))
		local node = nodes.start({ program = images.closed(image), dir = dir, env = {
			TEE = "sim", DATA_DIR = "/tmp/nova-kms", -- nothing from outside can be preloaded into it
		} })
		finally(function() node:stop() end)
		assert.truthy(files.read(("/proc/%d/status"):format(node.pid)):find("Uid:%s+65532%s"))
		local app = apps.new(node, "601", "closed in")
		node:register({ app })
		assert(uv.fs_chown(dir .. "/chain.lua", 65532, 65532))
		expect.ok(app:derive({ path = "p" }))
		expect.ok(app:put("k", "v"))
		assert.equal(0, (node:stop()))
	end)

	it("holds the certificates where TLS looks for them", function()
		if reason then return pending(reason) end
		if uv.getuid() ~= 0 then return pending("needs root, to change the root folder") end
		if not os.execute("unshare -m true 2>/dev/null") then return pending("this system gives no mount namespace") end
		local key, certificate, port = image.dir .. "/key.pem", image.dir .. "/cert.pem", nodes.free_port()
		assert.is_true(os.execute(("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
			.. "-subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout '%s' -out '%s' 2>/dev/null"):format(
			key, certificate)))
		local server
		server = assert(uv.spawn("setpriv", { args = {
			"--pdeathsig", "KILL", "openssl", "s_server", "-accept", "127.0.0.1:" .. port, "-cert", certificate, "-key", key,
			"-www", "-quiet",
		} }, function() server:close() end))
		finally(function() server:kill("sigkill") end)
		local function ask()
			local _, out, err = nodes.run({ "status", "--url", "https://localhost:" .. port },
				{ program = images.closed(image) })
			return out .. err
		end
		wait.until_true("a refusal", function() return ask():find("verification failed", 1, true) end)
		local bundle = image.root .. "/etc/ssl/certs/ca-certificates.crt"
		files.write(bundle, files.read(bundle) .. files.read(certificate), 420)
		assert.truthy(ask():find("is not JSON", 1, true)) -- the certificate is accepted, and only the reply is wrong
	end)

	it("makes no call that the systemd unit refuses", function()
		if reason then return pending(reason) end
		if not calls or not there("systemd-analyze") then return pending("strace and systemd-analyze are needed") end
		local allowed = images.unit_calls("examples/service/nova-kms.service")
		for call in pairs(calls) do assert.is_true(allowed[call], call) end
	end)
end)
