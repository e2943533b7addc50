--- `nova-kms devnet-odyn`: runs a fake Odyn service on this machine, for development.

local exit = require("kms.cli.exit")
local fake_odyn = require("devnet.fake_odyn")
local loop = require("kms.base.loop")
local session = require("kms.cli.session")

local function run(parsed, world)
	local host, port = parsed.bind:match("^%[?(.-)%]?:(%d+)$")
	local native, failed = session.native(world, session.SMALL)
	if not native then return failed end
	local fake, message = fake_odyn.start({
		seed = parsed.seed, host = host, port = tonumber(port), storage = parsed.storage,
	})
	if not fake then return session.fail(world, message) end
	local address = parsed.bind:gsub(":%d+$", ":" .. fake.port)
	session.print(world, ("fake Odyn service on http://%s, wallet %s"):format(
		address, fake.wallet:address()))
	world.stdout:flush()
	local function stop() fake:stop(loop.stop) end
	for _, name in ipairs({ "sigterm", "sigint" }) do loop.on_signal(name, stop) end
	loop.run()
	return exit.OK
end

return {
	name = "devnet-odyn",
	summary = "run a fake Odyn service, for development: it does not protect plaintext",
	options = {
		{ name = "seed", value = "FILE", help = "seed file of its keys, created if missing", default = "odyn.seed" },
		{ name = "storage", value = "FOLDER", help = "where the objects of its storage are kept (default: it has none)" },
		{ name = "bind", value = "ADDRESS", type = "bind", help = "loopback address and port", default = "127.0.0.1:18000" },
	},
	run = run,
}
