--- What OpenAPI says of each route, by the route's name: summary, who may call it, parameters, bodies, and the statuses
-- of refusals beside those that every route may have.

local json = require("kms.base.json")
local shapes = require("kms.routes.openapi.shapes")

local M = {}

local ref = shapes.ref

local function query(name, doc, schema, required)
	return { name = name, ["in"] = "query", description = doc, required = required or nil, schema = schema }
end

local function header(name, doc, required)
	return { name = name, ["in"] = "header", description = doc, required = required or nil, schema = { type = "string" } }
end

local function plain(name)
	return { ["application/json"] = { schema = ref(name) } }
end

-- An envelope whose inner JSON has one of the schemas.
local function sealed(...)
	local inner = { ... }
	for i, name in ipairs(inner) do inner[i] = ref(name) end
	local encrypted = { contentMediaType = "application/json", contentEncoding = "base16",
		contentSchema = #inner == 1 and inner[1] or { anyOf = inner } }
	return { ["application/json"] = {
		schema = { allOf = { ref("Envelope"), { properties = { encrypted_data = encrypted } } } },
	} }
end

local function bytes(doc, inner)
	return { ["application/octet-stream"] = { schema = {
		type = "string", description = doc, contentMediaType = "application/octet-stream", ["x-plaintext"] = ref(inner),
	} } }
end

local function age_file()
	return { ["text/plain"] = { schema = shapes.text("An armored age file.") } }
end

local function nonce_hex(least)
	return query("nonce", ("%d to 64 random bytes in hexadecimal."):format(least),
		shapes.text(nil, { pattern = ("^([0-9A-Fa-f]{2}){%d,64}$"):format(least) }), true)
end

local PAGE = {
	query("prefix", "Keys that begin with it.", { type = "string" }),
	query("after", "Keys that are bytewise larger.", { type = "string" }),
	query("limit", "Most keys of the page.", shapes.int(nil, 1, 10000)),
}
local SIGNED_REPLY = { ["X-KMS-Next-Nonce"] = "A fresh nonce.",
	["X-KMS-Response-Signature"] = "EIP-191 signature of the node's wallet; discard a reply without a valid one." }
local RECOVERY_REPLY = { ["X-KMS-Recovery-Wallet"] = "The node's wallet.",
	["X-KMS-Recovery-Signature"] = "Its EIP-191 signature over the reply." }
local OF_APPLICATIONS = { 400, 403, 413, 503 } -- refusals of what applications call

--- By a route's name: summary, tag ("public", "applications", "members", "custodians", "operator"), security
-- ("application", "member", nil), parameters, request (content), reply (content), reply_headers (name -> text),
-- refusals (statuses).
-- @return new table
function M.by_name()
	local key = { query("key", "The record's key; without it, the keys.", { type = "string" }) }
	local by_key = { { name = "key", ["in"] = "path", required = true, schema = { type = "string" },
		description = "The record's key, percent-encoded; slashes may stay." } }
	return {
		overview = { tag = "public", summary = "What this is", reply = plain("Overview") },
		openapi = { tag = "public", summary = "This document",
			reply = { ["application/json"] = { schema = { type = "object" } } } },
		health = { tag = "public", summary = "Whether the process runs", reply = plain("Health") },
		ready = { tag = "public", summary = "Whether the node serves applications", reply = plain("Ready"),
			refusals = { 503 } },
		status = { tag = "public", summary = "What the node holds, and how it is", reply = plain("Status") },
		nonce = { tag = "public", summary = "A nonce for one request", reply = plain("Nonce") },
		nodes = { tag = "public", summary = "The members of the cluster", reply = plain("Nodes") },
		digest = { tag = "public", summary = "A digest of the records, to compare nodes by", reply = plain("Digest"),
			parameters = { nonce_hex(16), query("hour", "Unix hour of the comparison.", shapes.int(nil, 0, (1 << 32) - 1)) },
			refusals = { 400, 503 } },
		attestation = { tag = "public", summary = "The node's attestation document", parameters = { nonce_hex(1) },
			reply = { ["application/cbor"] = { schema = { contentMediaType = "application/cbor" } } }, refusals = { 400, 503 } },
		derive = { tag = "applications", summary = "Derive a key", security = "application",
			request = sealed("DeriveRequest"), reply = sealed("DeriveReply"), reply_headers = SIGNED_REPLY,
			refusals = OF_APPLICATIONS },
		list = { tag = "applications", summary = "List keys, or read a record", security = "application",
			parameters = { key[1], table.unpack(PAGE) }, reply = sealed("Keys", "Record"), reply_headers = SIGNED_REPLY,
			refusals = { 400, 403, 404, 413, 503 } },
		get = { tag = "applications", summary = "Read a record", security = "application", parameters = by_key,
			reply = sealed("Record"), reply_headers = SIGNED_REPLY, refusals = { 400, 403, 404, 503 } },
		put = { tag = "applications", summary = "Write a record", security = "application", request = sealed("PutRequest"),
			reply = sealed("PutReply"), reply_headers = SIGNED_REPLY, refusals = OF_APPLICATIONS },
		delete = { tag = "applications", summary = "Delete a record", security = "application",
			request = sealed("DeleteRequest"), reply = sealed("DeleteReply"), reply_headers = SIGNED_REPLY,
			refusals = { 400, 403, 404, 413, 503 } },
		session = { tag = "applications", summary = "Open a session (members: by X-KMS-* headers)", security = "application",
			request = sealed("SessionOpening"), reply = sealed("SessionOpened"), refusals = OF_APPLICATIONS,
			reply_headers = { ["X-KMS-Session-Signature"] = "EIP-191 signature of the node's wallet over this answer." } },
		session_message = { tag = "applications", summary = "Operations, or a message of a member, in a session",
			request = bytes("sid (16) || seq (8) || AES-256-GCM", "SessionMessage"),
			reply = bytes("seq (8) || AES-256-GCM", "SessionAnswer"), refusals = { 400, 409, 410, 413, 503 } },
		sync = { tag = "members", summary = "Messages between members", security = "member",
			parameters = { header("X-Sync-Signature", "HMAC under a key of the cluster.") },
			request = sealed("Sync"), reply = sealed("Sync"), refusals = { 400, 403, 413, 503 } },
		recovery = { tag = "custodians", summary = "Who can restore the master secret", reply = plain("Recovery") },
		recovery_shares = { tag = "custodians", summary = "The custodians' shares, encrypted to them",
			parameters = { nonce_hex(16) }, reply = plain("RecoveryShares"), reply_headers = RECOVERY_REPLY,
			refusals = { 400, 503 } },
		recovery_check = { tag = "custodians", summary = "Prove that a share can be opened", request = plain("RecoveryCheck"),
			reply = plain("RecoveryChecked"), reply_headers = RECOVERY_REPLY, refusals = { 400, 403, 413, 503 } },
		recovery_challenge = { tag = "custodians", summary = "A challenge to a custodian, while the node waits for shares",
			parameters = { query("x", "The custodian's number.", shapes.int(nil, 1, 16), true),
				query("set", "Id of an earlier set.", shapes.hex(nil, 32)) }, reply = age_file(), refusals = { 400, 403, 503 } },
		recovery_share = { tag = "custodians", summary = "Give a share to a node that waits for it", request = age_file(),
			parameters = { header("X-KMS-Recovery", "<x>:<HMAC-SHA256 under the challenge>", true) },
			reply = plain("RecoveryGiven"), refusals = { 400, 403, 413, 503 } },
	}
end

--- What is said of a route of the operator's.
function M.extra(name)
	return { tag = "operator", summary = "The operator's route " .. name:gsub("^extra/", ""), reply = plain("Extra") }
end

--- The headers by which callers prove who they are, as security schemes, by kind.
function M.schemes()
	local schemes = {}
	for kind, part in pairs({ application = "App", member = "KMS" }) do
		for name, doc in pairs({
			Signature = "EIP-191 signature of the caller's wallet (docs/protocol.md, section 4).",
			Nonce = "A nonce of this node.", Timestamp = "Unix time in seconds.",
		}) do
			local header_name = ("X-%s-%s"):format(part, name)
			schemes[kind .. name] = { type = "apiKey", ["in"] = "header", name = header_name, description = doc }
		end
	end
	return schemes
end

--- The security requirement of a kind: all three headers.
function M.security(kind)
	local needed = {}
	for _, name in ipairs({ "Signature", "Nonce", "Timestamp" }) do needed[kind .. name] = json.list({}) end
	return { needed }
end

return M
