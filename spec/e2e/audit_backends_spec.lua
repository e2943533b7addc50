-- The audit log of nodes whose wallet is not in a file: signed by the Nitro module's identity, or by the Odyn service.

local apps = require("spec.support.app")
local audit_file = require("spec.support.audit_file")
local crypto = require("spec.support.crypto")
local expect = require("spec.support.expect")
local files = require("spec.support.files")
local nodes = require("spec.support.node")
local odyn_process = require("spec.support.odyn")
local preload = require("spec.support.preload")
local wait = require("spec.support.wait")

local MASTER = crypto.keccak256("the master secret of audited backends")

describe("the audit log", function()
	local dir, file, node, odyn

	local function start(env)
		dir = files.temp_dir()
		file = dir .. "/audit.log"
		env.AUDIT, env.MASTER_SECRET_HEX = file, crypto.hex(MASTER)
		node = nodes.start({ env = env })
		local app = apps.new(node, "973", "audited")
		node:register({ app })
		expect.ok(app:derive({ path = "p" }))
		wait.until_true("its line", function() return #audit_file.events(file, "derive") == 1 end)
	end

	after_each(function()
		node:stop()
		if odyn then odyn:stop() end
		odyn = nil
		files.remove_dir(dir)
	end)

	-- Stops the node and checks the whole file.
	local function check()
		local wallet = node.wallet
		assert.equal(0, (node:stop()))
		local lines = audit_file.lines(file)
		assert.is_true(select(2, audit_file.check(lines, wallet)) >= 1)
		assert.equal("signature", lines[#lines].event)
	end

	it("is signed with TEE=nitro", function()
		start({ TEE = "nitro", LD_PRELOAD = preload("nsm_fake") })
		check()
	end)

	it("is signed by the service with TEE=odyn, and written on while that does not answer", function()
		odyn = odyn_process.start()
		start({ TEE = "odyn", ODYN_URL = odyn.url })
		odyn:signal("sigstop")
		node:control("POST", "/reload")
		wait.until_true("a line meanwhile", function() return #audit_file.events(file, "command") == 1 end)
		odyn:signal("sigcont")
		wait.until_true("a signature", function()
			local signatures = audit_file.events(file, "signature")
			local last = signatures[#signatures]
			return last and last.signed_seq >= audit_file.events(file, "command")[1].seq
		end)
		check()
	end)
end)
