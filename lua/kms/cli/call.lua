--- `nova-kms call derive|put|get|list|delete|batch`: calls a node as an application does. Keys and values go
-- from guarded memory to the output and never become Lua strings. The exception is --value: other
-- users of the machine can see the argument anyway.

local batch = require("kms.cli.call_batch")
local exit = require("kms.cli.exit")
local caller = require("kms.cli.call_client")
local session = require("kms.cli.session")
local text = require("kms.base.text")

local STDOUT = 1 -- descriptor of world.stdout
local NOTES = caller.NOTES

local VALUE_NOTES = NOTES .. [[


Other users of this machine can see --value while the command runs, and the shell's history keeps
it: pass secrets with --value-file (- for standard input).]]

local LIST_NOTES = NOTES .. [[


Many keys take several calls, a page each. With --json each page is an object on a line of its own.]]

local JSON = { name = "json", help = "print the decrypted response as JSON" }
local PATH = { name = "path", value = "TEXT", help = "derivation path (required)" }
local KEY = { name = "key", value = "TEXT", help = "key of the record (required)" }

local function format_option(help)
	return { name = "format", value = "FORMAT", values = { "base64", "hex", "raw" }, help = help }
end

local function key_required(parsed)
	if not parsed.key then return nil, "--key is missing" end
	if parsed.key == "" then return nil, "--key is empty: a key has at least one byte" end
	return { key = parsed.key }
end

-- How many members hold a write; existing nodes do not say it.
local function on_nodes(result)
	if not result.copies then return "" end
	return ", on " .. text.count(result.copies, "node")
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
		local record, why = key_required(parsed)
		if not record then return nil, why end
		if (parsed.value == nil) == (parsed.value_file == nil) then
			return nil, "give either --value or --value-file"
		end
		local value, message, code = parsed.value, nil, nil
		if not value then value, message, code = native.value_read(parsed.value_file) end
		if not value then return nil, ("--value-file %s: %s"):format(parsed.value_file, message), code end
		record.value, record.ttl_ms = value, parsed.ttl_ms
		return record
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
	local ok, message, code = caller.persist(world, parsed, function()
		local whole, why, name, status, wait_s = node:list(fields.prefix, print_page)
		return whole, why, name, not printed and status or nil, wait_s
	end)
	node:close()
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
	local node, failed = caller.open(world, parsed, native)
	if not node then return failed end
	if name == "list" then return list(world, node, parsed, fields) end
	local result
	result, message, code = node:call(name, fields, caller.waiter(world, parsed))
	node:close()
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
	options[#options + 1] = JSON
	options = caller.with_common(options)
	return { name = name, summary = summary, options = options, notes = notes or NOTES, run = runner(name) }
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
			caller.RETRY_WRITES,
		}, VALUE_NOTES),
		command("get", "print a stored value", {
			KEY, format_option("format of the value (default raw)"),
		}),
		command("list", "print the names of stored keys", {
			{ name = "prefix", value = "TEXT", help = "only keys that start with it" },
		}, LIST_NOTES),
		command("delete", "delete a stored value", { KEY, caller.RETRY_WRITES }),
		batch,
	},
}
