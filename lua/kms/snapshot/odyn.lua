--- Snapshot files in the storage of the platform, through the Odyn service (docs/protocol.md section 13): objects
-- <hash of the secret>/<wallet>/<file> of this application. The methods of kms.snapshot.folder.

local cjson = require("cjson.safe")
local json = require("kms.base.json")
local listing = require("kms.snapshot.listing")
local names = require("kms.snapshot.names")
local native = require("kms_native")

local M = {}

local Storage = {}
Storage.__index = Storage

local PUT, GET, LIST, DELETE = "POST /v1/s3/put", "POST /v1/s3/get", "POST /v1/s3/list", "POST /v1/s3/delete"

local MAX_FILE = 64 << 20 -- KMS_SNAPSHOT_MAX_FILE
local MAX_OBJECT = MAX_FILE // 3 * 4 + 4096 -- bytes of a response with a file in base64
local PAGE = 1000 -- names
local MAX_LIST = 8 << 20 -- bytes of a response with as many names, of 1024 bytes each, with all that JSON escapes
local MAX_TOKEN = 4096
local NOT_ON = ": is the storage of this application turned on?"

local function key_of(self, wallet, sequence, kind)
	return ("%s%s/%s"):format(self.prefix, wallet, names.file(sequence, kind))
end

local function malformed(call, what)
	return nil, ("Odyn %s: malformed answer: %s"):format(call, what), "ERR_TEE"
end

-- Calls with JSON and reads JSON. Returns object | nil, message, code.
local function call_json(self, call, request, max_bytes)
	local response, message, code, status = self.calls:call(call, json.encode(request), max_bytes)
	if not response then
		return nil, status == 400 and call == LIST and message .. NOT_ON or message, code
	end
	local object = cjson.decode(response:slice(1, response:len()))
	response:close()
	if type(object) ~= "table" then return malformed(call, "no JSON object") end
	return object
end

-- ---- listing ---------------------------------------------------------------------------------------

-- One page of names. Returns list of names, the next page's token or false | nil, message, code.
local function list_page(self, prefix, token, count)
	local object, message, code = call_json(self, LIST, {
		prefix = prefix, continuation_token = token, max_keys = count,
	}, MAX_LIST)
	if not object then return nil, message, code end
	local keys, following = object.keys, object.continuation_token
	if type(keys) ~= "table" or #keys > PAGE then return malformed(LIST, "keys") end
	for _, key in ipairs(keys) do
		if type(key) ~= "string" then return malformed(LIST, "keys") end
	end
	if object.is_truncated ~= true then return keys, false end
	if type(following) ~= "string" or following == "" or #following > MAX_TOKEN then
		return malformed(LIST, "continuation_token")
	end
	return keys, following
end

--- As Folder:list.
function Storage:list()
	return listing.collect("the platform's storage", function(found, token)
		local keys, following, code = list_page(self, self.prefix, token, PAGE)
		if not keys then return nil, following, code end
		for _, key in ipairs(keys) do
			if key:sub(1, #self.prefix) == self.prefix then found:add(key:sub(#self.prefix + 1)) end
		end
		return following
	end)
end

-- ---- objects ---------------------------------------------------------------------------------------

--- As Folder:read.
function Storage:read(wallet, sequence, kind)
	local request = json.encode({ key = key_of(self, wallet, sequence, kind) })
	local response, message, code, status, cause = self.calls:call(GET, request, MAX_OBJECT)
	if status == 404 then return nil, "file does not exist", "ERR_FILE_MISSING" end
	if not response then return nil, message, cause == "ERR_TOO_LARGE" and cause or code end
	return self.calls:read(GET, native.odyn_value, response)
end

-- The service has no condition for a write: it is asked first. No other node writes under this node's names.
-- Returns true | nil, message, code.
local function put(self, key, body)
	local keys, message, code = list_page(self, key, nil, 1)
	if not keys then return nil, message, code end
	if keys[1] == key then return nil, "there is such a file", "ERR_STATE" end
	local request
	request, message, code = native.odyn_put_request(key, body)
	if not request then return nil, message, code end
	local response
	response, message, code = self.calls:call(PUT, request)
	if not response then return nil, message, code end
	response:close()
	return true
end

--- As Folder:write.
function Storage:write(wallet, sequence, kind, body)
	return put(self, key_of(self, wallet, sequence, kind), body)
end

--- As Folder:write_beside.
function Storage:write_beside(name, body)
	return put(self, self.prefix .. name, body)
end

--- As Folder:remove.
function Storage:remove(wallet, sequence, kind)
	local request = json.encode({ key = key_of(self, wallet, sequence, kind) })
	local response, message, code, status = self.calls:call(DELETE, request)
	if status == 404 then return true end
	if not response then return nil, message, code end
	response:close()
	return true
end

--- As Folder:remove_unfinished: an object is there as a whole or not at all.
function Storage.remove_unfinished() return true end

--- As Folder:remove_wallet: there are no folders.
function Storage.remove_wallet() end

--- Opens the storage.
-- @param calls kms.tee.odyn_calls
-- @return function(secret) -> that secret's place
function M.open(calls)
	return function(secret)
		return setmetatable({ calls = calls, prefix = names.of_secret(secret) .. "/" }, Storage)
	end
end

return M
