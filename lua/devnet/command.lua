--- `nova-kms devnet`: runs a whole cluster on this machine until Ctrl-C.

local custodians = require("devnet.custodians")
local demo = require("devnet.demo")
local devnet = require("devnet")
local disaster = require("devnet.disaster")
local drill = require("devnet.drill")
local exit = require("kms.cli.exit")
local guide = require("devnet.guide")
local loop = require("kms.base.loop")
local loss = require("devnet.loss")
local session = require("kms.cli.session")
local text = require("kms.base.text")
local uv = require("luv")
local wakeup = require("kms.async.wakeup")

local DEFAULTS = { nodes = 3, port = 8100 }
local DISASTER = { custodians = 5, threshold = 3 } -- of --disaster
local MAX_NODES, MAX_PORT = 16, 65000
local RESTART_MS = 1000 -- pause before an ended process starts again
local STABLE_MS = 5000 -- a process that ran for less is not started again

-- Starts a process again that ended by itself, as a supervisor would; not when all nodes were lost meanwhile.
local function revive(net, node, what)
	loop.after(RESTART_MS, function()
		local ended = what == "odyn" and node.odyn or node.process
		if net.stopping or not net.up or ended:alive() then return end
		if what == "odyn" then node:start_odyn() else node:start() end
	end)
end

local function report_end(world, net, node, process, what)
	local name = node and ("%s %d"):format(what == "odyn" and "TEE service" or "node", node.index)
		or what == "s3" and "the S3 server" or "the chain"
	local drained = node and what == "node" and process.signal == 0 and process.code == 0
	local again = node and net.up and not drained and loop.now() - process.started_ms > STABLE_MS
	local next_step = again and "it starts again" or "see " .. process.log
	if drained then next_step = "it was drained, to give it back: " .. guide.give_back_line() end
	session.print(world, ("%s (process %d) %s: %s"):format(name, process.pid, process:ending(), next_step))
	world.stdout:flush()
	if again then revive(net, node, what) end
end

-- Starts the nodes that were drained, or ended otherwise and were not started again.
local function give_back(net)
	if net.stopping or not net.up then return end
	for _, node in ipairs(net.nodes) do
		if not node.process:alive() then node:start() end
	end
end

-- Loses all nodes with their files, and starts fresh ones, for custodians to bring back.
local function lose(net, world)
	if net.stopping or not net.up or not net.custodians then return end
	net.up = false -- no node is revived meanwhile
	session.print(world, "All nodes are killed, and all their files deleted.")
	loss.strike(net)
	local ok, message = pcall(loss.replace, net)
	net.up = true
	if net.stopping then return end
	if not ok then return session.fail(world, message) end
	session.print(world, "Fresh nodes with new wallets run, and are registered on the chain. They wait for custodians.")
	world.stdout:flush()
end

-- Starts the cluster and shows what it does.
-- @return true | nil, message
local function bring_up(net, parsed, world)
	local ok, message = pcall(net.start, net)
	if not ok then return nil, message end
	net.up = true
	guide.print_map(net, world.stdout)
	if parsed.drill then return drill.run(net, world) end
	if parsed.disaster then return disaster.run(net, world) end
	if not parsed.no_demo then
		ok, message = demo.run(net, world)
		if not ok then return nil, message end
	end
	if not parsed.once then
		guide.print_lines(net, world.stdout, world.program)
		world.stdout:write("\nCtrl-C ends it.\n")
	end
	world.stdout:flush()
	return true
end

-- Runs the cluster until a signal, or until what --once, --drill or --disaster ask for was shown. A second signal does
-- nothing more: stopping the child processes is bounded in time.
-- @return exit code
local function supervise(net, parsed, world)
	local ended, code = wakeup.new(), exit.OK
	for _, name in ipairs({ "sigint", "sigterm", "sighup" }) do
		loop.on_signal(name, function()
			if not net.stopping then ended:wake() end
			net.stopping = true
		end)
	end
	loop.on_signal("sigusr1", function() give_back(net) end)
	loop.on_signal("sigusr2", function() loop.spawn(lose, net, world) end)
	loop.spawn(function()
		local ok, message = bring_up(net, parsed, world)
		if net.stopping or (ok and not parsed.once and not parsed.drill and not parsed.disaster) then return end
		if not ok then code = session.fail(world, message) end
		ended:wake()
	end)
	ended:wait()
	net:stop()
	return code
end

local function check(parsed)
	if parsed.drill and parsed.nodes and parsed.nodes < drill.MIN_NODES then
		return nil, ("--drill takes at least %d nodes"):format(drill.MIN_NODES)
	end
	if parsed.disaster and parsed.nodes and parsed.nodes < disaster.MIN_NODES then
		return nil, ("--disaster takes at least %d nodes"):format(disaster.MIN_NODES)
	end
	-- --keep takes these from the last devnet.
	if not parsed.keep then return true end
	for _, name in ipairs({ "nodes", "port", "odyn", "custodians", "threshold", "s3", "disaster" }) do
		if parsed[name] then return nil, ("--keep takes over the last devnet: --%s cannot change it"):format(name) end
	end
	return true
end

-- The custodians that the options ask for: { count, threshold } | nil: none | false, message.
local function wanted_custodians(parsed)
	local count, least = parsed.custodians, parsed.threshold
	if parsed.disaster and not count then count, least = DISASTER.custodians, least or DISASTER.threshold end
	local threshold, message = custodians.threshold(count, least)
	if not threshold then return threshold, message end
	return { count = count, threshold = threshold }
end

local function run(parsed, world)
	local wanted
	local ok, message = check(parsed)
	if ok then wanted, message = wanted_custodians(parsed) end
	if not ok or wanted == false then return session.fail(world, message, "ERR_USAGE") end
	local native, failed = session.native(world, session.SMALL)
	if not native then return failed end
	return session.wait(function()
		local net
		net, message = devnet.new({
			root = world.root, dir = parsed.dir, program = uv.exepath(), nodes = parsed.nodes or DEFAULTS.nodes,
			port = parsed.port or DEFAULTS.port, odyn = parsed.odyn, keep = parsed.keep, custodians = wanted, s3 = parsed.s3,
			watched = true, env = parsed.disaster and disaster.SETTINGS or nil,
			on_end = function(...) report_end(world, net, ...) end,
		})
		if not net then return session.fail(world, message) end
		session.print(world, ("Starting a chain and %s in %s ..."):format(text.count(#net.nodes, "node"), net.dir))
		world.stdout:flush()
		return supervise(net, parsed, world)
	end)
end

return {
	name = "devnet",
	summary = "run a whole cluster on this machine, to try things with",
	options = {
		{ name = "nodes", value = "COUNT", help = "number of nodes (default 3)", type = "int", min = 1, max = MAX_NODES },
		{ name = "odyn", help = "keep keys in a fake Odyn service beside each node (TEE=odyn)" },
		{ name = "custodians", value = "COUNT", type = "int", min = custodians.LEAST, max = custodians.MOST,
			help = "people with keys of age who together restore the secret, and sealed snapshots of the records" },
		{ name = "threshold", value = "COUNT", type = "int", min = custodians.LEAST, max = custodians.MOST,
			help = "how many of them it takes (default: more than half)" },
		{ name = "s3", help = "keep sealed snapshots in a bucket of s3rver, an S3 server that `make drill` fetches" },
		{ name = "dir", value = "DIR", help = "folder for all files of the devnet", default = "build/devnet" },
		{ name = "port", value = "PORT", help = "port of the chain, the nodes' follow (default 8100; 0: any free ports)",
			type = "int", min = 0, max = MAX_PORT },
		{ name = "keep", help = "continue the last devnet in DIR instead of clearing DIR" },
		{ name = "no-demo", help = "do not show the table" },
		{ name = "drill", help = "write while nodes are killed, restarted and stopped, compare them, and end" },
		{ name = "disaster", help = "lose all nodes under load, have three of five custodians bring all back, and end" },
		{ name = "once", help = "end after the table; exit code 0 means that all nodes agreed" },
	},
	notes = "It needs anvil and the contracts' bytecode: run `make contracts` first, or use `make devnet`.",
	run = run,
}
