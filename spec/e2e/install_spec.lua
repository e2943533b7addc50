-- `make install` puts a tree in place that works without the one it was built in.

local apps = require("spec.support.app")
local expect = require("spec.support.expect")
local files = require("spec.support.files")
local nodes = require("spec.support.node")
local uv = require("luv")

describe("make install", function()
	local dir, program

	setup(function()
		dir = files.temp_dir()
		program = dir .. "/opt/kms/bin/nova-kms"
		local command = "make -s install BUILD='%s' DESTDIR='%s' PREFIX=/opt/kms >/dev/null"
		assert.is_true(os.execute(command:format(nodes.build, dir)))
	end)
	teardown(function() files.remove_dir(dir) end)

	it("gives a program that finds its scripts and its configuration from any folder", function()
		local code, out = nodes.run({ "version" }, { program = program, cwd = "/" })
		assert.equal(0, code)
		assert.is_truthy(out:find("^nova%-kms %d"))
		local share = dir .. "/opt/kms/share/nova-kms"
		code, out = nodes.run({ "config", "check", "--config", share .. "/config/dev.lua" }, { program = program, cwd = "/" })
		assert.equal(0, code)
		assert.is_truthy(out:find("configuration is valid: " .. share, 1, true))
	end)

	it("installs no devnet: its fakes hold plaintext", function()
		assert.is_nil(uv.fs_stat(dir .. "/opt/kms/share/nova-kms/lua/devnet"))
		for _, command in ipairs({ "devnet", "devnet-odyn" }) do
			local code, _, errors = nodes.run({ command }, { program = program, cwd = dir })
			assert.equal(2, code)
			assert.truthy(errors:find(("unknown command '%s'"):format(command), 1, true), errors)
		end
	end)

	it("gives a program that serves", function()
		local node = nodes.start({ program = program })
		local app = apps.new(node, "400", "installed")
		node:register({ app })
		expect.ok(app:derive({ path = "p" }))
		assert.equal(0, (node:stop()))
	end)
end)

describe("the demo application", function()
	it("has an id of its own where the node's application has its usual one", function()
		local node = nodes.start({ env = { KMS_APP_ID = "1000" } })
		node:edit_chain(function(chain)
			local ids = {}
			for _, instance in pairs(chain.instances) do ids[#ids + 1] = instance.app_id end
			table.sort(ids)
			assert.same({ "1000", "1001" }, ids)
		end)
		node:stop()
	end)
end)
