--- `nova-kms call batch FILE`: many operations in few messages. The file, and what the node answers, go through guarded
-- memory; of an operation Lua sees its names.

local caller = require("kms.cli.call_client")
local exit = require("kms.cli.exit")
local json = require("kms.base.json")
local session = require("kms.cli.session")

local STDOUT = 1 -- descriptor of world.stdout
local ALLOWED = "(`nova-kms call batch --help` shows the operations and their fields)"

local NOTES = [[
FILE has one operation a line, in JSON, and at most 16 MiB:

  {"op":"derive","path":"wallet/root","context":"","length":32}
  {"op":"get","key":"config/db"}
  {"op":"put","key":"config/db","value":"BASE64","ttl_ms":0}
  {"op":"delete","key":"config/db"}
  {"op":"list","prefix":"config/","after":"config/a","limit":100}

They run in the order of their lines, up to 256 in a message. The results are printed in the same
order, one JSON object a line: what the node answered, or {"code","line","message"} where no answer
came; outcome_unknown of a put or delete that may have been done or not. Each failure is also
named with its line on standard error. Nothing is sent if a line is wrong.

]] .. caller.NOTES

-- What a failure without an answer is called on standard output.
local CODES = { ERR_OUTCOME = "outcome_unknown", ERR_UNVERIFIED = "not_verified" }

-- Reads all lines. Returns list of { kind, fields, line } | nil, message, code.
local function read(native, path)
	local file, message, code = native.value_read(path)
	if not file then return nil, ("%s: %s"):format(path, message), code end
	local operations, line, at = {}, 0, 1
	while at do
		local kind, fields
		line = line + 1
		at, kind, fields = file:operation(at)
		if at == nil then return nil, ("%s: line %d: %s %s"):format(path, line, kind, ALLOWED), "ERR_USAGE" end
		if kind then operations[#operations + 1] = { kind = kind, fields = fields, line = line } end
	end
	file:close()
	return operations
end

-- Prints what came of one operation. Returns true | nil, message, code.
local function print_outcome(world, operation, outcome)
	if outcome.message then
		world.stderr:write(("nova-kms: line %d: %s\n"):format(operation.line, outcome.message))
	end
	local exchange = outcome.exchange or outcome.result and outcome.result.exchange
	if exchange then
		world.stdout:flush() -- what is written from guarded memory bypasses Lua's buffer
		local ok, message, code = exchange:write(STDOUT, "json")
		exchange:close() -- now: guarded memory is scarce
		return ok, message, code
	end
	session.print(world, json.encode({
		code = CODES[outcome.code] or "not_answered", line = operation.line, message = outcome.message,
	}))
	return true
end

-- Runs the operations and prints what comes of them. Returns exit code.
local function run(world, parsed, node, operations)
	local code, failed = exit.OK, nil
	node:batch(operations, function(position, outcome)
		if failed then return end
		local ok, message, why = print_outcome(world, operations[position], outcome)
		if not ok then failed = session.fail(world, "cannot write a result: " .. message, why) end
		-- A write of which nobody knows weighs most: repeating the file may overwrite.
		local own = outcome.code and session.exit_code(outcome.code) or exit.OK
		if own == exit.OUTCOME or code == exit.OK then code = own end
	end, caller.waiter(world, parsed))
	world.stdout:flush()
	return failed or code
end

local function batch(world, parsed, native)
	local operations, message, code = read(native, parsed.file)
	if not operations then return session.fail(world, message, code) end
	local node, failed = caller.open(world, parsed, native)
	if not node then return failed end
	local outcome = run(world, parsed, node, operations)
	node:close()
	return outcome
end

return {
	name = "batch",
	summary = "run operations from a file, a JSON line each",
	arguments = { { name = "file", help = "the file, - for standard input" } },
	options = caller.with_common({ caller.RETRY_WRITES }),
	notes = NOTES,
	run = function(parsed, world)
		local native, failed = session.native(world, session.ALL)
		if not native then return failed end
		return session.wait(function() return batch(world, parsed, native) end)
	end,
}
