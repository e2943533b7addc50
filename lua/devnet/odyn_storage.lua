--- The storage of the fake Odyn service: objects as files of a folder, whose names have "!" for "/".

local cjson = require("cjson.safe")
local files = require("kms.base.files")
local json = require("kms.base.json")
local native = require("kms_native")

local M = {}

local MAX_KEYS = 1000 -- in one page of a listing

local function refuse(message, status)
	return nil, message, status or 400
end

-- The file of a key | nil.
local function path_of(folder, key)
	if type(key) ~= "string" or not key:find("^[%w._-][%w._/-]*$") or key:find("..", 1, true) then return nil end
	return folder .. "/" .. key:gsub("/", "!")
end

local CALLS = {}

CALLS["POST /v1/s3/get"] = function(folder, request)
	local path = path_of(folder, request.key)
	if not path then return refuse("key is not valid") end
	local file = io.open(path, "rb")
	if not file then return refuse("no such key", 404) end
	local bytes = file:read("a")
	file:close()
	return { value = native.base64_encode(bytes), content_type = cjson.null }
end

CALLS["POST /v1/s3/put"] = function(folder, request)
	local path, bytes = path_of(folder, request.key), native.base64_decode(request.value or "*")
	if not path or not bytes then return refuse("key or value is not valid") end
	local file, message = io.open(path, "wb")
	if not file then return refuse(message) end
	file:write(bytes)
	file:close()
	return { success = true }
end

CALLS["POST /v1/s3/delete"] = function(folder, request)
	local path = path_of(folder, request.key)
	if not path then return refuse("key is not valid") end
	os.remove(path)
	return { success = true }
end

CALLS["POST /v1/s3/list"] = function(folder, request)
	local prefix, after, keys, more = request.prefix or "", request.continuation_token or "", {}, false
	local max = math.min(request.max_keys or MAX_KEYS, MAX_KEYS)
	local names = files.list(folder)
	for i, name in ipairs(names) do names[i] = name:gsub("!", "/") end
	table.sort(names)
	for _, key in ipairs(names) do
		if key > after and key:sub(1, #prefix) == prefix then
			more = #keys == max
			if more then break end
			keys[#keys + 1] = key
		end
	end
	return {
		keys = json.list(keys), is_truncated = more, continuation_token = more and keys[#keys] or cjson.null,
	}
end

--- Its calls by name: function(folder, request) -> answer | nil, message, status. Without a folder there is no storage.
M.CALLS = {}

for call, answer in pairs(CALLS) do
	M.CALLS[call] = function(folder, request)
		if not folder then return refuse("S3 storage not configured") end
		return answer(folder, request)
	end
end

return M
