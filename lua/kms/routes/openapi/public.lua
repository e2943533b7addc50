--- The schemas of replies that anyone gets in plain JSON (docs/protocol.md sections 2, 9.1 and 16).

local json = require("kms.base.json")
local shapes = require("kms.routes.openapi.shapes")

local int, text, bool, hex = shapes.int, shapes.text, shapes.bool, shapes.hex
local list, object, nullable, one_of = shapes.list, shapes.object, shapes.nullable, shapes.one_of

local M = {}

local function wallet(doc) return hex(doc, 20, "0x") end

local function id(doc)
	return one_of(int(doc, 0), text("The same, above 2^63 - 1.", { pattern = "^[0-9]+$" }))
end

local function node_part()
	return object("tee_wallet tee_pubkey is_operator service_available master_secret", {
		tee_wallet = nullable(wallet("The node's wallet; null until its keys are known.")),
		tee_pubkey = nullable(hex("The node's P-384 public key, DER SubjectPublicKeyInfo.")),
		node_url = nullable(text("The node's URL for its peers.")), is_operator = bool("Whether the chain lists it."),
		service_available = bool("Whether it serves applications."),
		service_unavailable_reason = nullable(text("Why it does not.")),
		master_secret = object("state", {
			state = { type = "string", enum = { "uninitialized", "generated", "synced", "recovered" } },
			synced_from = nullable(text("URL of the node that gave it.")),
		}),
		master_secret_initialized = bool("Whether it has one."),
		store_complete = bool("Whether it has the cluster's records."),
		recovery_set = nullable(hex("Id of the custodians' set.", 32)),
	})
end

local function status()
	return object("node cluster data_store", {
		node = node_part(),
		cluster = object("kms_app_id total_instances", {
			kms_app_id = id("Application id of the nodes."),
			registry_address = nullable(wallet("The KMSRegistry contract.")), total_instances = int("Members on chain.", 0),
		}),
		data_store = object("namespaces total_keys total_bytes", {
			namespaces = int("Applications with records.", 0), total_keys = int("Live records.", 0),
			total_bytes = int("Their ciphertext, in bytes.", 0),
		}),
	}, { doc = "Members that are not listed are extensions, for people." })
end

local function nodes()
	local instance = object("instance_url tee_wallet zk_verified instance_status", {
		instance_id = id("Number of the instance."), app_id = id("Its application."), version_id = id("Its version."),
		operator = wallet("Who registered it."), instance_url = text("Where it is reached."),
		tee_wallet = wallet("Its wallet."),
		zk_verified = bool("Whether its attestation was proved on chain."), registered_at = int("Unix time in s.", 0),
		instance_status = object("value name", { value = int("As on chain.", 0), name = text("In words.") }),
	})
	local connection = object("in_peer_cache cached_status", {
		in_peer_cache = bool("Whether this node knows it."), cached_status = text("What this node knows of it."),
		status_endpoint_reachable = nullable(bool("Whether the last call got a reply.")),
		status_endpoint_http_code = nullable(int("The status of that reply.")),
		status_probe_ms = nullable(int("How long it took.")), status_checked_at_ms = nullable(int("When it was.")),
	})
	return object("operators count", {
		count = int("How many they are.", 0),
		operators = list("Members of the cluster.", object("operator instance connection", {
			operator = wallet("The member's wallet."), instance = instance, connection = connection,
		})),
	})
end

local function custodian(file)
	local properties = {
		x = int("The custodian's number.", 1, 16), name = text("Who it is."), key = text("An age recipient."),
		checked_at_ms = not file and nullable(int("When it last proved that it can open its share.")) or nil,
		file = file and text("An armored age file that holds its share.") or nil,
	}
	return object("x name key", properties)
end

local function recovery()
	local set, threshold = hex("Id of the set.", 32), int("How many custodians restore the secret.", 2, 16)
	local secret_hash = nullable(hex("Keccak-256 of the master secret.", 32, "0x"))
	return {
		Recovery = object("set threshold custodians earlier secret_hash", {
			set = set, threshold = threshold, secret_hash = secret_hash, custodians = list("Who holds shares.", custodian()),
			earlier = list("Sets whose shares are still accepted.", object("set threshold custodians", {
				set = set, threshold = threshold, custodians = list("Who holds them.", custodian()),
			})),
			waiting = { description = "While the node waits for custodians: what it has and needs; else null.",
				type = json.list({ "object", "null" }) },
			misfits = list("Custodians whose share did not fit.", { type = "string" }),
		}),
		RecoveryShares = object("set threshold secret_hash shares", {
			set = set, threshold = threshold, secret_hash = secret_hash, shares = list("One a custodian.", custodian(true)),
		}),
		RecoveryCheck = object("nonce proof set x", {
			nonce = text("Of GET /nonce."), set = set, x = int("The custodian's number.", 1, 16),
			proof = hex("HMAC-SHA256 under the share (docs/protocol.md, section 16).", 32),
		}),
		RecoveryChecked = object("set x name checked_at_ms", {
			set = set, x = int("The custodian's number.", 1, 16), name = text("Who it is."),
			checked_at_ms = int("Unix time in ms.", 0),
		}),
		RecoveryGiven = object("have need", {
			have = int("Shares that the node has.", 0), need = int("Shares that it needs.", 2, 16),
			complete = bool("Whether the secret is restored."),
			misfits = list("Custodians whose share does not fit.", { type = "string" }),
			problem = { description = "What is wrong, or absent.", type = json.list({ "string", "null" }) },
		}),
	}
end

--- The schemas by name.
function M.schemas()
	local all = recovery()
	all.Error = object("code reason message", {
		code = text("Programs branch on it (docs/protocol.md, section 2)."), reason = text("More precisely; may be new."),
		message = text("For people."),
	}, { example = { code = "not_found", reason = "no_route", message = "no such route" } })
	all.Overview = object("service version endpoints", {
		service = { const = "nova-kms" }, version = text("Of the program."),
		endpoints = list("Method and path of each.", { type = "string" }),
	})
	all.Health = object("status", { status = { const = "healthy" } }, { example = { status = "healthy" } })
	all.Ready = object("ready", { ready = { const = true } }, { example = { ready = true } })
	all.Nonce = object("nonce", { nonce = shapes.base64("16 bytes; valid once, and for POP_TIMEOUT_SECONDS.") })
	all.Status, all.Nodes = status(), nodes()
	all.Digest = object("digest hour", {
		digest = hex("MAC of the store's hash tree over the nonce.", 32),
		hour = int("Records that ended before it are left out.", 0),
	})
	all.Extra = { type = json.list({ "object", "array", "string", "number", "boolean", "null" }),
		description = "What the operator's handler returns." }
	return all
end

return M
