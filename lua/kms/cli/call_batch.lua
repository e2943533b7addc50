--- `nova-kms call batch FILE`: many operations in few messages. The file, and what the node answers, go through guarded
-- memory; of an operation Lua sees its names.

local caller = require("kms.cli.call_client")
local exit = require("kms.cli.exit")
local json = require("kms.base.json")
local loop = require("kms.base.loop")
local session = require("kms.cli.session")

local STDOUT = 1 -- descriptor of world.stdout
local BUSY = { [429] = true, [503] = true } -- HTTP statuses
local MAX_WAIT_S = 600 -- of all waits

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
		if at == nil then return nil, ("%s: line %d: %s"):format(path, line, kind), "ERR_USAGE" end
		if kind then operations[#operations + 1] = { kind = kind, fields = fields, line = line } end
	end
	file:close()
	return operations
end

-- The positions of operations that a node was too busy for, and the seconds to wait | nil: there is none.
local function busy(outcomes)
	local positions, wait_s = {}, 1
	for i, outcome in ipairs(outcomes) do
		if BUSY[outcome.status] then
			positions[#positions + 1], wait_s = i, math.max(wait_s, outcome.wait_s or 1)
		end
	end
	if #positions > 0 then return positions, wait_s end
end

-- Runs the operations; with --retry those again that a node was too busy for.
local function run(world, parsed, node, operations)
	local outcomes, waited_s = node:batch(operations), 0
	local positions, wait_s = busy(outcomes)
	while parsed.retry and positions and waited_s + wait_s <= MAX_WAIT_S do
		waited_s = waited_s + wait_s
		world.stderr:write(("nova-kms: the node is busy; sending %d operations again in %d s\n"):format(#positions, wait_s))
		loop.sleep(wait_s * 1000)
		local again = {}
		for i, position in ipairs(positions) do again[i] = operations[position] end
		for i, outcome in ipairs(node:batch(again)) do outcomes[positions[i]] = outcome end
		positions, wait_s = busy(outcomes)
	end
	return outcomes
end

-- Prints what came of one operation. Returns true | nil, message, code.
local function print_outcome(world, operation, outcome)
	if outcome.message then
		world.stderr:write(("nova-kms: line %d: %s\n"):format(operation.line, outcome.message))
	end
	local exchange = outcome.exchange or outcome.result and outcome.result.exchange
	if exchange then
		world.stdout:flush() -- what is written from guarded memory bypasses Lua's buffer
		return exchange:write(STDOUT, "json")
	end
	session.print(world, json.encode({
		code = CODES[outcome.code] or "not_answered", line = operation.line, message = outcome.message,
	}))
	return true
end

-- Prints everything. Returns exit code.
local function print_all(world, operations, outcomes)
	local code = exit.OK
	for i, outcome in ipairs(outcomes) do
		local ok, message, why = print_outcome(world, operations[i], outcome)
		if not ok then return session.fail(world, "cannot write a result: " .. message, why) end
		-- A write of which nobody knows weighs most: repeating the file may overwrite.
		local own = outcome.code and session.exit_code(outcome.code) or exit.OK
		if own == exit.OUTCOME or code == exit.OK then code = own end
	end
	world.stdout:flush()
	return code
end

local function batch(world, parsed, native)
	local operations, message, code = read(native, parsed.file)
	if not operations then return session.fail(world, message, code) end
	local node, failed = caller.open(world, parsed, native)
	if not node then return failed end
	local outcomes = run(world, parsed, node, operations)
	node:close()
	return print_all(world, operations, outcomes)
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
