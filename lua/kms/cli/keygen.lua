--- `nova-kms keygen`: makes an identity in a seed file, and shows the public halves of one.
-- The seed itself is never printed.

local args = require("kms.cli.args")
local exit = require("kms.cli.exit")
local json = require("kms.base.json")
local session = require("kms.cli.session")

local MESSAGES = {
	ERR_STATE = "it exists, and is never overwritten (--show prints its public halves)",
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
	local wallet, p384
	wallet, p384, code = native.identity(seed)
	if not wallet then return session.fail(world, p384, code) end
	local public = { wallet = wallet:address(), tee_pubkey = native.hex_encode(p384:public_der()) }
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
	summary = "make an identity, or show the public halves of one",
	arguments = { { name = "file", help = "seed file, made with mode 0600; whoever reads it is the identity" } },
	options = { { name = "show", help = "make nothing: show an existing one" }, args.JSON },
	run = run,
}
