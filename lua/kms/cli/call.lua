--- `nova-kms call derive|put|get|list|delete`: calls a node as an application does. Keys and values go
-- from guarded memory to the output and never become Lua strings. The exception is --value: other
-- users of the machine can see the argument anyway.

local exit = require("kms.cli.exit")
local client = require("kms.client")
local loop = require("kms.base.loop")
local session = require("kms.cli.session")
local text = require("kms.base.text")

local STDOUT = 1 -- descriptor of world.stdout
local RETRIED = { [429] = true, [503] = true } -- HTTP statuses
local MAX_WAIT_S = 600 -- of all waits of a call

local COMMON = {
	session.URL,
	{ name = "seed", value = "FILE",
		help = "seed file of the application (default: DATA_DIR/demo-app.seed, which CHAIN=local creates)" },
	{ name = "node-wallet", value = "ADDRESS", help = "the node's wallet, which must have signed the response" },
	{ name = "node-pubkey", value = "HEX", help = "the node's teePubkey, which must have sealed the response" },
	session.TIMEOUT,
	{ name = "require-pop",
		help = "refuse responses that do not repeat the request's signature; existing nodes do not repeat it" },
	{ name = "retry", help = "when the node is busy or limits calls, wait as it says and call again, for ten minutes" },
	{ name = "json", help = "print the decrypted response as JSON" },
}

local NOTES = [[
Without --node-wallet and --node-pubkey the identity that /status names is trusted, so any server
at the URL is. Give both options where the network path to the node is not trusted.]]

local VALUE_NOTES = NOTES .. [[


Other users of this machine can see --value while the command runs, and the shell's history keeps
it: pass secrets with --value-file (- for standard input).]]

local LIST_NOTES = NOTES .. [[


Many keys take several calls, a page each. With --json each page is an object on a line of its own.]]

local PATH = { name = "path", value = "TEXT", help = "derivation path (required)" }
local KEY = { name = "key", value = "TEXT", help = "key of the record (required)" }

local function format_option(help)
	return { name = "format", value = "FORMAT", values = { "base64", "hex", "raw" }, help = help }
end

local function with_common(options)
	for _, option in ipairs(COMMON) do options[#options + 1] = option end
	return options
end

local function key_required(parsed)
	if not parsed.key then return nil, "--key is missing" end
	return { key = parsed.key }
end

-- How many members hold a write; existing nodes do not say it.
local function on_nodes(result)
	if not result.copies then return "" end
	return result.copies == 1 and ", on 1 node" or (", on %d nodes"):format(result.copies)
end

-- Each kind: the fields of its request | nil, message, code; how it prints a result (unless as JSON):
-- format of the secret, or a function.
local KINDS = {}

KINDS.derive = {
	memory = session.SMALL, format = "base64",
	fields = function(parsed)
		if not parsed.path then return nil, "--path is missing" end
		return { path = parsed.path, context = parsed.context, length = parsed.length }
	end,
}

KINDS.get = { memory = session.ALL, format = "raw", fields = key_required }

KINDS.put = {
	memory = session.ALL,
	fields = function(parsed, native)
		if not parsed.key then return nil, "--key is missing" end
		if (parsed.value == nil) == (parsed.value_file == nil) then
			return nil, "give either --value or --value-file"
		end
		local value, message, code = parsed.value, nil, nil
		if not value then value, message, code = native.value_read(parsed.value_file) end
		if not value then return nil, ("--value-file %s: %s"):format(parsed.value_file, message), code end
		return { key = parsed.key, value = value, ttl_ms = parsed.ttl_ms }
	end,
	print = function(world, parsed, result)
		session.print(world, ("stored %s of application %s at %d%s"):format(text.printable(parsed.key), result.app_id,
			result.updated_at_ms, on_nodes(result)))
	end,
}

KINDS.delete = {
	memory = session.SMALL, fields = key_required,
	print = function(world, parsed, result)
		session.print(world, ("deleted %s of application %s%s"):format(text.printable(parsed.key), result.app_id,
			on_nodes(result)))
	end,
}

KINDS.list = {
	memory = session.SMALL,
	fields = function(parsed) return { prefix = parsed.prefix } end,
}

-- Writes from guarded memory, after what Lua has printed.
local function write(world, exchange, format)
	world.stdout:flush()
	local ok, message, code = exchange:write(STDOUT, format)
	if not ok then return session.fail(world, "cannot write the result: " .. message, code) end
	return exit.OK
end

local function show(world, kind, parsed, result)
	if parsed.json then return write(world, result.exchange, "json") end
	if kind.format then
		local format = parsed.format or kind.format
		local code = write(world, result.exchange, format)
		-- A prompt right behind a value hides where it ends.
		if format == "raw" and world.is_terminal and world.is_terminal() then world.stdout:write("\n") end
		return code
	end
	kind.print(world, parsed, result)
	return exit.OK
end

-- Calls fn(...), which returns nil, message, code, HTTP status, seconds to wait where the node refuses; with --retry
-- again after 429 and 503, until it would take too long.
local function persist(world, parsed, fn, ...)
	local waited_s = 0
	while true do
		local result, message, code, status, wait_s = fn(...)
		if result or not parsed.retry or not RETRIED[status] then return result, message, code end
		wait_s = math.max(wait_s or 1, 1)
		waited_s = waited_s + wait_s
		if waited_s > MAX_WAIT_S then return nil, message, code end
		world.stderr:write(("nova-kms: %s; calling again in %d s\n"):format(message, wait_s))
		loop.sleep(wait_s * 1000)
	end
end

-- Page after page; with --json one object for each page. Called again only while no page was printed.
local function list(world, node, parsed, fields)
	local failed, printed
	local function print_page(keys, exchange)
		printed = true
		if failed then return end
		if parsed.json then
			local outcome = write(world, exchange, "json")
			failed = outcome ~= exit.OK and outcome
			return
		end
		for _, key in ipairs(keys) do session.print(world, text.printable(key)) end
	end
	local ok, message, code = persist(world, parsed, function()
		local whole, why, name, status, wait_s = node:list(fields.prefix, print_page)
		return whole, why, name, not printed and status or nil, wait_s
	end)
	if not ok then return session.fail(world, message, code) end
	return failed or exit.OK
end

local function call(world, name, parsed, native)
	local kind = KINDS[name]
	local fields, message, code = kind.fields(parsed, native)
	if not fields then return session.fail(world, message, code or "ERR_USAGE") end
	if parsed.json and parsed.format then
		return session.fail(world, "give either --json or --format", "ERR_USAGE")
	end
	local url, path, failed, seed
	url, failed = session.url(parsed, world)
	if not url then return failed end
	path, failed = session.seed_path(parsed, world, "demo-app.seed")
	if not path then return failed end
	seed, message, code = native.seed_load(path)
	if not seed then return session.fail(world, ("seed %s: %s"):format(path, message), code) end
	local node
	node, message, code = persist(world, parsed, client.open, {
		url = url, seed = seed, node_wallet = parsed.node_wallet, node_pubkey = parsed.node_pubkey,
		timeout_ms = parsed.timeout * 1000, require_pop = parsed.require_pop,
	})
	if not node then return session.fail(world, message, code) end
	if name == "list" then return list(world, node, parsed, fields) end
	local result
	result, message, code = persist(world, parsed, node.call, node, name, fields)
	if not result then return session.fail(world, message, code) end
	return show(world, kind, parsed, result)
end

local function runner(name)
	return function(parsed, world)
		local native, failed = session.native(world, KINDS[name].memory)
		if not native then return failed end
		return session.wait(function() return call(world, name, parsed, native) end)
	end
end

local function command(name, summary, options, notes)
	return { name = name, summary = summary, options = with_common(options), notes = notes or NOTES, run = runner(name) }
end

return {
	name = "call",
	summary = "call a node as an application",
	commands = {
		command("derive", "derive a key and print it", {
			PATH,
			{ name = "context", value = "TEXT", help = "text that the key also depends on" },
			{ name = "length", value = "BYTES", help = "length of the key", type = "int", min = 1, max = 1024, default = 32 },
			format_option("format of the key (default base64)"),
		}),
		command("put", "store a value", {
			KEY,
			{ name = "value", value = "TEXT", help = "the value" },
			{ name = "value-file", value = "FILE", help = "file with the value, - for standard input" },
			{ name = "ttl-ms", value = "MS", help = "lifetime in milliseconds, 0 for ever", type = "int", min = 0,
				max = math.maxinteger, default = 0 },
		}, VALUE_NOTES),
		command("get", "print a stored value", {
			KEY, format_option("format of the value (default raw)"),
		}),
		command("list", "print the names of stored keys", {
			{ name = "prefix", value = "TEXT", help = "only keys that start with it" },
		}, LIST_NOTES),
		command("delete", "delete a stored value", { KEY }),
	},
}
