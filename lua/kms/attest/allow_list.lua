--- Allow lists: the roots and images that attestation documents may come from.

local data_file = require("kms.base.data_file")
local native = require("kms_native")

local M = {}

local MAX_ROOTS, MAX_IMAGES = 16, 64
local PCRS, PCR_BYTES, ROOT_BYTES = 32, 48, 32
local REQUIRED = { 0, 1, 2 } -- the PCRs of a build: image, kernel, application

--- The name by which lists and the command line call the root of AWS's standard regions.
M.AWS_ROOT = "aws-nitro"

local function hex_of(text, bytes)
	return type(text) == "string" and #text == 2 * bytes and not text:find("%X") and native.hex_decode(text) or nil
end

--- The SHA-256 of a root, as lists and the command line name it: in hex, or "aws-nitro".
-- @return 32 bytes | nil
function M.root(name)
	if name == M.AWS_ROOT then return native.attest_aws_root end
	return hex_of(name, ROOT_BYTES)
end

-- Returns list of 32 bytes each | nil, message.
local function read_roots(list)
	if list == nil then return { native.attest_aws_root } end
	if not data_file.is_list(list, 0, MAX_ROOTS) then
		return nil, ("roots must be a list of at most %d"):format(MAX_ROOTS)
	end
	local roots = {}
	for i, name in ipairs(list) do
		roots[i] = M.root(name)
		if not roots[i] then return nil, ("roots[%d]: allowed are 64 hexadecimal digits, or '%s'"):format(i, M.AWS_ROOT) end
	end
	return roots
end

-- Returns PCRs by number | nil, message.
local function read_image(image, where)
	if type(image) ~= "table" then return nil, where .. " must be a table" end
	local ok, message = data_file.refuse_unknown(image, { "name", "pcrs" }, where)
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
	for _, index in ipairs(REQUIRED) do
		if not pcrs[index] then return nil, ("%s: PCR%d is missing"):format(where, index) end
	end
	return pcrs
end

-- Returns images, names | nil, message.
local function read_images(list)
	if not data_file.is_list(list, 0, MAX_IMAGES) then
		return nil, ("images must be a list of at most %d"):format(MAX_IMAGES)
	end
	local images, names = {}, {}
	for i, image in ipairs(list) do
		local message
		images[i], message = read_image(image, ("images[%d]"):format(i))
		if not images[i] then return nil, message end
		names[i] = image.name
	end
	return images, names
end

-- Returns { id, registry, kms_registry, app_id } | nil: there is none | nil, message.
local function read_chain(chain)
	if chain == nil then return nil end
	if type(chain) ~= "table" then return nil, "chain must be a table" end
	local ok, message = data_file.refuse_unknown(chain, { "id", "registry", "kms_registry", "app_id" }, "chain")
	if not ok then return nil, message end
	if math.type(chain.id) ~= "integer" or chain.id < 1 then return nil, "chain: id must be a whole number" end
	if not tostring(chain.app_id):find("^[1-9]%d*$") then return nil, "chain: app_id must be a number" end
	for _, name in ipairs({ "registry", "kms_registry" }) do
		if type(chain[name]) ~= "string" or not native.address(chain[name]) then
			return nil, ("chain: %s must be the address of a contract"):format(name)
		end
	end
	return { id = chain.id, app_id = tostring(chain.app_id), registry = chain.registry, kms_registry = chain.kms_registry }
end

--- Checks the content of an allow-list file.
-- @return list as load | nil, message
function M.check(list)
	local ok, message = data_file.refuse_unknown(list, { "roots", "images", "allow_debug", "chain" }, "allow-list")
	if not ok then return nil, message end
	if list.allow_debug ~= nil and type(list.allow_debug) ~= "boolean" then
		return nil, "allow_debug must be true or false"
	end
	local chain
	chain, message = read_chain(list.chain)
	if message then return nil, message end
	local roots, images, names
	roots, message = read_roots(list.roots)
	if not roots then return nil, message end
	images, names = read_images(list.images)
	if not images then
		message = names
		return nil, message
	end
	return { roots = roots, images = images, names = names, allow_debug = list.allow_debug == true, chain = chain }
end

--- Reads an allow-list file (kms.base.data_file):
--
--     return {
--         roots = { "aws-nitro" },       -- SHA-256 of roots, in hex; the default is this one
--         allow_debug = false,           -- true accepts PCR0 of all zeros: for development only
--         chain = { id = 8453, registry = "0x...", kms_registry = "0x...", app_id = 49 }, -- for custodians; optional
--         images = {                     -- a document must match all PCRs of one image: 0, 1, 2 at least
--             { name = "1.4.0", pcrs = { [0] = "<96 digits>", [1] = "...", [2] = "..." } },
--         },
--     }
--
-- During an upgrade, list the old image and the new one.
-- @return list { roots (32 bytes each), images ({ [0] = 48 bytes, ... }), names (of the images), allow_debug,
--   chain ({ id, registry, kms_registry, app_id (text) }, or nil) } | nil, message
function M.load(path)
	local list, message = data_file.read(path)
	if not list then return nil, message end
	local checked
	checked, message = M.check(list)
	if not checked then return nil, ("%s: %s"):format(path, message) end
	return checked
end

return M
