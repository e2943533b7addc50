--- `nova-kms devnet-odyn`: stands in for the Odyn service on this machine, for development.

local config_types = require("kms.config.types")
local exit = require("kms.cli.exit")
local loop = require("kms.base.loop")
local session = require("kms.cli.session")

local function run(parsed, world)
	local host, port = (config_types.bind.parse(parsed.bind) or ""):match("^%[?(.-)%]?:(%d+)$")
	if not host then return session.fail(world, "--bind: allowed is " .. config_types.bind.allowed(), "ERR_USAGE") end
	local native, failed = session.native(world, session.SMALL)
	if not native then return failed end
	-- Only here: what it needs of native is not for a node.
	local double, message = require("devnet.odyn").start({ seed = parsed.seed, host = host, port = tonumber(port) })
	if not double then return session.fail(world, message) end
	local address = parsed.bind:gsub(":%d+$", ":" .. double.port)
	session.print(world, ("development double of the Odyn service on http://%s, wallet %s"):format(
		address, double.wallet:address()))
	world.stdout:flush()
	local function stop() double:stop(loop.stop) end
	for _, name in ipairs({ "sigterm", "sigint" }) do loop.on_signal(name, stop) end
	loop.run()
	return exit.OK
end

return {
	name = "devnet-odyn",
	summary = "stand in for the Odyn service (development; its plaintext is not protected)",
	options = {
		{ name = "seed", value = "FILE", help = "seed file of its keys, made where there is none", default = "odyn.seed" },
		{ name = "bind", value = "ADDRESS", help = "loopback address and port", default = "127.0.0.1:18000" },
	},
	run = run,
}
