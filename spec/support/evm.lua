--- The backend `evm` on chain servers of this process, for its specs.

local assert = require("luassert")
local chain_server = require("spec.support.chain_server")
local evm = require("kms.chain.evm")
local loopback = require("spec.support.loopback")
local native = require("spec.support.native")

local M = {}

local function identity()
	local wallet, p384 = native.identity(native.secret_random(32))
	return { wallet = wallet:address(), der = p384:public_der(), handle = wallet }
end

--- Members of the application 49, and an instance of the application 7.
M.NODE, M.PEER, M.APP = identity(), identity(), identity()

--- Runs body(chain, first server, log, servers) with the backend on one server.
-- @param options servers (how many), config (other values), clock { wall_ms, mono_ms }
function M.with_chain(options, body)
	loopback.run(function()
		local servers, urls = {}, {}
		for i = 1, options.servers or 1 do
			local server = chain_server.start()
			server.still = true
			server:register("49", M.NODE.wallet, M.NODE.der)
			server:register("49", M.PEER.wallet, M.PEER.der)
			server:register("7", M.APP.wallet, M.APP.der)
			servers[i], urls[i] = server, server.url
		end
		local log, clock = chain_server.log(), options.clock or {}
		local chain = assert(evm.open({
			config = chain_server.config(urls, options.config), log = log, wall_ms = clock.wall_ms or native.wall_ms,
			mono_ms = clock.mono_ms,
		}))
		body(chain, servers[1], log, servers)
		chain:close()
	end)
end

--- As with_chain in an enclave: body(chain, servers, log) with servers of which two must agree.
function M.with_agreeing(options, body)
	local url = require("kms.config.url")
	local real = url.all_loopback
	url.all_loopback = function() return false end -- as if they were elsewhere
	local ok, failure = pcall(M.with_chain, {
		servers = options.servers or 2, config = { IN_ENCLAVE = true }, clock = options.clock,
	}, function(chain, _, log, servers) body(chain, servers, log) end)
	url.all_loopback = real
	if not ok then error(failure, 0) end
end

--- Asserts that a call failed: fails(code, part of the message, call's results).
function M.fails(code, pattern, value, message, got)
	assert.is_nil(value)
	assert.equal(code, got)
	assert.truthy(message:find(pattern, 1, true), message)
end

return M
