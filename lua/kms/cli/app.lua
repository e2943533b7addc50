--- `nova-kms app add`: registers an application in the file of a local chain (CHAIN=local). A running node sees it at
-- once.

local args = require("kms.cli.args")
local exit = require("kms.cli.exit")
local identity = require("kms.base.identity")
local json = require("kms.base.json")
local local_chain = require("kms.chain.local")
local session = require("kms.cli.session")

-- The application's public keys. Returns { wallet, tee_pubkey (DER) } | nil, message, code.
local function public_keys(parsed, native)
	if (parsed.seed == nil) == (parsed.wallet == nil) or (parsed.wallet == nil) ~= (parsed.pubkey == nil) then
		return nil, "give either --seed, or --wallet and --pubkey", "ERR_USAGE"
	end
	if parsed.wallet then
		local key, wrong, usage = session.tee_pubkey(native, "pubkey", parsed.pubkey)
		if not key then return nil, wrong, usage end
		return { wallet = parsed.wallet, tee_pubkey = key }
	end
	local seed, message, code = native.seed_load(parsed.seed)
	if not seed then return nil, ("seed %s: %s"):format(parsed.seed, message), code end
	local keys
	keys, message, code = identity.of(seed)
	if not keys then return nil, message, code end
	return { wallet = keys.wallet:address(), tee_pubkey = keys.p384:public_der() }
end

local function run(parsed, world)
	local cfg, failed = session.config(world)
	if not cfg then return failed end
	if cfg.CHAIN ~= "local" then
		return session.fail(world, "applications are added here only with CHAIN=local: on a chain, its contract adds them",
			"ERR_CONFIG")
	end
	local native
	native, failed = session.native(world, session.SMALL)
	if not native then return failed end
	local keys, message, code = public_keys(parsed, native)
	if not keys then return session.fail(world, message, code) end
	local app_id
	app_id, message, code = local_chain.add_app(cfg.DATA_DIR, keys, parsed.app, native.wall_ms() // 1000)
	if not app_id then return session.fail(world, message, code) end
	session.print(world, parsed.json and json.encode({ app_id = app_id, wallet = keys.wallet }) or app_id)
	return exit.OK
end

return {
	name = "app",
	summary = "register applications on a local chain",
	commands = { {
		name = "add",
		summary = "register an application in the file of a local chain, and print its id",
		options = {
			{ name = "seed", value = "FILE", help = "seed file of the application (nova-kms keygen makes one)" },
			{ name = "wallet", value = "ADDRESS", type = "wallet",
				help = "wallet of the application's instance, instead of --seed" },
			{ name = "pubkey", value = "HEX", type = "tee_pubkey",
				help = "teePubkey of the application's instance, with --wallet" },
			{ name = "app", value = "ID", type = "id",
				help = "application id; an existing one gets one more instance (default: a new one)" },
			args.JSON,
		},
		notes = "The node's DATA_DIR is that of the configuration (NOVA_KMS_CONFIG, config/node.lua, environment).",
		run = run,
	} },
}
