--- `nova-kms attest`: makes simulated attestation documents, verifies and shows documents.

local args = require("kms.cli.args")
local attest = require("kms.attest")
local attest_options = require("kms.cli.attest_options")
local attest_show = require("kms.cli.attest_show")
local exit = require("kms.cli.exit")
local identity = require("kms.base.identity")
local json = require("kms.base.json")
local session = require("kms.cli.session")
local sim_attest = require("kms.tee.sim_attest")

-- Exit codes by failure (include/kms/attest.h).
local EXITS = {
	shape = exit.MALFORMED,
	root = exit.UNTRUSTED, chain = exit.UNTRUSTED, constraints = exit.UNTRUSTED, signature = exit.UNTRUSTED,
	expired = exit.OUTDATED, not_yet_valid = exit.OUTDATED, stale = exit.OUTDATED, future = exit.OUTDATED,
	digest = exit.UNEXPECTED, debug = exit.UNEXPECTED, nonce = exit.UNEXPECTED, pcr = exit.UNEXPECTED,
	user_data = exit.UNEXPECTED, public_key = exit.UNEXPECTED,
}

-- Verifies a document. Returns verdict { options, trusted, facts (nil: it is not a document), message and failure
-- (where it is not trusted) } | nil, exit code.
local function verify(parsed, world)
	local native, exit_code = session.native(world, session.SMALL)
	if not native then return nil, exit_code end
	local document, options, message, code
	document, message, code = attest_options.document(native, parsed)
	if not document then
		local exit_for = session.fail(world, message, code)
		return nil, code == "ERR_SHAPE" and exit.MALFORMED or exit_for
	end
	options, message, code = attest_options.policy(native, parsed, document)
	if not options then return nil, session.fail(world, message, code) end
	local verdict = { options = options }
	verdict.facts, verdict.message, verdict.code, verdict.failure = native.attest_verify(document.bytes, options)
	if verdict.code and verdict.code ~= "ERR_ATTEST" then
		return nil, session.fail(world, verdict.message, verdict.code)
	end
	verdict.trusted = verdict.facts ~= nil
	if not verdict.trusted then verdict.facts = native.attest_read(document.bytes) end
	return verdict
end

local function run_verify(parsed, world)
	return session.wait(function()
		local verdict, exit_code = verify(parsed, world)
		if not verdict then return exit_code end
		if parsed.json then
			session.print(world, json.encode(attest_show.json(verdict)))
		elseif verdict.trusted then
			session.print(world, attest_show.summary(verdict))
		end
		if verdict.trusted then return exit.OK end
		session.fail(world, ("%s: %s"):format(verdict.failure, verdict.message), verdict.code)
		return EXITS[verdict.failure] or exit.UNVERIFIED
	end)
end

local function run_show(parsed, world)
	return session.wait(function()
		local verdict, exit_code = verify(parsed, world)
		if not verdict then return exit_code end
		if not verdict.facts then
			session.fail(world, ("%s: %s"):format(verdict.failure, verdict.message), verdict.code)
			return EXITS.shape
		end
		if parsed.json then
			session.print(world, json.encode(attest_show.json(verdict)))
		else
			attest_show.print(function(line) session.print(world, line) end, verdict)
		end
		return exit.OK
	end)
end

-- Makes a document. Returns { bytes, root (SHA-256) } | nil, message, code.
local function make(native, parsed, world)
	local claims, message, code = attest_options.claims(native, parsed)
	if not claims then return nil, message, code end
	local path, bad_config = session.seed_path(parsed, world, "node.seed")
	if not path then return bad_config end
	local seed, keys, signer, bytes
	seed, message, code = native.seed_load(path)
	if not seed then return nil, ("%s: %s"):format(path, message), code end
	keys, message, code = identity.of(seed)
	if not keys then return nil, message, code end
	signer, message = sim_attest.open(path:match("^(.*)/[^/]*$") or ".", seed)
	if not signer then return nil, message end
	local user_data = parsed.user_data or attest.user_data(keys.wallet:address(), parsed.purpose)
	bytes, message, code = signer:attest(claims.nonce, user_data, keys.p384:public_der(), claims)
	if not bytes then return nil, message, code end
	return { bytes = bytes, root = native.sha256(signer:certificate()) }
end

-- Returns true | nil, message.
local function write_file(path, bytes)
	local file, message = io.open(path, "wb")
	if not file then return nil, message end
	local ok
	ok, message = file:write(bytes)
	local closed, failure = file:close() -- writes what is buffered
	if not ok then return nil, message end
	return closed, failure
end

local function run_make(parsed, world)
	local native, exit_code = session.native(world, session.SMALL)
	if not native then return exit_code end
	local document, message, code = make(native, parsed, world)
	if not document then return session.fail(world, message, code) end
	local ok
	ok, message = write_file(parsed.file, document.bytes)
	if not ok then return session.fail(world, message, "ERR_USAGE") end
	local length, root = #document.bytes, native.hex_encode(document.root)
	if parsed.json then
		session.print(world, json.encode({ file = parsed.file, bytes = length, root = root }))
	else
		session.print(world, ("made %s, %d bytes; its root is %s"):format(parsed.file, length, root))
	end
	return exit.OK
end

local NONCE = { name = "nonce", value = "HEX", type = "hex_or_empty", help = "nonce of the document" }
local PCR = { name = "pcr", value = "FILE", help = "allow list, a Lua table as in docs/operating.md" }

local CHECKS = {
	{ name = "url", value = "URL", type = "base_url",
		help = "get a document from this node, with a fresh nonce, instead of reading a file" },
	session.TIMEOUT,
	{ name = "root", value = "ROOTS",
		help = "trusted roots with commas: SHA-256 in hex, DER file, aws-nitro (default: the list's, or aws-nitro)" },
	PCR, NONCE,
	{ name = "public-key", value = "HEX", type = "hex",
		help = "teePubkey of the node; without this option the document may be another node's, passed on" },
	{ name = "allow-debug", help = "accept a PCR0 of zeros: an enclave in debug mode, which its host can read" },
	{ name = "time", value = "TIME",
		help = "verify at this time: Unix seconds, 2025-10-16T02:54:42Z or 'document' (default: now)" },
	{ name = "max-age", value = "SECONDS", help = "oldest accepted timestamp (default: any)", type = "int", min = 0,
		max = 1 << 32 },
	{ name = "max-ahead", value = "SECONDS", help = "how far ahead timestamp and leaf may be", type = "int", min = 0,
		max = 1 << 32, default = 0 },
	args.JSON,
}

local DOCUMENT = { { name = "document", help = "file (bytes, base64 or hex), - for standard input", optional = true } }

return {
	name = "attest",
	summary = "make, verify and show attestation documents",
	commands = {
		{
			name = "make", summary = "make a simulated document, as TEE=sim does",
			arguments = { { name = "file", help = "file to write" } },
			options = {
				{ name = "seed", value = "FILE", help = "seed of the node, with its root beside it (default: DATA_DIR/node.seed)" },
				NONCE,
				{ name = "purpose", value = "PURPOSE", values = { "public", "secret" }, help = "in user_data", default = "public" },
				{ name = "user-data", value = "TEXT", help = "user_data, instead of wallet and purpose" },
				{ name = "pcr", value = "FILE", help = "allow list of one image, whose PCRs the document gets (default: zeros)" },
				{ name = "time", value = "TIME", help = "timestamp: Unix seconds or 2025-10-16T02:54:42Z (default: now)" },
				args.JSON,
			},
			run = run_make,
		},
		{
			name = "verify", summary = "check whether a document can be trusted",
			arguments = DOCUMENT, options = CHECKS, run = run_verify,
		},
		{
			name = "show", summary = "print a document and the result of each check",
			arguments = DOCUMENT, options = CHECKS, run = run_show,
		},
	},
}
