-- How a node takes up policies: at its start, when a file changes, on a signal and on command.

local apps = require("spec.support.app")
local beat = require("kms.base.beat")
local expect = require("spec.support.expect")
local files = require("spec.support.files")
local http = require("spec.support.http")
local nodes = require("spec.support.node")
local policies = require("spec.support.policies")
local uv = require("luv")
local wait = require("spec.support.wait")

describe("operator policies", function()
	local folder, node, app

	setup(function()
		folder = policies.new()
		node = nodes.start({ env = { POLICY_DIR = folder.dir } })
		app = apps.new(node, "700", "policy app")
		node:register({ app })
	end)

	teardown(function()
		node:stop()
		folder:remove()
	end)

	before_each(function()
		for _, name in ipairs({ "access", "sync" }) do folder:write(name, nil) end
		if node:status().policy.hash ~= folder.shipped then folder.shipped = folder:reload(node).hash end
	end)

	local function forbidden(response, message)
		expect.refused(response, 403, "forbidden")
		if message then assert.equal(message, response.message) end
	end

	-- Waits until other policies are in force than those with this hash.
	local function wait_other(hash)
		wait.until_true("other policies", function() return node:status().policy.hash ~= hash end)
	end

	describe("a reload", function()
		it("takes a changed file up by itself, and says since when and by what", function()
			folder:write("access", "return { derive = function() return false, 'by file' end }")
			wait.until_true("the file to be seen", function() return node:status().policy.by == "file" end)
			forbidden(app:derive({ path = "p" }), "by file")
			assert.is_true(math.abs(node:status().policy.since_ms - os.time() * 1000) < 60000)
		end)

		-- One look at each beat would take a beat for each change.
		it("takes changed files up sooner than at its next beat", function()
			local changes, began_ns, hash = 7, uv.hrtime(), folder.shipped
			for i = 1, changes do
				folder:write("access", ("return { derive = function() return false, 'change %d' end }"):format(i))
				wait_other(hash)
				hash = node:status().policy.hash
			end
			local took_s = (uv.hrtime() - began_ns) / 1e9
			assert.is_true(took_s < (changes - 1) * beat.SECONDS, took_s)
			assert.equal("file", node:status().policy.by)
			forbidden(app:derive({ path = "p" }), "change " .. changes)
			assert.is_nil(node:log():find("policy folder not watched", 1, true))
		end)

		it("takes a file that is written in steps when it is whole", function()
			local before = node:status().policy.hash
			local file <close> = assert(io.open(folder.dir .. "/access.lua", "w"))
			file:setvbuf("no")
			assert(uv.fs_chmod(folder.dir .. "/access.lua", 384))
			file:write("return { derive = function() ")
			wait.until_true("the mistake to be found", function() return node:status().policy.last_error end)
			assert.equal(before, node:status().policy.hash)
			file:write("return false, 'whole' end }")
			wait_other(before)
			forbidden(app:derive({ path = "p" }), "whole")
			assert.is_nil(node:status().policy.last_error)
		end)

		it("takes the files of a folder that takes the place of the one before, again and again", function()
			finally(function()
				for i = 1, 3 do files.remove_dir(folder.dir .. i) end
			end)
			for i = 1, 3 do
				local new, hash = folder.dir .. "-new", node:status().policy.hash
				assert(uv.fs_mkdir(new, 448))
				files.write(new .. "/access.lua", ("return { derive = function() return false, 'folder %d' end }"):format(i))
				assert(uv.fs_rename(folder.dir, folder.dir .. i))
				assert(uv.fs_rename(new, folder.dir))
				wait_other(hash)
				forbidden(app:derive({ path = "p" }), "folder " .. i)
			end
		end)

		it("takes changed files on a signal and on command", function()
			local status = folder:take(node, "access", "return { derive = function() return false, 'by command' end }")
			assert.equal(1, status.api)
			local round = 0
			-- The node looks at the files once a tick, too, and may be first.
			wait.until_true("a reload by signal", function()
				round = round + 1
				folder:write("access", ("return { derive = function() return false, 'round %d' end }"):format(round))
				uv.kill(node.pid, "sighup")
				local by = wait.until_true("the new policies", function()
					local now = node:status().policy
					return now.hash ~= status.hash and now.by
				end)
				status = node:status().policy
				return by == "signal", by
			end)
			forbidden(app:derive({ path = "p" }), "round " .. round)
		end)

		it("keeps the old set on any mistake, says where, and fails no request", function()
			local before = folder:take(node, "access",
				"return { derive = function(r) if r.path == 'no' then return false end end }")
			for text, where in pairs({
				["return {\n\tderive = function(r)\n"] = "access.lua:3: 'end' expected",
				["return {\n\n\tderive = function(r) error('oops') end }"] =
					"access.lua:3: access.derive fails when it is tried: oops",
				["return { derive = function(r)\n while true do end end }"] =
					"access.lua:2: access.derive fails when it is tried: it runs too long",
				["while true do end"] = "access.lua:1: it runs too long",
				["local s = ('x'):rep(1 << 30)\nreturn {}"] = "access.lua:1: ",
				["return { derive = function(r)\n\tlocal s = ('x'):rep(1 << 30)\nend }"] = "access.lua:2: access.derive fails",
				["return { derve = function() end }"] = "access.lua:1: unknown name 'derve', the nearest known one is 'derive'",
			}) do
				folder:write("access", text)
				local status = folder:reload(node)
				assert.equal(before.hash, status.hash)
				assert.equal(where, (status.last_error or {}).first and status.last_error.first:sub(1, #where), text)
				node:wait_log(folder.dir .. "/" .. where:match("^[^ ]+ "))
				assert.is_nil(status.last_error.first:find(folder.dir, 1, true))
				expect.ok(app:derive({ path = "yes" }))
				forbidden(app:derive({ path = "no" }))
			end
			assert.is_nil(folder:take(node, "access", "return {}").last_error)
		end)

		it("fifty times a second loses no request under load", function()
			local pid, rounds, failures, calls = node.pid, 0, {}, 0
			local clients = {}
			for i = 1, 4 do
				clients[i] = apps.new(node, "700", "load " .. i)
				node:register({ clients[i] })
				expect.ok(clients[i]:derive({ path = "p" }))
			end
			local timer = uv.new_timer()
			finally(function() http.close(timer) end)
			timer:start(0, 20, function()
				rounds = rounds + 1
				folder:write("access", ("return { derive = function(r) return true end } -- %d"):format(rounds))
				if rounds % 10 == 0 then folder:write("access", "return {") end
				uv.kill(pid, "sighup")
			end)
			-- Signals that come while one is handled count as one.
			local function taken() return select(2, node:log():gsub("policies in force", "")) end
			local before, deadline = taken(), uv.hrtime() + 120e9
			while rounds < 150 or calls < 100 or taken() < before + 50 do
				assert.is_true(uv.hrtime() < deadline, ("%d reloads, %d calls, %d taken"):format(rounds, calls, taken()))
				local sent = {}
				for i, client in ipairs(clients) do
					sent[i] = client:send({ method = "POST", target = "/kms/derive", inner = { path = "p" } })
				end
				for i, client in ipairs(clients) do
					local response = client:receive(sent[i])
					calls = calls + 1
					if response.status ~= 200 then failures[#failures + 1] = response.status .. " " .. response.body end
				end
			end
			timer:stop()
			assert.same({}, failures)
		end)
	end)

	describe("at the start", function()
		local function start(env)
			local dir = files.temp_dir()
			finally(function() files.remove_dir(dir) end)
			return nodes.serve(dir, { env = env })
		end

		it("that are wrong stop it, with every mistake and its line", function()
			folder:write("access", "return {\n\tderve = 1,\n}")
			folder:write("sync", "return {")
			local code, _, err = start({ POLICY_DIR = folder.dir })
			assert.equal(4, code, err)
			assert.matches('"reason":"' .. folder.dir:gsub("%p", "%%%0") .. "/access%.lua:2: unknown name 'derve'", err)
			assert.matches('"reason":"[^\n]+/sync%.lua:1: ', err)
		end)

		it("that are missing are the shipped ones", function()
			local none = nodes.start({})
			finally(function() none:stop() end)
			local status = none:status().policy
			assert.equal(folder.shipped, status.hash)
			assert.same({ "start", 1, 0 }, { status.by, status.api, status.failures })
		end)

		it("in a POLICY_DIR that is no folder stop it", function()
			folder:write("file", "")
			for _, dir in ipairs({ folder.dir .. "/none", folder.dir .. "/file.lua" }) do
				local code, _, err = start({ POLICY_DIR = dir })
				assert.equal(4, code, err)
				assert.matches(dir:gsub("%p", "%%%0") .. ": is not a folder\"}\n", err)
			end
			folder:write("file", nil)
		end)
	end)
end)
