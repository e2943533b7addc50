--- The TEE backend of the nodes that specs start: SPEC_TEE=sim|odyn|nitro (`make test-backend
-- TEE=odyn`), sim without it. A spec that names a backend itself (env.TEE) gets that one.

local M = {}

M.name = os.getenv("SPEC_TEE") or "sim"

-- What only some backends have. A test about it is left out on the others, where it would say
-- nothing; this is the whole list.
local ONLY = {
	-- sim alone has files in DATA_DIR: node.seed, and the master secret sealed under it, which is how
	-- a node has its identity and its secret again after a restart. On the others a node that starts
	-- again joins its cluster; it is alone in most specs.
	["files"] = { sim = true },
	-- The wallet that it had, for a node that starts again in its folder; an enclave makes new keys.
	["lasting keys"] = { sim = true, odyn = true },
	-- Documents that a root of the tests' own signs: nobody signs those of the fake Nitro device.
	["signed documents"] = { sim = true, odyn = true },
	-- Keys in the process, hence shared secrets, which are kept and limited here. With odyn the service
	-- has both, and a new caller costs this process nothing.
	["own keys"] = { sim = true, nitro = true },
}

assert(({ sim = true, odyn = true, nitro = true })[M.name], "SPEC_TEE: allowed is sim, odyn, nitro")

local function left_out() end

--- busted's `it` or `describe` for what needs a thing of ONLY: does nothing on a backend without it.
function M.only(thing, define)
	local backends = assert(ONLY[thing], thing)
	return backends[M.name] and define or left_out
end

--- Whether this backend has a thing of ONLY.
function M.has(thing)
	return assert(ONLY[thing], thing)[M.name] == true
end

--- Completes a node's environment, unless a spec has chosen its backend.
function M.complete(env)
	if env.TEE then return end
	env.TEE = M.name
	if M.name == "nitro" then
		local fake = require("spec.support.preload")("nsm_fake")
		env.LD_PRELOAD = env.LD_PRELOAD and env.LD_PRELOAD .. " " .. fake or fake
	end
end

--- Starts what a node of this environment needs beside it: with odyn a fake of the service,
-- whose files are in the node's folder, so that the keys stay as long as that does.
-- @return what has a method stop(), or nil
function M.start_beside(env, dir, uid)
	if M.name ~= "odyn" or env.TEE ~= "odyn" or env.ODYN_URL then return nil end
	local fake = require("spec.support.odyn").start({ dir = dir, uid = uid })
	env.ODYN_URL = fake.url
	return fake
end

return M
