--- `nova-kms attest`: makes simulated attestation documents, verifies documents, shows them.

local args = require("kms.cli.args")
local attest = require("kms.attest")
local attest_options = require("kms.cli.attest_options")
local attest_show = require("kms.cli.attest_show")
local exit = require("kms.cli.exit")
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

-- ---- commands ----

-- Document, options and what came of the verification; or nil, exit code.
local function look(parsed, world)
	local native, failed = session.native(world, session.SMALL)
	if not native then return nil, failed end
	local document, nonce, code = attest_options.document(native, parsed)
	if not document then return nil, session.fail(world, nonce, code) end
	local options, message
	options, message, code = attest_options.policy(native, parsed, document, nonce)
	if not options then return nil, session.fail(world, message, code) end
	local verdict = { options = options }
	verdict.facts, verdict.message, verdict.code, verdict.failure = native.attest_verify(document, options)
	if verdict.code and verdict.code ~= "ERR_ATTEST" then
		return nil, session.fail(world, verdict.message, verdict.code)
	end
	verdict.trusted = verdict.facts ~= nil
	if not verdict.trusted then verdict.facts = native.attest_read(document) end
	return verdict
end

local function run_verify(parsed, world)
	return session.wait(function()
		local verdict, failed = look(parsed, world)
		if not verdict then return failed end
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
		local verdict, failed = look(parsed, world)
		if not verdict then return failed end
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

local function make(native, parsed, world)
	local claims, message, code = attest_options.claims(native, parsed)
	if not claims then return nil, message, code end
	local path = parsed.seed or session.data_dir(world) .. "/node.seed"
	local seed, wallet, p384, signer, document
	seed, message, code = native.seed_load(path)
	if not seed then return nil, ("%s: %s"):format(path, message), code end
	wallet, p384, code = native.identity(seed)
	if not wallet then return nil, p384, code end
	signer, message = sim_attest.open(path:match("^(.*)/[^/]*$") or ".", seed)
	if not signer then return nil, message end
	local user_data = parsed.user_data or attest.user_data(wallet:address(), parsed.purpose)
	document, message, code = signer:attest(claims.nonce, user_data, p384:public_der(), claims)
	if not document then return nil, message, code end
	return document, native.sha256(signer:certificate())
end

local function run_make(parsed, world)
	local native, failed = session.native(world, session.SMALL)
	if not native then return failed end
	local document, root, code = make(native, parsed, world)
	if not document then return session.fail(world, root, code) end
	local file, message = io.open(parsed.file, "wb")
	local ok = file
	if file then ok, message = file:write(document) end
	if file then file:close() end
	if not ok then return session.fail(world, message, "ERR_USAGE") end
	if parsed.json then
		session.print(world, json.encode({ file = parsed.file, bytes = #document, root = native.hex_encode(root) }))
	else
		session.print(world, ("made %s, %d bytes; its root is %s"):format(parsed.file, #document, native.hex_encode(root)))
	end
	return exit.OK
end

local NONCE = { name = "nonce", value = "HEX", help = "the nonce in the document" }
local PCR = { name = "pcr", value = "FILE", help = "allow-list, a Lua table: docs/operating.md shows one" }

local CHECKS = {
	{ name = "url", value = "URL", help = "ask this node for a document, with a fresh nonce, instead of reading a file" },
	session.TIMEOUT,
	{ name = "root", value = "ROOTS",
		help = "trusted roots: SHA-256 in hex, DER files, aws-nitro, with commas (default: the list's, or aws-nitro)" },
	PCR, NONCE,
	{ name = "public-key", value = "HEX",
		help = "the key in the document: a node's teePubkey. Without, it may be another node's, passed on" },
	{ name = "allow-debug", help = "let PCR0 be all zero: an enclave that its host can read" },
	{ name = "time", value = "TIME",
		help = "verify at this time: Unix seconds, 2025-10-16T02:54:42Z, 'document' (default: now)" },
	{ name = "max-age", value = "SECONDS", help = "oldest timestamp (default: any)", type = "int", min = 0,
		max = 1 << 32 },
	{ name = "max-ahead", value = "SECONDS", help = "how far the timestamp may be ahead", type = "int", min = 0,
		max = 1 << 32, default = 0 },
	args.JSON,
}

local DOCUMENT = { { name = "document", help = "file, '-' for the standard input", optional = true } }

return {
	name = "attest",
	summary = "make, verify and show attestation documents",
	commands = {
		{
			name = "make", summary = "make a simulated document, as TEE=sim does",
			arguments = { { name = "file", help = "where it is written" } },
			options = {
				{ name = "seed", value = "FILE", help = "seed of the node, its root beside it (default: DATA_DIR/node.seed)" },
				NONCE,
				{ name = "purpose", value = "PURPOSE", values = { "public", "secret" }, help = "in user_data", default = "public" },
				{ name = "user-data", value = "TEXT", help = "this instead of the wallet and the purpose" },
				{ name = "pcr", value = "FILE", help = "an allow-list of one image, which it claims to be (default: all zero)" },
				{ name = "time", value = "TIME", help = "its timestamp: Unix seconds, 2025-10-16T02:54:42Z (default: now)" },
				args.JSON,
			},
			run = run_make,
		},
		{
			name = "verify", summary = "say whether a document is to be trusted",
			arguments = DOCUMENT, options = CHECKS, run = run_verify,
		},
		{
			name = "show", summary = "print a document, and what of it is to be trusted and why not",
			arguments = DOCUMENT, options = CHECKS, run = run_show,
		},
	},
}
