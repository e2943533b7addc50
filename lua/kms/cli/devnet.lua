--- `nova-kms devnet`: a whole cluster on this machine, to try things with; runs until Ctrl-C.

local exit = require("kms.cli.exit")
local loop = require("kms.base.loop")
local session = require("kms.cli.session")
local uv = require("luv")
local wakeup = require("kms.async.wakeup")

local DEFAULTS = { nodes = 3, port = 8100 }
local MAX_NODES, MAX_PORT = 16, 65000
local RESTART_MS = 1000 -- after a process ended by itself
local STABLE_MS = 5000 -- one that lived less long is left alone

-- A process that ended unasked starts again, as it would under a supervisor.
local function revive(net, node, what)
	loop.after(RESTART_MS, function()
		if net.stopping then return end
		if what == "odyn" then node:start_odyn() else node:start() end
	end)
end

local function say_ended(world, net, node, process, what)
	local name = node and ("%s %d"):format(what == "odyn" and "TEE service" or "node", node.index) or "the chain"
	local again = node and net.up and loop.now() - process.started_ms > STABLE_MS
	session.print(world, ("%s (process %d) %s: %s"):format(name, process.pid, process:ending(),
		again and "it starts again" or "see " .. process.log))
	world.stdout:flush()
	if again then revive(net, node, what) end
end

-- Starts it and shows it off.
-- @return true | nil, message
local function bring_up(net, parsed, world)
	local guide = require("devnet.guide")
	local ok, message = pcall(net.start, net)
	if not ok then return nil, message end
	net.up = true
	guide.print_map(net, world.stdout)
	if not parsed.no_demo then
		ok, message = require("devnet.demo").run(net, world)
		if not ok then return nil, message end
	end
	if not parsed.once then
		guide.print_lines(net, world.stdout, world.program)
		world.stdout:write("\nCtrl-C ends it.\n")
	end
	world.stdout:flush()
	return true
end

-- Until a signal, or until there is nothing more to do. A second signal is not needed: what ends
-- the children is bounded in time.
-- @return exit code
local function supervise(net, parsed, world)
	local over, code = wakeup.new(), exit.OK
	for _, name in ipairs({ "sigint", "sigterm", "sighup" }) do
		loop.on_signal(name, function()
			if not net.stopping then over:wake() end
			net.stopping = true
		end)
	end
	loop.spawn(function()
		local ok, message = bring_up(net, parsed, world)
		if net.stopping or (ok and not parsed.once) then return end
		if not ok then code = session.fail(world, message) end
		over:wake()
	end)
	over:wait()
	net:stop()
	return code
end

local function check(parsed)
	if not parsed.keep then return true end
	for _, name in ipairs({ "nodes", "port", "odyn" }) do
		if parsed[name] then return nil, ("--keep takes over what was there: leave --%s out"):format(name) end
	end
	return true
end

local function run(parsed, world)
	local ok, message = check(parsed)
	if not ok then return session.fail(world, message, "ERR_USAGE") end
	local native, failed = session.native(world, session.SMALL)
	if not native then return failed end
	return session.wait(function()
		local net
		net, message = require("devnet").new({
			root = world.root, dir = parsed.dir, program = uv.exepath(), nodes = parsed.nodes or DEFAULTS.nodes,
			port = parsed.port or DEFAULTS.port, odyn = parsed.odyn, keep = parsed.keep,
			on_end = function(...) say_ended(world, net, ...) end,
		})
		if not net then return session.fail(world, message) end
		session.print(world, ("Starting a chain and %d nodes in %s ..."):format(#net.nodes, net.dir))
		world.stdout:flush()
		return supervise(net, parsed, world)
	end)
end

return {
	name = "devnet",
	summary = "run a cluster on this machine, to try things with",
	options = {
		{ name = "nodes", value = "COUNT", help = "how many nodes, 3 if not given", type = "int", min = 1, max = MAX_NODES },
		{ name = "odyn", help = "keys in a TEE service beside each node, not in the node (TEE=odyn)" },
		{ name = "dir", value = "DIR", help = "folder of everything it makes", default = "build/devnet" },
		{ name = "port", value = "PORT", help = "of the chain, nodes follow; 8100 if not given, 0: any free ones",
			type = "int", min = 0, max = MAX_PORT },
		{ name = "keep", help = "go on where the last devnet in DIR ended; else DIR is cleared first" },
		{ name = "no-demo", help = "show no table" },
		{ name = "once", help = "end after the table; the exit code says whether all of it held" },
	},
	notes = "It needs anvil and the contracts' bytecode (`make contracts`, or `make devnet`, which does it all).",
	run = run,
}
