-- kms.node.identity: a node whose keys are in a service learns who it is, however late.

local http_head = require("spec.support.http_head")
local identity = require("kms.node.identity")
local native = require("spec.support.native")
local readiness_fixture = require("spec.support.readiness")

local wallet, p384 = native.identity(native.secret_random(32))

describe("kms.node.identity", function()
	local tee, store, service, chain, lines, fault

	before_each(function()
		lines, fault = {}, "connection refused"
		tee = { name = "odyn" }
		function tee.identify()
			if fault then return nil, fault end
			tee.address, tee.public_der = wallet:address(), p384:public_der()
			return true
		end
		store = native.store({})
		service = native.service({ nonces = native.nonces(120), channels = native.channels(16), store = store })
		chain = { introduce = function(self, who)
			self.introduced = (self.introduced or 0) + 1
			self.who = who
			return not self.full or nil, "no space left"
		end }
	end)

	local function new()
		return identity.new({
			tee = tee, chain = chain, store = store, service = service, url = "http://n",
			log = { info = function(_, event, fields) lines[#lines + 1] = { event, fields } end },
		})
	end

	it("tries without end, at intervals of 1 s to 10 s", function()
		local self, waits = new(), {}
		for i = 1, 100 do
			local known, message = self:learn()
			assert.same({ nil, "connection refused" }, { known, message })
			waits[i] = self.next_ms
		end
		assert.same({ 1000, 2000, 4000, 8000, 10000, 10000 }, table.move(waits, 1, 6, 1, {}))
		assert.equal(10000, waits[100])
		assert.is_false(self.known)
		assert.is_nil(chain.introduced)
	end)

	it("leaves store and service without a wallet: they take no record and authenticate nobody", function()
		assert.is_nil((new():learn()))
		local named, _, code = service:authenticate(http_head(""), "app", 1, 1)
		assert.same({ nil, "ERR_STATE" }, { named, code })
		fault = nil
		assert.is_true(new():learn())
		named, _, code = service:authenticate(http_head(""), "app", 1, 1)
		assert.same({ nil, "ERR_POP_MISSING" }, { named, code })
	end)

	it("names the wallet to store, service and chain, once", function()
		local self = new()
		self:learn()
		fault = nil
		assert.is_true(self:learn())
		assert.is_true(self:learn())
		assert.same({ true, nil }, { self.known, self.next_ms })
		assert.same({ wallet = wallet:address(), tee_pubkey = p384:public_der(), url = "http://n" }, chain.who)
		assert.equal(1, chain.introduced)
		assert.equal(1, #lines)
		assert.has_error(function() store:set_self(wallet:address()) end)
		assert.has_error(function() service:set_self(wallet:address()) end)
	end)

	it("tries again when the chain's file cannot be written", function()
		fault, chain.full = nil, true
		local self = new()
		assert.same({ nil, "no space left" }, { self:learn() })
		assert.equal(1000, self.next_ms)
		chain.full = nil
		assert.is_true(self:learn())
	end)

	it("leaves a service that has the keys alone", function()
		fault, tee.wallet = nil, wallet
		service = { set_self = function() error("it has a wallet") end }
		assert.is_true(new():learn())
	end)
end)

describe("kms.node.readiness before the identity is known", function()
	it("serves nobody, says why, asks no chain, and looks as often as the identity does", function()
		local t = readiness_fixture.new()
		t.identity.learn, t.identity.next_ms = function() return nil, "connection refused" end, 4000
		t.chain.begin_tick = function() error("the chain was asked") end
		t:tick()
		assert.same({ false, "waiting for the TEE service", "connection refused" },
			{ t.node.ready, t.node.reason, t.node.cause })
		assert.is_false(t.node:is_verified())
		assert.equal(4000, t.node:interval_ms())
		t:tick()
		assert.equal(1, #t.node.log.lines) -- said once
	end)
end)
