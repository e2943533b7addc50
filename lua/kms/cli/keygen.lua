--- `nova-kms keygen`: creates an identity in a seed file, or shows the public keys of one. The seed is
-- never printed.

local args = require("kms.cli.args")
local exit = require("kms.cli.exit")
local identity = require("kms.base.identity")
local json = require("kms.base.json")
local session = require("kms.cli.session")

local MESSAGES = {
	ERR_STATE = "the file exists and is never overwritten (--show prints its public keys)",
	ERR_SYSTEM = "cannot be written: does its folder exist?",
}

local function run(parsed, world)
	local native, failed = session.native(world, session.SMALL)
	if not native then return failed end
	local seed, message, code = native[parsed.show and "seed_load" or "seed_create"](parsed.file)
	if not seed then
		if not parsed.show then message = MESSAGES[code] or message end
		return session.fail(world, ("%s: %s"):format(parsed.file, message), code)
	end
	local keys
	keys, message, code = identity.of(seed)
	if not keys then return session.fail(world, message, code) end
	local public = { wallet = keys.wallet:address(), tee_pubkey = native.hex_encode(keys.p384:public_der()) }
	if parsed.json then
		session.print(world, json.encode(public))
	else
		session.print(world, "wallet     " .. public.wallet)
		session.print(world, "tee_pubkey " .. public.tee_pubkey)
	end
	return exit.OK
end

return {
	name = "keygen",
	summary = "create an identity, or show the public keys of one",
	arguments = { { name = "file", help = "seed file, created with mode 0600; all keys follow from it" } },
	options = { { name = "show", help = "show the public keys of an existing file" }, args.JSON },
	run = run,
}
