--- `nova-kms audit verify`: checks files of an audit log. Needs no node, unless it is to name its wallet itself.

local args = require("kms.cli.args")
local exit = require("kms.cli.exit")
local json = require("kms.base.json")
local node_verify = require("kms.cli.recovery_verify")
local order = require("kms.audit.order")
local reader = require("kms.audit.reader")
local session = require("kms.cli.session")
local text = require("kms.base.text")

local M = {}

-- Wallets as they stand in the log. Returns list | nil, message, code.
local function wallets_of(native, world, parsed)
	local list = { table.unpack(parsed.wallet or {}) }
	if not parsed.url then return list end
	if not parsed.pcr then return nil, "--pcr is missing: it names the images that may run there", "ERR_USAGE" end
	local node, message, code = node_verify.node(native, world, parsed)
	if not node then return nil, message, code end
	list[#list + 1] = node.wallet
	return list
end

local function date(ms)
	return ms and os.date("!%Y-%m-%dT%H:%M:%SZ", ms // 1000) or "-"
end

-- What is worth a look, though nothing is wrong. Returns list of lines.
local function notes_of(result, is_known)
	local notes = {}
	local function note(when, form, ...)
		if when then notes[#notes + 1] = "note: " .. form:format(...) end
	end
	note(result.first_seq > 1, "it begins with line %d: the lines before it are in earlier files", result.first_seq)
	note(result.chains > 1, "%d chains begin in it: a node started with a new file", result.chains)
	note(result.lost > 0, "the node says that it lost %s, for which it had no room", text.count(result.lost, "line"))
	note(result.torn > 0, "crashes tore %s, as the lines behind say", text.count(result.torn, "line"))
	note(result.tail > 0, "the last line is incomplete: %s%s", text.count(result.tail, "byte"),
		reader.nuls(result.tail_nuls))
	for _, gap in ipairs(result.gaps) do
		note(true, "no signature covers %s, number %d to %d: the end of a run", text.count(gap.lines, "line"), gap.first,
			gap.last)
	end
	note(not is_known, "--wallet was not given: whether this wallet is the node's is not checked")
	return notes
end

-- What is wrong with the log as a whole, or nil.
local function failure_of(result)
	if result.lines == 0 then return "there is no line in it" end
	if result.signatures == 0 then return "nothing in it is signed" end
	return result.too_many and ("no signature covers %s: more than --max-unsigned"):format(
		text.count(result.too_many, "line"))
end

local function print_result(world, parsed, result, failure, is_known)
	if parsed.json then
		json.list(result.wallets)
		json.list(result.gaps)
		result.ok, result.failure = failure == nil, failure
		return session.print(world, json.encode(result))
	end
	session.print(world, ("%s, number %d to %s, of %s, until %s"):format(text.count(result.lines, "line"),
		result.first_seq, session.shown(result.last_seq), text.count(result.runs, "run"), date(result.last_time_ms)))
	session.print(world, ("%s, by %s"):format(text.count(result.signatures, "signature"),
		#result.wallets > 0 and table.concat(result.wallets, ", ") or "nobody"))
	session.print(world, "last hash: " .. session.shown(result.last_hash))
	for _, line in ipairs(notes_of(result, is_known)) do session.print(world, line) end
	if failure then return end
	session.print(world, "the chain is whole, and every signature good" .. (result.unsigned == 0 and ""
		or (", but nothing proves the %s that none covers"):format(text.count(result.unsigned, "line"))))
end

local function verify(native, parsed, world)
	local wallets, message, code = wallets_of(native, world, parsed)
	if not wallets then return session.fail(world, message, code) end
	local verifier = require("kms.audit.verifier").new({ wallets = wallets, max_unsigned = parsed.max_unsigned })
	for _, path in ipairs(order.sorted(parsed.file, function(raw) return native.hex_encode(native.sha256(raw)) end)) do
		local file, unreadable = reader.open(path)
		if not file then return session.fail(world, unreadable, "ERR_FILE_MISSING") end
		file:close()
		local ok, wrong = verifier:file(path)
		if not ok then return session.fail(world, ("%s: %s"):format(path, wrong), "ERR_UNVERIFIED") end
	end
	local result = verifier:result()
	local failure = failure_of(result)
	print_result(world, parsed, result, failure, #wallets > 0)
	if failure then return session.fail(world, failure, "ERR_UNVERIFIED") end
	return exit.OK
end

local function run(parsed, world)
	local native, failed = session.native(world, session.SMALL)
	if not native then return failed end
	return session.wait(function() return verify(native, parsed, world) end)
end

M.COMMAND = {
	name = "verify",
	summary = "check that no line was changed, left out or added, and who has signed them",
	arguments = { { name = "file", help = "files of one node's log, in any order", many = true } },
	options = {
		{ name = "wallet", value = "WALLET", type = "wallet", many = true,
			help = "the node's wallet: no other may have signed" },
		{ name = "url", value = "URL", type = "base_url",
			help = "ask this node for its wallet, by an attestation document" },
		{ name = "pcr", value = "FILE", help = "with --url: allow list of images that may run there" },
		{ name = "allow-simulated", help = "with --url: accept a node without an enclave: for tests only" },
		{
			name = "max-unsigned", value = "LINES", type = "int", min = 0, max = 1 << 40, default = 1000,
			help = "lines that may have no signature, in all runs together",
		},
		session.TIMEOUT, args.JSON,
	},
	notes = "A node signs its lines every 10 seconds and when it stops. What a crash leaves unsigned is counted:\n"
		.. "anybody who could write the file can have put it there. --max-unsigned 0 allows none.\n"
		.. "That lines are missing at the end of the last file can only be seen from outside: compare the last number\n"
		.. "with `nova-kms status --socket`, or with a copy. Exit code 5: the log is not as it was written.",
	run = run,
}

return M
