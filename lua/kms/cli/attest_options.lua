--- Reads the options of `nova-kms attest`.

local uv = require("luv")
local allow_list = require("kms.attest.allow_list")
local calendar = require("kms.base.calendar")
local fetch = require("kms.http.fetch")

local M = {}

local MAX_DOCUMENT = 16384
local MAX_TEXT = 4 * MAX_DOCUMENT -- bytes of a document in base64 or hex, with line ends
local NONCE_BYTES = 32

-- A mistake of the command line: nil, message, code.
local function usage(message)
	return nil, message, "ERR_USAGE"
end

local function millis(decimals)
	return math.tointeger(tonumber((decimals .. "000"):sub(1, 3)))
end

-- Parses Unix seconds, with up to three decimals, or 2025-10-16T02:54:42.550Z. Returns Unix milliseconds | nil.
local function parse_time(text)
	local whole, fraction = text:match("^(%d+)(.*)$")
	local decimals = fraction == "" and "" or fraction and fraction:match("^%.(%d%d?%d?)$")
	if whole and decimals and #whole <= 11 then return math.tointeger(tonumber(whole)) * 1000 + millis(decimals) end
	local y, mo, d, h, mi, s
	y, mo, d, h, mi, s, fraction = text:match("^(%d%d%d%d)%-(%d%d)%-(%d%d)T(%d%d):(%d%d):(%d%d)(.*)Z$")
	local ms = fraction == "" and "" or fraction and fraction:match("^%.(%d%d?%d?)$")
	if not y or not ms then return nil end
	local seconds = calendar.unix_s(tonumber(y), tonumber(mo), tonumber(d), tonumber(h), tonumber(mi), tonumber(s))
	return seconds and seconds >= 0 and seconds * 1000 + millis(ms) or nil
end

-- Why a text is no time.
local function no_time(text, allowed)
	if text:find("^%d%d%d%d%d%d%d%d%d%d%d%d%d?%d?$") then
		return usage(("--time: %s looks like milliseconds; allowed is %s"):format(text, allowed))
	end
	return usage("--time: allowed is " .. allowed)
end

local function read_file(path)
	local file, message
	if path == "-" then file = io.stdin else file, message = io.open(path, "rb") end
	if not file then return usage(message) end
	local bytes
	bytes, message = file:read(MAX_TEXT + 1)
	if path ~= "-" then file:close() end
	if not bytes and message then return usage(("%s: %s"):format(path, message)) end
	return bytes or ""
end

-- The bytes of a document that may be in hexadecimal or base64. Returns bytes | nil, what it is instead.
local function decode(native, bytes)
	if bytes == "" then return nil, "is empty" end
	if #bytes > MAX_TEXT then return nil, ("is larger than a document's %d bytes"):format(MAX_DOCUMENT) end
	-- A document's first byte is no character.
	if bytes:byte() >= 0x80 or bytes:find("[^\t\n\r -~]") then return bytes end
	local compact = bytes:gsub("%s", "")
	if compact:find('^[{%["]') then return nil, "is JSON: give the document in it, which is often in base64" end
	if compact:find("^%-%-%-%-%-BEGIN") then return nil, "is PEM, not a document" end
	local digits = compact:gsub("^0[xX]", "")
	if not digits:find("%X") then return native.hex_decode(digits) or nil, "has an odd number of digits" end
	local base64 = compact:gsub("[-_]", { ["-"] = "+", ["_"] = "/" }):gsub("=+$", "")
	local decoded = native.base64_decode(base64 .. ("="):rep(-#base64 % 4))
	if not decoded then return nil, "is text, but neither base64 nor hexadecimal" end
	return decoded
end

-- The document in bytes that a file or a server gave. Returns bytes | nil, message, code.
local function document_in(native, bytes, name)
	local document, what = decode(native, bytes)
	if not document then return nil, ("%s %s"):format(name, what), "ERR_SHAPE" end
	return document
end

-- Gets a document from a node, with a fresh nonce, so that it cannot be an old one.
-- Returns { bytes, nonce } | nil, message, code.
local function fetch_document(native, parsed)
	local nonce = uv.random(NONCE_BYTES)
	local url = parsed.url:gsub("/+$", "") .. "/attestation?nonce=" .. native.hex_encode(nonce)
	local response, message, code = fetch.request({
		url = url, timeout_ms = parsed.timeout * 1000, max_bytes = MAX_DOCUMENT,
	})
	if not response then return nil, message, code end
	if response.status ~= 200 then return nil, ("the node replied with HTTP %d"):format(response.status), "ERR_REFUSED" end
	local bytes
	bytes, message, code = document_in(native, response.body, "the response")
	if not bytes then return nil, message, code end
	return { bytes = bytes, nonce = nonce }
end

--- The document of a command line: from a file or a node.
-- @return { bytes, nonce (that was sent for it, or nil) } | nil, message, code
function M.document(native, parsed)
	if (parsed.document ~= nil) == (parsed.url ~= nil) then
		return usage("give either a file with a document, or --url")
	end
	if parsed.url and parsed.nonce then
		return usage("--nonce is for a file: with --url a fresh nonce is sent, since a known one would accept old documents")
	end
	if parsed.url then return fetch_document(native, parsed) end
	local bytes, message, code = read_file(parsed.document)
	if not bytes then return nil, message, code end
	bytes, message, code = document_in(native, bytes, parsed.document)
	if not bytes then return nil, message, code end
	return { bytes = bytes }
end

-- Whether bytes can be a certificate in DER: a SEQUENCE of 256 to 65535 bytes, and nothing after it.
local function is_certificate(bytes)
	if #bytes < 4 then return false end
	local tag, length = string.unpack(">I2I2", bytes)
	return tag == 0x3082 and length == #bytes - 4
end

-- The SHA-256 of each root that --root names. Returns list | nil, message, code.
local function roots_of(native, text)
	local roots = {}
	for name in text:gmatch("[^,]+") do
		local root = allow_list.root(name)
		if not root then
			local der = read_file(name)
			if not der or not is_certificate(der) then
				return usage(("--root: '%s' is not a SHA-256, not a file with a certificate in DER, and not '%s'"):format(
					name, allow_list.AWS_ROOT))
			end
			root = native.sha256(der)
		end
		roots[#roots + 1] = root
	end
	return roots
end

-- The time to verify at. Returns Unix milliseconds | nil, message, code.
local function time_of(native, text, document)
	if not text then return native.wall_ms() end
	if text == "document" then
		local facts = native.attest_read(document)
		return facts and facts.timestamp_ms or 0
	end
	local time = parse_time(text)
	if not time then return no_time(text, "Unix seconds, 2025-10-16T02:54:42Z, or 'document'") end
	return time
end

--- What the command line requires of a document.
-- @param document  as M.document gives it
-- @return options of native.attest_verify | nil, message, code
function M.policy(native, parsed, document)
	local list, message, code
	if parsed.pcr then
		list, message = allow_list.load(parsed.pcr)
		if not list then return usage(message) end
	end
	local options = {
		roots = list and list.roots or { native.attest_aws_root }, images = list and list.images, nonce = document.nonce,
		allow_debug = parsed.allow_debug or list and list.allow_debug or false,
		max_age_ms = parsed.max_age and parsed.max_age * 1000, max_ahead_ms = parsed.max_ahead * 1000,
	}
	if parsed.root then
		options.roots, message, code = roots_of(native, parsed.root)
		if not options.roots then return nil, message, code end
	end
	if parsed.nonce then options.nonce = native.hex_decode(parsed.nonce) end
	if parsed.public_key then options.public_key = native.hex_decode(parsed.public_key) end
	options.now_ms, message, code = time_of(native, parsed.time, document.bytes)
	if not options.now_ms then return nil, message, code end
	return options
end

--- The claims of a document to make.
-- @return { nonce, pcrs, now_ms } | nil, message, code
function M.claims(native, parsed)
	local claims = {}
	if parsed.nonce then claims.nonce = native.hex_decode(parsed.nonce) end
	if parsed.pcr then
		local list, message = allow_list.load(parsed.pcr)
		if not list then return usage(message) end
		if #list.images ~= 1 then return usage("--pcr: the file must hold one image") end
		claims.pcrs = list.images[1]
	end
	claims.now_ms = native.wall_ms()
	if parsed.time then
		claims.now_ms = parse_time(parsed.time)
		if not claims.now_ms then return no_time(parsed.time, "Unix seconds, or 2025-10-16T02:54:42Z") end
	end
	return claims
end

return M
