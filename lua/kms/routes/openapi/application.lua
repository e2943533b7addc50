--- The schemas of what applications send and get inside envelopes and sessions (docs/protocol.md sections 6 to 8, 15).

local shapes = require("kms.routes.openapi.shapes")

local int, text, bool, hex, base64 = shapes.int, shapes.text, shapes.bool, shapes.hex, shapes.base64
local list, object, ref, one_of = shapes.list, shapes.object, shapes.ref, shapes.one_of

local M = {}

local MAX_LENGTH = 1024 -- bytes of a derived key
local MAX_TTL_MS = 10 * 365 * 86400 * 1000
local MAX_OPERATIONS = 256
local MOST_KEYS = 10000 -- of a page

-- Members of every inner request, and of every inner reply.
local function request_members(members)
	members.pop = text("The text of this request's X-App-Signature: binds the body to the request.")
	members.op = text("The operation, so that no body can be sent to another route.",
		{ enum = { "derive", "put", "delete" } })
	members.strict = bool("Refuse members that the operation does not have.")
	members.features = list("Extensions that the caller asks about.", text("`session`"))
	return members
end

local function reply_members(members)
	members.app_id = one_of(int("The caller's application.", 1),
		text("The same, above 2^63 - 1.", { pattern = "^[0-9]+$" }))
	members.pop = text("The request's `pop`, when it had one.")
	members.features = list("Extensions that the node has, when the request asked.", text("`session`"))
	members.copies = int("How many nodes hold the write, when the request had `op`.", 1)
	members.status = int("200, inside a session.", 200, 200)
	return members
end

local function requests(limits)
	local key = text(("1 to %d bytes of UTF-8 without NUL."):format(limits.key), { minLength = 1, maxLength = limits.key })
	local value = base64(("At most %d bytes before base64."):format(limits.value))
	value.maxLength = (limits.value + 2) // 3 * 4
	local derive = {
		path = text("What the key is for; not blank.", { minLength = 1 }),
		context = text("A further part of the name; may be empty."),
		length = int("Bytes of the key; 32 when absent.", 1, MAX_LENGTH),
	}
	local ttl_ms = int("Milliseconds until the record ends; 0 or absent: never.", 0, MAX_TTL_MS)
	local put = { key = key, value = value, ttl_ms = ttl_ms }
	local page = {
		prefix = text("Keys that begin with it."), after = text("Keys that are bytewise larger."),
		limit = int("Most keys of the page; 1000 when absent.", 1, MOST_KEYS),
	}
	return { key = key, derive = derive, put = put, page = page }
end

local function with(members, name, schema)
	local copy = {}
	for member, of in pairs(members) do copy[member] = of end
	copy[name] = schema
	return copy
end

local function operation(name, required, members, example)
	example.op = name
	local all = with(members, "op", { const = name })
	all.strict = bool("Refuse members that the operation does not have.")
	return object("op " .. required, all, { example = example })
end

--- The schemas by name.
-- @param limits  key, value: most bytes of each
function M.schemas(limits)
	local of = requests(limits)
	local stamp = int("When the record was written, Unix time in ms.", 0)
	local names = list("Keys in bytewise order.", { type = "string" })
	return {
		DeriveRequest = object("path", request_members(with(of.derive, "op")),
			{ example = { path = "wallet/main", context = "v1", length = 32, op = "derive", strict = true } }),
		DeriveReply = object("app_id path key length", reply_members({
			path = of.derive.path, length = of.derive.length, key = base64("The derived key."),
		})),
		PutRequest = object("key value", request_members(with(of.put, "op")),
			{ example = { key = "greeting", value = "aGVsbG8=", ttl_ms = 60000, op = "put", strict = true } }),
		PutReply = object("app_id key updated_at_ms", reply_members({ key = of.key, updated_at_ms = stamp })),
		DeleteRequest = object("key", request_members({ key = of.key }),
			{ example = { key = "greeting", op = "delete", strict = true } }),
		DeleteReply = object("app_id key deleted", reply_members({ key = of.key, deleted = { const = true } })),
		Record = object("app_id key value updated_at_ms", reply_members({
			key = of.key, updated_at_ms = stamp, value = base64("The value."),
		})),
		Keys = object("app_id keys count", reply_members({
			keys = names, count = int("How many they are.", 0), next = text("`after` of the next page, while there are more."),
		})),
		Envelope = object("sender_tee_pubkey nonce encrypted_data", {
			sender_tee_pubkey = hex("P-384 public key of the sender, DER SubjectPublicKeyInfo, as registered."),
			nonce = hex("Random bytes; the first 12 are the IV.", 32),
			encrypted_data = hex("AES-256-GCM ciphertext and tag of the inner JSON; contentSchema describes that JSON."),
		}, { doc = "A body that only the other end can read (docs/protocol.md, section 6)." }),
		SessionOpening = object("e op suite", {
			e = hex("Ephemeral X25519 public key.", 32), op = { const = "session" },
			suite = { const = "x25519-sha256-aes256gcm" },
			ends = list("Sessions of the same wallet that end first.", hex("sid", 16), 8),
		}, { closed = true }),
		SessionOpened = object("e expires_s max_operations sid suite", {
			e = hex("Ephemeral X25519 public key.", 32), expires_s = int("Seconds until the session ends.", 1),
			max_operations = int("Most operations of a message.", 1), sid = hex("Name of the session.", 16),
			suite = { const = "x25519-sha256-aes256gcm" },
		}),
		Operation = one_of(
			operation("derive", "path", of.derive, { path = "wallet/main", context = "v1", length = 32 }),
			operation("put", "key value", of.put, { key = "greeting", value = "aGVsbG8=" }),
			operation("get", "key", { key = of.key }, { key = "greeting" }),
			operation("list", "", of.page, { prefix = "gree", limit = 10 }),
			operation("delete", "key", { key = of.key }, { key = "greeting" })),
		Result = { anyOf = {
			ref("DeriveReply"), ref("PutReply"), ref("DeleteReply"), ref("Record"), ref("Keys"), ref("Refusal"),
		} },
		Refusal = object("status code message", {
			status = int("As HTTP's.", 400, 599), code = text("As in Error."), message = text("For people."),
			retry_after_s = int("Seconds to wait.", 0),
		}, { doc = "One operation was refused; the others of the message were not touched by that." }),
		SessionMessage = one_of(ref("Operation"), list("Operations, in their order.", ref("Operation"), MAX_OPERATIONS)),
		SessionAnswer = one_of(ref("Result"),
			list("One result an operation, in the same order.", ref("Result"), MAX_OPERATIONS)),
	}
end

return M
