--- Attestation documents as nodes use them: what a node says in user_data, the nonce of a request
-- for the master secret, the list of what is allowed, and the check of a peer's document.
-- Documents themselves are read, verified and made in C (include/kms/attest.h).

local data_file = require("kms.base.data_file")
local json = require("kms.base.json")
local native = require("kms_native")
local suggest = require("kms.base.suggest")

local M = {}

local VERSION = 1
local MAX_ROOTS, MAX_IMAGES = 16, 64
local PCRS, PCR_BYTES, ROOT_BYTES = 32, 48, 32
local NEEDED = { 0, 1, 2 } -- what a build gives: image, kernel, application

--- The name by which lists and the command line call the root of AWS's standard regions.
M.AWS_ROOT = "aws-nitro"

--- What a node puts into user_data.
-- @param wallet  canonical; @param purpose  "public", shown to anybody, or "secret"
-- @param policy  SHA-256 of the operator's policy, 64 digits, or nil
-- @return JSON text
function M.user_data(wallet, purpose, policy)
	return json.encode({ eth_addr = wallet, kms = { v = VERSION, purpose = purpose, policy = policy } })
end

--- Reads it, strictly: exactly these members, no name twice.
-- @return { wallet (canonical), purpose, policy (64 digits, or nil) } | nil, message, code
function M.read_user_data(text)
	return native.attest_statement(text)
end

--- The nonce of a document that goes with a request for the master secret (docs/protocol.md section 13): no document of
-- another request, or of another purpose, fits it.
-- @param nonce  X-KMS-Nonce as sent; @param recipient  canonical wallet; @param pubkey  the
-- request's ecdh_pubkey as sent, in hex
-- @return 32 bytes
function M.secret_nonce(nonce, recipient, pubkey)
	return native.sha256(("NovaKMS:SecretRequest:%s:%s:%s"):format(nonce, recipient, pubkey))
end

-- ---- lists of what is allowed ----

local function refuse_unknown(t, known, where)
	for key in pairs(t) do
		local found = false
		for _, name in ipairs(known) do found = found or name == key end
		if not found then
			local near = type(key) == "string" and suggest.nearest(key, known)
			return nil, ("%s: unknown member '%s'%s"):format(where, tostring(key),
				near and (", did you mean '%s'?"):format(near) or "")
		end
	end
	return true
end

local function is_list(t, max)
	if type(t) ~= "table" then return false end
	local count = 0
	for _ in pairs(t) do count = count + 1 end
	return count == #t and count <= max
end

local function hex_of(text, bytes)
	return type(text) == "string" and #text == 2 * bytes and not text:find("%X") and native.hex_decode(text) or nil
end

--- A root as lists and the command line name it: its SHA-256 in hex, or "aws-nitro".
-- @return 32 bytes | nil
function M.root(name)
	if name == M.AWS_ROOT then return native.attest_aws_root end
	return hex_of(name, ROOT_BYTES)
end

local function read_roots(list)
	if list == nil then return { native.attest_aws_root } end
	if not is_list(list, MAX_ROOTS) then return nil, ("roots must be a list of at most %d"):format(MAX_ROOTS) end
	local roots = {}
	for i, name in ipairs(list) do
		roots[i] = M.root(name)
		if not roots[i] then return nil, ("roots[%d]: allowed are 64 hexadecimal digits, or '%s'"):format(i, M.AWS_ROOT) end
	end
	return roots
end

local function read_image(image, where)
	if type(image) ~= "table" then return nil, where .. " must be a table" end
	local ok, message = refuse_unknown(image, { "name", "pcrs" }, where)
	if not ok then return nil, message end
	if type(image.name) ~= "string" or image.name == "" then return nil, where .. ": name is missing" end
	where = ("%s (%s)"):format(where, image.name)
	if type(image.pcrs) ~= "table" then return nil, where .. ": pcrs is missing" end
	local pcrs = {}
	for index, text in pairs(image.pcrs) do
		if math.type(index) ~= "integer" or index < 0 or index >= PCRS then
			return nil, ("%s: PCRs are numbered from 0 to %d"):format(where, PCRS - 1)
		end
		pcrs[index] = hex_of(text, PCR_BYTES)
		if not pcrs[index] then return nil, ("%s: PCR%d must be 96 hexadecimal digits"):format(where, index) end
	end
	for _, index in ipairs(NEEDED) do
		if not pcrs[index] then return nil, ("%s: PCR%d is missing"):format(where, index) end
	end
	return pcrs
end

local function read_images(list)
	if not is_list(list, MAX_IMAGES) then return nil, ("images must be a list of at most %d"):format(MAX_IMAGES) end
	local images, names = {}, {}
	for i, image in ipairs(list) do
		local message
		images[i], message = read_image(image, ("images[%d]"):format(i))
		if not images[i] then return nil, message end
		names[i] = image.name
	end
	return images, names
end

--- Checks what an allow-list file holds.
-- @return { roots, images, names, allow_debug } | nil, message
function M.check_allow_list(list)
	local ok, message = refuse_unknown(list, { "roots", "images", "allow_debug" }, "allow-list")
	if not ok then return nil, message end
	if list.allow_debug ~= nil and type(list.allow_debug) ~= "boolean" then
		return nil, "allow_debug must be true or false"
	end
	local roots, images, names
	roots, message = read_roots(list.roots)
	if not roots then return nil, message end
	images, names = read_images(list.images)
	if not images then return nil, names end
	return { roots = roots, images = images, names = names, allow_debug = list.allow_debug == true }
end

--- Reads an allow-list: a file that returns a table, read as data.
--
--     return {
--         roots = { "aws-nitro" },       -- SHA-256 of further roots in hex; this one if not given
--         allow_debug = false,           -- true lets PCR0 be all zero: for development only
--         images = {                     -- a document must equal one, in every PCR that it names: 0, 1, 2 at least
--             { name = "1.4.0", pcrs = { [0] = "<96 digits>", [1] = "...", [2] = "..." } },
--         },
--     }
--
-- During an upgrade, the old image and the new one stand in it side by side.
-- @return { roots (32 bytes each), images ({ [0] = 48 bytes, ... }), names, allow_debug } |
-- nil, message
function M.load_allow_list(path)
	local list, message = data_file.read(path)
	if not list then return nil, message end
	local read
	read, message = M.check_allow_list(list)
	if not read then return nil, ("%s: %s"):format(path, message) end
	return read
end

-- ---- a peer's document ----

local function unfit(what)
	return nil, what, "ERR_ATTEST", "user_data"
end

--- Verifies what came with a request for the master secret. Yields.
-- @param document  bytes
-- @param want  list (load_allow_list), now_ms, max_age_ms, max_ahead_ms, nonce (32 bytes:
-- secret_nonce), public_key (DER of the registered teePubkey), wallet (canonical)
-- @return facts (include/kms/attest.h, as native.attest_verify gives them), statement | nil,
-- sentence, code, name of the failure
function M.verify_secret(document, want)
	local facts, message, code, failure = native.attest_verify(document, {
		roots = want.list.roots, images = want.list.images, allow_debug = want.list.allow_debug, now_ms = want.now_ms,
		max_age_ms = want.max_age_ms, max_ahead_ms = want.max_ahead_ms, nonce = want.nonce, public_key = want.public_key,
	})
	if not facts then return nil, message, code, failure end
	local statement = facts.user_data and M.read_user_data(facts.user_data)
	if not statement then return unfit("user_data is not a node's") end
	if statement.wallet ~= want.wallet then return unfit("user_data names another wallet") end
	if statement.purpose ~= "secret" then return unfit("the document was not made for a request of the secret") end
	return facts, statement
end

return M
