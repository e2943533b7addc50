--- `nova-kms recovery give`: a custodian gives its share to a node of a cluster that lost its master secret.

local uv = require("luv")
local age = require("kms.cli.recovery_age")
local call = require("kms.cli.recovery_call")
local exit = require("kms.cli.exit")
local loop = require("kms.base.loop")
local session = require("kms.cli.session")
local verify = require("kms.cli.recovery_verify")

local M = {}

local MAX_BYTES = 65536
local CLOSED_S, POLL_MS = 20, 1000 -- how long a node is asked again that has no secret and takes no shares

local shown, table_of = session.shown, session.table_of

local function unverified(message)
	return nil, message, "ERR_UNVERIFIED"
end

-- Makes a call to the node. Returns response | nil, message, code.
local function ask(world, parsed, path, more)
	more = more or {}
	more.max_bytes = MAX_BYTES
	return call.request(world, parsed, path, more)
end

-- The whole id of the share's set, as the node knows it: nil for the one in force, which needs none in a query.
-- Returns query text | nil, message, code.
local function set_query(world, parsed, node, head)
	if node.recovery and node.recovery:sub(1, #head.set) == head.set then return "" end
	local response, message, code = ask(world, parsed, "/recovery")
	if not response then return nil, message, code end
	for _, earlier in ipairs(table_of(table_of(response.value).earlier)) do
		local id = table_of(earlier).set
		if type(id) == "string" and #id == 64 and id:sub(1, #head.set) == head.set then return "&set=" .. id end
	end
	return unverified("the share is of a set of custodians that this node does not have")
end

-- What the custodian sees before anything is sent.
local function describe(world, parsed, node, head, found)
	local function line(name, value) session.print(world, ("  %-14s%s"):format(name, value)) end
	session.print(world, "Your share will be encrypted for this node, and given to it:")
	line("node", parsed.url)
	line("image", node.image .. (node.simulated and "  SIMULATED: no enclave protects it" or ""))
	line("wallet", node.wallet)
	line("operator", shown(found.instance.operator))
	line("recovery key", node.recovery_key)
	session.print(world, "It is for this cluster's master secret:")
	line("hash on chain", found.hash)
	line("your share", ("%d of %d, of which %d are needed; set %s, made on %s"):format(head.x, head.count,
		head.threshold, head.set, os.date("!%Y-%m-%d", head.day * 86400)))
end

-- Returns whether the custodian agrees | nil, message, code.
local function confirmed(world, parsed)
	if parsed.yes then return true end
	if uv.guess_handle(0) ~= "tty" then
		return nil, "standard input is no terminal to ask on: run it on one, or give --yes", "ERR_USAGE"
	end
	world.stdout:write("Is this the node that you were asked, by a way that you trust, to give your share to? Type yes: ")
	world.stdout:flush()
	return io.stdin:read("l") == "yes"
end

-- Gets and verifies the document of a node that waits for custodians. Between two looks at the chain a node may be
-- closed for a moment: one that has no secret is asked again. Returns node | nil, message, code.
local function waiting_node(native, world, parsed)
	local deadline = uv.hrtime() + CLOSED_S * 1000000000
	while true do
		local node, message, code = verify.node(native, world, parsed)
		if not node or node.recovery_key then return node, message, code end
		local response = ask(world, parsed, "/recovery")
		local has_none = response and type(table_of(response.value).secret_hash) ~= "string"
		if not has_none or uv.hrtime() > deadline then
			return unverified("the node does not wait for custodians: there is nothing to give")
		end
		loop.sleep(POLL_MS)
	end
end

-- Checks the node against its document and the chain. Returns node, what the chain says | nil, message, code.
local function check_node(native, world, parsed, head)
	local node, message, code = waiting_node(native, world, parsed)
	if not node then return nil, message, code end
	local names, found
	names, message, code = verify.chain_names(native, parsed, node.list)
	if not names then return nil, message, code end
	found, message, code = verify.on_chain(native, node, names, parsed.rpc)
	if not found then return nil, message, code end
	if found.hash:sub(3, 2 + #head.hash) ~= head.hash then
		return unverified("the share is of another master secret than the one whose hash is on chain")
	end
	return node, found
end

-- Answers the node's challenge and sends the share. Returns reply | nil, message, code.
local function send(native, world, parsed, share, node, query)
	local x = share:head().x
	local response, message, code = ask(world, parsed, ("/recovery/challenge?x=%d%s"):format(x, query))
	if not response then return nil, message, code end
	local challenge, body, answer
	challenge, message, code = age.challenge(native, age.key(parsed), response.body, node.wallet, x)
	if not challenge then return nil, message, code end
	body, message, code = share:seal(node.recovery_key)
	if not body then return nil, message, code end
	answer, message, code = challenge:answer(body)
	challenge:close()
	if not answer then return nil, message, code end
	return ask(world, parsed, "/recovery/share", {
		method = "POST", body = body, headers = { ["X-KMS-Recovery"] = ("%d:%s"):format(x, answer) },
	})
end

local function give(native, parsed, world)
	local share, message, code = age.share(native, age.key(parsed), parsed.share)
	if not share then return nil, message, code end
	local head = share:head()
	local node, found, query, agreed, response
	node, found, code = check_node(native, world, parsed, head)
	if not node then return nil, found, code end
	query, message, code = set_query(world, parsed, node, head)
	if not query then return nil, message, code end
	describe(world, parsed, node, head, found)
	agreed, message, code = confirmed(world, parsed)
	if agreed == nil then return nil, message, code end
	if not agreed then
		session.print(world, "nothing was sent")
		return exit.FAILED
	end
	response, message, code = send(native, world, parsed, share, node, query)
	share:close()
	if not response then return nil, message, code end
	local reply = table_of(response.value)
	if reply.complete == true then
		session.print(world, "given: the node has the master secret again")
	else
		session.print(world, ("given: the node has %s of the %s shares that it needs%s"):format(shown(reply.have),
			shown(reply.need), reply.problem and "; " .. shown(reply.problem) or ""))
	end
	return exit.OK
end

local function run(parsed, world)
	for _, name in ipairs({ "identity", "share", "url", "rpc", "pcr" }) do
		if not parsed[name] then return session.fail(world, ("--%s is missing"):format(name), "ERR_USAGE") end
	end
	local native, failed = session.native(world, session.SMALL)
	if not native then return failed end
	return session.wait(function()
		local done, message, code = give(native, parsed, world)
		return done or session.fail(world, message, code)
	end)
end

local NOTES = [[
For the day on which all nodes were lost. You need three things: your private key (the file that age-keygen
made, or its plugin), your share (NAME.age), and the standard program age. The operator tells you, by a
way that you trust, the node's URL and the file allowed.lua.

  nova-kms recovery give -i key.txt --share alice.age --url https://node --rpc https://rpc1 --rpc https://rpc2 \
      --pcr allowed.lua

Before anything is sent it checks that the node runs a listed image in an enclave, that it is a verified member of
the cluster on the chain that each --rpc shows, and that your share is of the secret whose hash is there. It then
shows what it found, and asks. Use RPC servers of your own choice, not the operator's: they tell you that the chain
is the true one.

Your share never leaves this machine in the open: it is encrypted to a key that only that enclave has, and only until
it has the secret again. Nobody sees the secret. Should it say that the shares do not fit together, one of the
custodians gave a wrong share: one more custodian's share shows who.]]

--- The declaration of the command (kms.cli.args).
-- @param options  those that it shares with the other commands: url, pcr, identity, share, simulated
function M.command(options)
	return {
		name = "give", summary = "give your share to a node whose cluster lost its master secret",
		options = {
			options.identity, options.share, options.url,
			{ name = "rpc", value = "URL", type = "url", many = true,
				help = "RPC server of the chain; give several, all must agree" },
			options.pcr,
			{ name = "registry", value = "ADDRESS", type = "contract",
				help = "NovaAppRegistry (default: the allow list's `chain`)" },
			{ name = "kms-registry", value = "ADDRESS", type = "contract",
				help = "KMSRegistry (default: the allow list's `chain`)" },
			{ name = "app-id", value = "ID", type = "id",
				help = "application id of the KMS nodes (default: the allow list's `chain`)" },
			{ name = "chain-id", value = "ID", help = "id of the chain (default: the allow list's `chain`)", type = "int",
				min = 1, max = (1 << 53) - 1 },
			{ name = "yes", help = "do not ask" },
			options.simulated, age.TIMEOUT, session.TIMEOUT,
		},
		notes = NOTES, run = run,
	}
end

return M
