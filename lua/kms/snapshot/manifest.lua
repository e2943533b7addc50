--- Manifests: which files of records together are a node's store, and which manifests of other nodes it saw
-- (docs/snapshots.md). They are sealed like files of records.

local cjson = require("cjson")
local json = require("kms.base.json")
local names = require("kms.snapshot.names")
local native = require("kms_native")

local M = {}

local VERSION = 1
local MAX_FILES, MAX_PEERS = 100000, 10000
local MAX_BAD = 1000 -- manifests that do not open, until a wallet counts as having none

-- ---- text ------------------------------------------------------------------------------------------

--- The text of a manifest.
-- @param manifest { time (Unix ms), full (sequence of the first file of its full set), files (list of { sequence,
--   bytes, sha256, records }), peers (wallet -> { sequence, time } of the newest manifest seen) }
function M.encode(manifest)
	local files = {}
	for i, file in ipairs(manifest.files) do
		files[i] = { sequence = file.sequence, bytes = file.bytes, sha256 = file.sha256, records = file.records }
	end
	return json.encode({
		version = VERSION, time = manifest.time, full = manifest.full, files = json.list(files), peers = manifest.peers,
	})
end

local function is_count(value, min)
	local whole = type(value) == "number" and math.tointeger(value)
	return whole and whole >= min and whole <= names.MAX_SEQUENCE and whole or nil
end

local function decode_file(value)
	if type(value) ~= "table" or type(value.sha256) ~= "string" or not value.sha256:find("^%x+$") then return nil end
	local sequence, bytes, records = is_count(value.sequence, 1), is_count(value.bytes, 1), is_count(value.records, 0)
	if not sequence or not bytes or not records or #value.sha256 ~= 64 then return nil end
	return { sequence = sequence, bytes = bytes, records = records, sha256 = value.sha256 }
end

local function decode_files(list)
	local files = {}
	if type(list) ~= "table" or #list > MAX_FILES then return nil end
	for i, value in ipairs(list) do
		files[i] = decode_file(value)
		if not files[i] then return nil end
	end
	return files
end

local function decode_peer(wallet, value)
	if type(wallet) ~= "string" or not names.is_wallet(wallet) or type(value) ~= "table" then return nil end
	local sequence, time = is_count(value.sequence, 1), is_count(value.time, 0)
	return sequence and time and { sequence = sequence, time = time } or nil
end

local function decode_peers(map)
	local peers, count = {}, 0
	if type(map) ~= "table" then return nil end
	for wallet, value in pairs(map) do
		peers[wallet], count = decode_peer(wallet, value), count + 1
		if not peers[wallet] or count > MAX_PEERS then return nil end
	end
	return peers
end

--- Reads the text of a manifest.
-- @return manifest | nil: it is not one
function M.decode(text)
	local ok, value = pcall(cjson.decode, text)
	if not ok or type(value) ~= "table" or value.version ~= VERSION then return nil end
	local files, peers = decode_files(value.files), decode_peers(value.peers)
	local time, full = is_count(value.time, 0), is_count(value.full, 1)
	if not files or not peers or not time or not full then return nil end
	return { time = time, full = full, files = files, peers = peers }
end

-- ---- files -----------------------------------------------------------------------------------------

--- Seals a manifest and writes it; yields.
-- @return SHA-256 of the file in hexadecimal | nil, message, code (ERR_STATE: the name is taken)
function M.write(place, master, wallet, sequence, manifest)
	local writer, message, code = native.snapshot_writer(master, "manifest", wallet, sequence)
	if not writer then return nil, message, code end
	local ok, file, sha256
	ok, message, code = writer:add(native.text_body(M.encode(manifest)))
	if not ok then return nil, message, code end
	file, sha256, code = writer:finish()
	if not file then return nil, sha256, code end
	ok, message, code = place:write(wallet, sequence, "manifest", file, sha256)
	if not ok then return nil, message, code end
	return sha256
end

-- What says that a file could not be read now; everything else, that it is not what it should be.
local PASSING = {
	ERR_MEMORY = true, ERR_LOCKED_MEMORY = true, ERR_CRYPTO = true, ERR_SYSTEM = true, ERR_TIMEOUT = true,
	ERR_CONNECT = true, ERR_RESOLVE = true, ERR_TLS = true, ERR_HTTP = true, ERR_TEE = true, ERR_BUSY = true,
}

--- Whether a failure to read or open a file says that it is bad. @param code of that failure
function M.is_bad(code)
	return not PASSING[code]
end

--- Reads and opens a manifest; yields.
-- @return manifest with its wallet, sequence and sha256 (of the file) | nil, message, whether the file is bad (else it
--   could not be read)
function M.read(place, master, wallet, sequence)
	local body, message, code = place:read(wallet, sequence, "manifest")
	local opened, manifest
	if body then opened, message, code = native.snapshot_open(master, "manifest", wallet, sequence, body) end
	if not opened then return nil, message, M.is_bad(code) end
	local sha256 = message
	manifest = M.decode(opened:text())
	if not manifest then return nil, "is not a manifest of this version", true end
	manifest.wallet, manifest.sequence, manifest.sha256 = wallet, sequence, sha256
	return manifest
end

--- All manifests of a wallet that open; yields.
-- @return list, oldest first | nil, message: one could not be read
function M.read_all(place, master, wallet, listed)
	local found = {}
	for _, sequence in ipairs(listed.manifests) do
		local manifest, message, is_bad = M.read(place, master, wallet, sequence)
		if not manifest and not is_bad then return nil, message end
		found[#found + 1] = manifest
	end
	return found
end

--- A wallet's newest manifest that opens; yields.
-- @param listed of place:list(), the wallet's part
-- @param before sequence that it must be below, or nil
-- @param on_bad function(sequence, message), called for each newer one that does not open
-- @return manifest | false: there is none | nil, message: it could not be read
function M.newest(place, master, wallet, listed, before, on_bad)
	local bad = 0
	for i = #listed.manifests, 1, -1 do
		local sequence = listed.manifests[i]
		if not before or sequence < before then
			local manifest, message, is_bad = M.read(place, master, wallet, sequence)
			if manifest then return manifest end
			if not is_bad then return nil, message end
			bad = bad + 1
			on_bad(sequence, bad > MAX_BAD and "too many newer ones do not open: no older one is tried" or message)
			if bad > MAX_BAD then break end
		end
	end
	return false
end

return M
