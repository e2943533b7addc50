--- What the commands of `nova-kms call` share: options about nodes and identity, the client, calling again.

local client = require("kms.client")
local loop = require("kms.base.loop")
local memory = require("kms.client.memory")
local session = require("kms.cli.session")

local M = {}

local BUSY = { [429] = true, [503] = true } -- HTTP statuses
local MAX_WAIT_S = 600 -- of all waits of a call
local NO_FILE = "-"

local COMMON = {
	{ name = "url", value = "URL", type = "base_url", many = true,
		help = "base URL of the node (default: the configured BIND_ADDR); several: on trouble the next one is called" },
	{ name = "seed", value = "FILE",
		help = "seed file of the application (default: DATA_DIR/demo-app.seed, which CHAIN=local creates)" },
	{ name = "node-wallet", value = "ADDRESS", type = "wallet", many = true,
		help = "the node's wallet, which must have signed the response; with several --url once for each, in their order" },
	{ name = "node-pubkey", value = "HEX", type = "tee_pubkey", many = true,
		help = "the node's teePubkey, which must have sealed the response; as --node-wallet" },
	session.TIMEOUT,
	{ name = "known-nodes", value = "FILE",
		help = "file that remembers which nodes have sessions, - for none (default: see below)" },
	{ name = "allow-v1",
		help = "speak version 1 of the protocol where no session can be opened, also with a node that had sessions" },
	{ name = "require-pop",
		help = "in version 1, refuse responses that do not repeat the request's signature; existing nodes do not repeat it" },
	{ name = "retry",
		help = "when the node is busy or limits calls, wait as it says and call again, for ten minutes; a put or delete " ..
			"that got 503 may have been made, and is sent again with --retry-writes alone" },
}

--- The options of commands that write.
M.RETRY_WRITES = {
	name = "retry-writes",
	help = "send a put or delete again whose answer did not come, and with --retry one that got 503, though it may " ..
		"overwrite what others wrote meanwhile",
}

M.NOTES = [[
Without --node-wallet and --node-pubkey the identity that /status names is trusted, so any server
at the URL is. Give both options where the network path to the node is not trusted.

Calls go through a session with the node. Version 1 of the protocol is spoken only with a node that
proves that it has no sessions, and never with one that had them, unless --allow-v1 says so. Such
nodes are remembered in $XDG_STATE_HOME/nova-kms/known-nodes (~/.local/state by default).]]

--- Adds the options that all commands have.
function M.with_common(options)
	for _, option in ipairs(COMMON) do options[#options + 1] = option end
	return options
end

-- The nodes of the command line. Returns list | nil, exit code.
local function nodes_of(world, parsed, native)
	local urls, wallets, keys = parsed.url, parsed.node_wallet or {}, parsed.node_pubkey or {}
	if not urls then
		local url, failed = session.url({}, world)
		if not url then return nil, failed end
		urls = { url }
	end
	for name, list in pairs({ ["--node-wallet"] = wallets, ["--node-pubkey"] = keys }) do
		if #list > 0 and #list ~= #urls then
			return nil, session.fail(world, ("give %s once for each --url, or not at all"):format(name), "ERR_USAGE")
		end
	end
	for _, key in ipairs(keys) do
		local point, message, code = session.tee_pubkey(native, "node-pubkey", key)
		if not point then return nil, session.fail(world, message, code) end
	end
	local nodes = {}
	for i, url in ipairs(urls) do nodes[i] = { url = url, node_wallet = wallets[i], node_pubkey = keys[i] } end
	return nodes
end

-- Returns memory or nil (of this process alone) | false, exit code.
local function memory_of(world, parsed)
	local path = parsed.known_nodes or memory.default_path(world.env)
	if not path or path == NO_FILE then return nil end
	local known, message, code = memory.open(path, function(why) world.stderr:write("nova-kms: ", why, "\n") end)
	if known then return known end
	return false, session.fail(world, "--known-nodes " .. message, code)
end

--- What waits for busy nodes, for ten minutes in all.
-- @return function(message, seconds) -> whether it has waited, as kms.client takes it; nil without --retry
function M.waiter(world, parsed)
	if not parsed.retry then return nil end
	local waited_s = 0
	return function(message, wait_s)
		waited_s = waited_s + wait_s
		if waited_s > MAX_WAIT_S then return false end
		world.stderr:write(("nova-kms: %s; calling again in %d s\n"):format(message, wait_s))
		loop.sleep(wait_s * 1000)
		return true
	end
end

--- Calls fn(...), which changes nothing, and returns nil, message, code, HTTP status, seconds to wait where the node
-- refuses; with --retry again after 429 and 503, until it would take too long.
function M.persist(world, parsed, fn, ...)
	local wait = M.waiter(world, parsed)
	while true do
		local result, message, code, status, wait_s = fn(...)
		local again = not result and wait and BUSY[status] and wait(message, math.max(wait_s or 1, 1))
		if not again then return result, message, code end
	end
end

--- A client of the nodes that the command line names.
-- @return client of kms.client | nil, exit code, after the failure was printed
function M.open(world, parsed, native)
	local nodes, failed = nodes_of(world, parsed, native)
	if not nodes then return nil, failed end
	local path, seed, message, code
	path, failed = session.seed_path(parsed, world, "demo-app.seed")
	if not path then return nil, failed end
	seed, message, code = native.seed_load(path)
	if not seed then
		local hint = not parsed.seed and code == "ERR_FILE_MISSING" and "; name your application's with --seed" or ""
		return nil, session.fail(world, ("seed %s: %s%s"):format(path, message, hint), code)
	end
	local known
	known, failed = memory_of(world, parsed)
	if known == false then return nil, failed end
	local opened
	opened, message, code = M.persist(world, parsed, client.open, {
		nodes = nodes, seed = seed, timeout_ms = parsed.timeout * 1000, require_pop = parsed.require_pop, memory = known,
		allow_v1 = parsed.allow_v1, retry_writes = parsed.retry_writes,
	})
	if not opened then return nil, session.fail(world, message, code) end
	return opened
end

return M
