--- What a devnet prints for its user: what runs where, and commands to paste into another terminal.

local anvil = require("devnet.anvil")
local registry = require("devnet.registry")
local uv = require("luv")

local M = {}

local CAST = "contracts/node_modules/.bin/cast"

-- A path as it can be typed in the current folder.
local function shown(root, path)
	local here = uv.cwd() .. "/"
	local whole = root == "." and here .. path or root .. "/" .. path
	return whole:sub(1, #here) == here and whole:sub(#here + 1) or whole
end

--- Commands for the chain's owner: list of { what the command does, command }.
function M.owner_lines(net)
	local first, second, calls = net.apps[1], net.apps[2], registry.SIGNATURES
	local send = ("%s send --rpc-url %s --unlocked --from %s"):format(shown(net.root, CAST), net.chain.url, anvil.OWNER)
	local function line(contract, signature, ...)
		return ("%s %s '%s' %s"):format(send, contract, signature, table.concat({ ... }, " ")):gsub(" $", "")
	end
	local apps = net.registry.apps
	return {
		{ first.name .. " is no longer verified", (line(apps, calls.verify, first.instance_id, "false")) },
		{ first.name .. " is verified again", (line(apps, calls.verify, first.instance_id, "true")) },
		{ "the instance of " .. second.name .. " is stopped", (line(apps, calls.stop, second.instance_id)) },
		{ "the version of " .. first.name .. " is revoked", (line(apps, calls.revoke, first.app_id, 1)) },
		{ "the hash of the master secret is reset; the nodes set it again", (line(net.registry.kms, calls.reset)) },
	}
end

--- Prints what runs where.
function M.print_map(net, out)
	out:write("\n", ("chain      %s  NovaAppRegistry %s  KMSRegistry %s\n"):format(net.chain.url, net.registry.apps,
		net.registry.kms))
	for _, node in ipairs(net.nodes) do
		out:write(("node %-5d %s  wallet %s  process %d\n"):format(node.index, node.url, node.wallet, node.process.pid))
		if node.page_url then
			out:write(("           status page %s  audit log %s\n"):format(node.page_url, node.audit_log))
		end
	end
	if net.custodians then
		local place = net.s3 and net.s3.place .. " at " .. net.s3.url or net.custodians.snapshots
		out:write(("custodians %s  snapshots %s\n"):format(net.custodians.dir, place))
	end
	for _, app in ipairs(net.apps) do
		out:write(("%-10s application %d  wallet %s  seed %s\n"):format(app.name, app.app_id, app.wallet, app.seed_path))
	end
	out:write(("logs       %s/nodes/*/*.log\n"):format(net.dir))
end

--- The command that starts drained nodes again.
function M.give_back_line()
	return ("kill -USR1 %d"):format(uv.os_getpid())
end

-- A line that waits until a command succeeds.
local function await(command)
	return ("until %s; do sleep 1; done"):format(command)
end

-- What custodians do every quarter: list of { comment, command }.
local function rehearsal_lines(net, line)
	local custodians, node = net.custodians, net.nodes[1]
	local list = {
		{ "the operator fetches their shares", line(custodians:words("shares", node, "--out", custodians.shares)) },
	}
	for _, person in ipairs(custodians.people) do
		list[#list + 1] = { person.name .. " shows that its key opens its share",
			line(custodians:own_words("check", node, person)) }
	end
	list[#list + 1] = { "who has rehearsed", line(custodians:words("show", node)) }
	return list
end

-- The loss of all nodes, and what brings them back: list of { comment, command }.
local function disaster_lines(net, line)
	local custodians, node, app = net.custodians, net.nodes[1], net.apps[1]
	local function call(words) return line({ "call", words, "--url", node.url, "--seed", app.seed_path }) end
	local derive = call("derive --path wallet/root")
	local list = {
		{ "a key of before", derive },
		{ "all nodes are killed, their files deleted; fresh ones start with new wallets, registered on the chain",
			("kill -USR2 %d"):format(uv.os_getpid()) },
		{ "node 1 waits for custodians", await(line(custodians:words("show", node)) .. " 2>&1 | grep waiting") },
	}
	for i = 1, custodians.threshold do
		local person = custodians.people[i]
		list[#list + 1] = { person.name .. " gives its share",
			line(custodians:own_words("give", node, person, net.chain.url)) }
	end
	list[#list + 1] = { "the key is the one of before", await(derive) }
	list[#list + 1] = { "the records are those of the last snapshot", call("list") }
	return list
end

local function print_custodians(net, out, program)
	local function line(words) return program .. " " .. table.concat(words, " ") end
	local function print_all(list)
		for _, entry in ipairs(list) do out:write("  # ", entry[1], "\n  ", entry[2], "\n") end
	end
	out:write(("As custodians, of whom any %d of %d restore the master secret: the rehearsal, every quarter\n"):format(
		net.custodians.threshold, #net.custodians.people))
	print_all(rehearsal_lines(net, line))
	out:write("The disaster, after the rehearsal (docs/recovery.md)\n")
	print_all(disaster_lines(net, line))
end

--- Prints commands to try next.
function M.print_lines(net, out, program)
	local app, last = net.apps[1], net.nodes[#net.nodes]
	out:write("\nTry in another terminal, as an application:\n")
	for _, words in ipairs({ "derive --path wallet/root", "put --key config/db --value hello", "get --key config/db" }) do
		out:write(("  %s call %s --url %s --seed %s\n"):format(program, words, last.url, app.seed_path))
	end
	out:write("As the chain's owner (nodes see it within seconds):\n")
	for _, line in ipairs(M.owner_lines(net)) do out:write("  # ", line[1], "\n  ", line[2], "\n") end
	if last.audit_log then
		out:write(("As an operator who sees what a node has given to whom, and checks that nothing is missing:\n"
			.. "  %s audit show %s\n  %s audit verify %s --wallet %s\n"):format(program, last.audit_log, program,
			last.audit_log, last.wallet))
	end
	out:write("As an operator who takes a node out, and gives it back:\n")
	out:write(("  %s drain --socket %s/control.sock\n  %s\n"):format(program, last.dir, M.give_back_line()))
	out:write(("As a failing machine (the devnet starts the node again):\n  kill -9 %d\n"):format(last.process.pid))
	if net.custodians then print_custodians(net, out, program) end
end

return M
