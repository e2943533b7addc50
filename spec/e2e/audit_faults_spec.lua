-- What becomes of the audit log when its disk, its folder or its reader fails: the node serves on, says so, and the log
-- says what it lost. Nothing it could still write is lost.

local apps = require("spec.support.app")
local audit_file = require("spec.support.audit_file")
local expect = require("spec.support.expect")
local files = require("spec.support.files")
local nodes = require("spec.support.node")
local ports = require("spec.support.ports")
local prometheus = require("spec.support.prometheus")
local uv = require("luv")
local wait = require("spec.support.wait")

describe("the audit log of a node that cannot write it", function()
	local dir, file, node, app, port

	local function start(more)
		port = ports.take()
		local env = { AUDIT = file, METRICS_ADDR = "127.0.0.1:" .. port }
		for name, value in pairs(more or {}) do env[name] = value end
		node = nodes.start({ env = env, dir = dir .. "/node" })
		app = apps.new(node, "700", "audit faults")
		node:register({ app })
	end

	local function status() return node:status().audit end

	local function wait_state(state)
		wait.until_true("the audit log to be " .. state, function() return status().state == state end)
	end

	local function metric(name) return prometheus.value(prometheus.scrape(port), name) end

	-- Derives until the log has lines about so many derivations.
	local function wait_derived(count)
		wait.until_true(("%d derivations"):format(count), function() return #audit_file.events(file, "derive") == count end)
	end

	-- Stops the node and checks the file from its first line to its last one. Returns its lines.
	local function check_all()
		local wallet = node.wallet
		assert.equal(0, (node:stop()))
		local lines = audit_file.lines(file)
		assert.is_true(select(2, audit_file.check(lines, wallet)) >= 1)
		assert.equal("signature", lines[#lines].event)
		return lines
	end

	before_each(function()
		dir = files.temp_dir()
		file = dir .. "/log/audit.log"
		assert(uv.fs_mkdir(dir .. "/node", 448))
		assert(uv.fs_mkdir(dir .. "/log", 448))
	end)
	after_each(function()
		if node then node:stop() end
		node = nil
		files.remove_dir(dir)
	end)

	it("waits in memory while its folder is missing, from the start on", function()
		files.remove_dir(dir .. "/log")
		start()
		wait_state("failing")
		for _ = 1, 5 do expect.ok(app:derive({ path = "a" })) end
		assert.equal("no such file or directory", node:control("GET", "/status").control.audit.failure:lower())
		assert.equal(1, metric("kms_audit_failing"))
		assert.equal(1, select(2, node:log():gsub("the audit log is not written", "")))
		assert(uv.fs_mkdir(dir .. "/log", 448))
		wait_state("ok")
		wait_derived(5)
		assert.equal(0, metric("kms_audit_failing"))
		assert.equal(1, metric("kms_audit_failures_total"))
		assert.equal(0, status().lost_lines)
		check_all()
		assert.equal(1, select(2, node:log():gsub("the audit log is written again", "")))
	end)

	-- As `prlimit` of util-linux sets it, on the running node.
	local function limit_files(bytes)
		assert(os.execute(("prlimit --pid %d --fsize=%s:unlimited"):format(node.pid, bytes)))
	end

	it("goes on where a file may not grow any more, and then may", function()
		start()
		expect.ok(app:derive({ path = "a" }))
		wait_derived(1)
		limit_files(uv.fs_stat(file).size + 100)
		for _ = 1, 5 do expect.ok(app:derive({ path = "b" })) end
		wait_state("failing")
		assert.equal("file too large", node:control("GET", "/status").control.audit.failure:lower())
		expect.ok(app:derive({ path = "c" }))
		limit_files("unlimited")
		wait_state("ok")
		wait_derived(7)
		check_all()
	end)

	it("counts what does not fit into memory, and says so in the log", function()
		files.remove_dir(dir .. "/log")
		start()
		wait_state("failing")
		local session = require("spec.support.session_client").open(app)
		local batch = {}
		for i = 1, 256 do batch[i] = { op = "derive", path = "p" } end
		wait.until_true("lost lines", function()
			session:call(batch)
			return status().lost_lines > 0
		end)
		expect.ok(app:derive({ path = "still served" }))
		assert.is_true(status().waiting_bytes <= 4 << 20)
		assert.is_true(metric("kms_audit_lost_lines_total") > 0)
		assert(uv.fs_mkdir(dir .. "/log", 448))
		wait_state("ok")
		local lost
		wait.until_true("a line about them", function()
			lost = audit_file.events(file, "lost")[1]
			return lost ~= nil
		end)
		assert.equal(status().lost_lines, math.tointeger(lost.lines))
		check_all()
	end)

	it("goes on in a new file when the old one was moved away", function()
		start()
		expect.ok(app:derive({ path = "a" }))
		wait_derived(1)
		assert(uv.fs_rename(file, file .. ".old"))
		uv.kill(node.pid, "sighup")
		wait.until_true("a new file", function() return uv.fs_stat(file) ~= nil end)
		expect.ok(app:derive({ path = "b" }))
		wait_derived(1)
		node:stop()
		local hash = audit_file.check(audit_file.lines(file .. ".old"), node.wallet)
		audit_file.check(audit_file.lines(file), node.wallet, hash)
	end)

	it("moves its file aside by itself when that gets too long", function()
		start({ AUDIT_FILE_BYTES = "65536" })
		local session = require("spec.support.session_client").open(app)
		local batch = {}
		for i = 1, 100 do batch[i] = { op = "derive", path = "p" } end
		wait.until_true("some files", function()
			session:call(batch)
			return #require("kms.base.files").list(dir .. "/log") >= 3
		end)
		node:stop()
		local numbers, hash = {}, nil
		for _, name in ipairs(require("kms.base.files").list(dir .. "/log")) do
			numbers[#numbers + 1] = tonumber(name:match("%.(%d+)$"))
			assert.is_true(uv.fs_stat(dir .. "/log/" .. name).size <= 65536)
		end
		table.sort(numbers)
		for i = 1, #numbers + 1 do
			local lines = audit_file.lines(numbers[i] and ("%s.%d"):format(file, numbers[i]) or file)
			for _, line in ipairs(lines) do assert.equal(hash or ("0"):rep(64), line.prev) hash = audit_file.hash(line) end
			if numbers[i] then assert.equal(numbers[i], math.tointeger(lines[#lines].seq)) end
		end
	end)

	it("goes to standard output, from its first line on, with nothing else there", function()
		start({ AUDIT = "stdout" })
		expect.ok(app:derive({ path = "a" }))
		local wallet, out = node.wallet, node.dir .. "/node.out"
		node:stop()
		local lines = audit_file.lines(out)
		assert.same({ "start", "stop", "signature" }, { lines[1].event, lines[#lines - 1].event, lines[#lines].event })
		assert.equal(1, #audit_file.events(out, "derive"))
		audit_file.check(lines, wallet)
	end)

	it("leaves a file alone that holds something else", function()
		files.write(file, "not a log\n")
		start()
		wait_state("failing")
		assert.truthy(node:control("GET", "/status").control.audit.failure:find("move it away", 1, true))
		expect.ok(app:derive({ path = "a" }))
		assert.equal("not a log\n", files.read(file))
		assert(os.remove(file))
		wait_state("ok")
		wait_derived(1)
		check_all()
	end)

	-- A disk of 256 KiB, where this user may mount one.
	it("is on a disk that is really full", function()
		local mounted = os.execute(("mount -t tmpfs -o size=256k audit-spec '%s/log' 2>/dev/null"):format(dir))
		if not mounted then
			pending("this user may mount no file system")
			return
		end
		local ok, failure = pcall(function()
			start({ AUDIT_FILE_BYTES = "16777216" })
			expect.ok(app:derive({ path = "a" }))
			wait_derived(1)
			os.execute(("dd if=/dev/zero of='%s/log/ballast' bs=4096 2>/dev/null"):format(dir))
			local session = require("spec.support.session_client").open(app)
			local batch = {}
			for i = 1, 64 do batch[i] = { op = "derive", path = "p" } end
			wait.until_true("a full disk", function()
				session:call(batch)
				return status().state == "failing"
			end)
			assert.equal("no space left on device", node:control("GET", "/status").control.audit.failure:lower())
			expect.ok(app:derive({ path = "served" }))
			assert(os.remove(dir .. "/log/ballast"))
			wait_state("ok")
			assert.equal(0, status().lost_lines)
			check_all()
		end)
		if node then node:stop() end
		node = nil
		os.execute(("umount '%s/log'"):format(dir))
		assert.is_true(ok, failure)
	end)
end)
