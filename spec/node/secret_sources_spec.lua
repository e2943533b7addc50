-- Where a node gets a secret that it does not hold: what custodians have given is never lost, nor asked for again.

local native = require("spec.support.native")
local secrets = require("kms.node.master_secrets")
local sources = require("kms.node.secret_sources")

describe("kms.node.secret_sources", function()
	local master, hash, disk_is_full, held, custodians, bootstrap, source

	before_each(function()
		master, disk_is_full = native.secret_random(32), false
		hash = master:keccak256()
		held = secrets.new({ tee = { save_master = function()
			if disk_is_full then return nil, "no space left" end
			return true
		end } })
		custodians = { waits = 0 }
		function custodians:take()
			local secret = self.found
			self.found = nil
			return secret
		end
		function custodians:keep(secret) self.found = secret end
		function custodians:wait()
			self.waits = self.waits + 1
			return "waiting for custodians (0 of 2)"
		end
		bootstrap = { secret = function() return nil, "there is no peer to ask" end }
		source = sources.new({ secrets = held, bootstrap = bootstrap, custodians = custodians })
	end)

	it("waits for custodians where no member gives it", function()
		local ok, cause, of_all, reason = source:fetch(hash, true)
		assert.same({ nil, "there is no peer to ask", nil, "waiting for custodians (0 of 2)" }, { ok, cause, of_all, reason })
		assert.is_nil(held.current)
	end)

	it("keeps a recovered secret that cannot be saved, until it can", function()
		custodians.found, disk_is_full = master, true
		local ok, cause, _, reason = source:fetch(hash, true)
		assert.is_nil(ok)
		assert.equal("no space left", cause)
		assert.is_nil(reason)
		disk_is_full = false
		assert.is_true(source:fetch(hash, true))
		assert.equal("recovered", held.state)
		assert.is_true(held.current:equals(master))
		assert.equal(0, custodians.waits)
	end)

	it("takes what custodians complete while members are asked, and does not wait for them again", function()
		function bootstrap.secret()
			custodians.found = master
			return nil, "there is no peer to ask"
		end
		assert.is_true(source:fetch(hash, true))
		assert.equal("recovered", held.state)
		assert.equal(0, custodians.waits)
	end)

	it("prefers a member's secret, whose name it keeps", function()
		function bootstrap.secret() return master, "https://member" end
		assert.is_true(source:fetch(hash, true))
		assert.same({ "synced", "https://member", 0 }, { held.state, held.from, custodians.waits })
	end)
end)
