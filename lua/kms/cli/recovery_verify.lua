--- What `nova-kms recovery` checks of a node before it trusts it: its attestation document, and what the chain says of
-- the wallet in it.

local uv = require("luv")
local allow_list = require("kms.attest.allow_list")
local attest = require("kms.attest")
local call = require("kms.cli.recovery_call")
local chain_api = require("kms.chain")
local rpc_chain = require("kms.cli.rpc_chain")
local url = require("kms.config.url")

local M = {}

local NONCE_BYTES = 32
local MAX_DOCUMENT = 16384
local MAX_AGE_MS, MAX_AHEAD_MS = 600000, 300000 -- a custodian's clock may be off; the nonce is fresh

local function unverified(message, ...)
	return nil, message:format(...), "ERR_UNVERIFIED"
end

-- The name of the list's image that a document is of.
local function image_of(list, pcrs)
	for i, image in ipairs(list.images) do
		local same = true
		for index, bytes in pairs(image) do same = same and pcrs[index] == bytes end
		if same then return list.names[i] end
	end
	return "?"
end

--- Gets a node's attestation document over a fresh nonce, and verifies it against the allow list. Yields.
-- @param world  stderr; @param parsed  url, timeout, pcr (path of the allow list), allow_simulated
-- @return { wallet, public_key, image (name), simulated, recovery (id of its set), recovery_key, list } |
--   nil, message, code
function M.node(native, world, parsed)
	local list, message = allow_list.load(parsed.pcr)
	if not list then return nil, message, "ERR_USAGE" end
	local nonce = uv.random(NONCE_BYTES)
	local path = "/attestation?nonce=" .. native.hex_encode(nonce)
	local response, unreachable, why = call.send(world, parsed, path, { max_bytes = MAX_DOCUMENT })
	if not response then return nil, unreachable, why end
	if response.status ~= 200 then return unverified("the node gave no document (HTTP %d)", response.status) end
	local facts, wrong, code, failure = native.attest_verify(response.body, {
		roots = list.roots, images = list.images, nonce = nonce, now_ms = native.wall_ms(), max_age_ms = MAX_AGE_MS,
		max_ahead_ms = MAX_AHEAD_MS, allow_debug = list.allow_debug and parsed.allow_simulated or false,
	})
	if not facts and code ~= "ERR_ATTEST" then return nil, wrong, code end
	if not facts then return unverified("the node's document is not to be trusted: %s: %s", failure, wrong) end
	local simulated = facts.chain[1].sha256 ~= native.attest_aws_root
	if simulated and not parsed.allow_simulated then
		return unverified("the document is simulated: no enclave protects this node (--allow-simulated is for tests)")
	end
	local statement = facts.user_data and attest.read_user_data(facts.user_data)
	if not statement or statement.purpose ~= "public" then return unverified("the document is not a node's") end
	return {
		wallet = statement.wallet, public_key = facts.public_key, image = image_of(list, facts.pcrs), simulated = simulated,
		recovery = statement.recovery, recovery_key = statement.recovery_key, list = list,
	}
end

-- ---- the chain ---------------------------------------------------------------------------------------

--- What names the chain: options, or where they are not given, `chain` of the allow list.
-- @return { id, registry, kms_registry, app_id } | nil, message, code
function M.chain_names(native, parsed, list)
	local listed = list.chain or {}
	local names = {
		id = parsed.chain_id or listed.id, registry = parsed.registry or listed.registry,
		kms_registry = parsed.kms_registry or listed.kms_registry, app_id = parsed.app_id or listed.app_id,
	}
	for _, name in ipairs({ "registry", "kms_registry" }) do
		local address = names[name] and native.address(names[name])
		if not address then
			return nil, ("--%s is missing: give it, or `chain` in the allow list"):format(name:gsub("_", "-")), "ERR_USAGE"
		end
		names[name] = address
	end
	if not names.id or not names.app_id then
		return nil, "--chain-id and --app-id are missing: give them, or `chain` in the allow list", "ERR_USAGE"
	end
	return names
end

-- What one RPC server says of the node. Returns { instance, hash } | nil, message, code.
local function ask(chain, names, node)
	local ok, message, code = chain:begin_tick()
	if not ok then return nil, message, code end
	local instance, version, app, hash
	instance, message, code = chain:instance_by_wallet(node.wallet)
	if not instance then return nil, message, code end
	if instance.app_id ~= names.app_id then return unverified("the wallet is not registered under the KMS application") end
	if instance.status ~= chain_api.INSTANCE.ACTIVE then return unverified("the instance is not active") end
	if not instance.zk_verified then return unverified("the instance is not zkVerified") end
	if instance.tee_pubkey ~= node.public_key then
		return unverified("the registered teePubkey is not the one of the attestation document")
	end
	app, message, code = chain:app(names.app_id)
	if not app then return nil, message, code end
	if app.status ~= chain_api.APP.ACTIVE then return unverified("the KMS application is not active") end
	version, message, code = chain:version(names.app_id, instance.version_id)
	if not version then return nil, message, code end
	if version.status ~= chain_api.VERSION.ENROLLED then return unverified("the version is not enrolled") end
	hash, message, code = chain:master_secret_hash()
	if not hash then return nil, message, code end
	return { instance = instance, hash = hash }
end

--- Asks every RPC server about a node, each by itself: all must say that it is a verified member on an enrolled version
-- with the document's key, and show the same hash of the master secret. Yields.
-- @param node  of M.node; @param names  of M.chain_names; @param urls  of RPC servers
-- @return { instance, hash } | nil, message, code
function M.on_chain(native, node, names, urls)
	local first
	for _, rpc_url in ipairs(urls) do
		local chain, found, message, code
		chain, message = rpc_chain.open(native, names, rpc_url)
		if not chain then return nil, message, "ERR_USAGE" end
		found, message, code = ask(chain, names, node)
		chain:close()
		if not found then
			return nil, ("%s: %s"):format(url.mask(rpc_url), message), code == "ERR_UNVERIFIED" and code or "ERR_CONNECT"
		end
		first = first or found
		if found.hash ~= first.hash or found.instance.id ~= first.instance.id then
			return unverified("the RPC servers do not agree about the chain")
		end
	end
	return first
end

--- Checks the signature of a reply below /recovery.
-- @param kind  "shares" or "check"; @param nonce  as it was sent; @param node  of M.node
-- @return true | nil, message, code
function M.signed(native, response, kind, nonce, node)
	local text = ("NovaKMS:Recovery:%s:%s:%s:%s"):format(kind, nonce, node.wallet,
		native.hex_encode(native.sha256(response.body)))
	local signer = native.signer(text, response.headers["x-kms-recovery-signature"] or "")
	if signer == node.wallet then return true end
	return unverified("the reply is not signed by the wallet of the attestation document")
end

return M
