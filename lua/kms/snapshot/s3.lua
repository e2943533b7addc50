--- Snapshot files in a bucket: <prefix>/<hash of the secret>/<wallet>/<file>. The methods of kms.snapshot.folder.

local listing = require("kms.snapshot.listing")
local names = require("kms.snapshot.names")
local requests = require("kms.snapshot.s3_request")

local M = {}

local Bucket = {}
Bucket.__index = Bucket

local MAX_FILE = 64 << 20 -- KMS_SNAPSHOT_MAX_FILE

-- The path of an object from the bucket's root on.
local function key_of(self, wallet, sequence, kind)
	return ("%s%s/%s"):format(self.prefix, wallet, names.file(sequence, kind))
end

-- What a status that is not expected says. Returns nil, message, code.
local function refusal(response)
	local why = type(response.body) == "string" and response.body:match("<Code>(%w+)</Code>")
	local text = ("the bucket's server answers with HTTP %d%s"):format(response.status, why and " " .. why or "")
	return nil, text, "ERR_HTTP"
end

-- ---- listing ---------------------------------------------------------------------------------------

-- One page of names, for kms.snapshot.listing.
local function list_page(self, found, token)
	local response, message, code = self.requests:request({
		method = "GET", path = self.bucket,
		query = { ["list-type"] = "2", prefix = self.prefix, ["continuation-token"] = token },
	})
	if not response then return nil, message, code end
	if response.status ~= 200 then return refusal(response) end
	for key in response.body:gmatch("<Key>([^<]+)</Key>") do
		if key:sub(1, #self.prefix) == self.prefix then found:add(key:sub(#self.prefix + 1)) end
	end
	if not response.body:find("<IsTruncated>true</IsTruncated>", 1, true) then return false end
	local next_token = response.body:match("<NextContinuationToken>([^<]+)</NextContinuationToken>")
	if not next_token then return nil, "the bucket's server gives half a listing", "ERR_HTTP" end
	return (next_token:gsub("&amp;", "&"))
end

--- As Folder:list.
function Bucket:list()
	return listing.collect("the bucket", function(found, token) return list_page(self, found, token) end)
end

-- ---- objects ---------------------------------------------------------------------------------------

--- As Folder:read.
function Bucket:read(wallet, sequence, kind)
	local response, message, code = self.requests:request({
		method = "GET", path = self.bucket .. "/" .. key_of(self, wallet, sequence, kind), is_object = true,
		max_bytes = MAX_FILE,
	})
	if not response then return nil, message, code end
	if response.status == 404 then return nil, "file does not exist", "ERR_FILE_MISSING" end
	if response.status ~= 200 then return refusal(response) end
	return response.body
end

-- Returns true | nil, message, code.
local function put(self, key, body, sha256)
	local response, message, code = self.requests:request({
		method = "PUT", path = self.bucket .. "/" .. key, body = body, sha256 = sha256,
		headers = { ["If-None-Match"] = "*" },
	})
	if not response then return nil, message, code end
	if response.status == 412 then return nil, "there is such a file", "ERR_STATE" end
	if response.status ~= 200 then return refusal(response) end
	return true
end

--- As Folder:write. Where the server takes conditions, none is ever written over.
function Bucket:write(wallet, sequence, kind, body, sha256)
	return put(self, key_of(self, wallet, sequence, kind), body, sha256)
end

--- As Folder:write_beside.
function Bucket:write_beside(name, body, sha256)
	return put(self, self.prefix .. name, body, sha256)
end

--- As Folder:remove.
function Bucket:remove(wallet, sequence, kind)
	local response, message, code = self.requests:request({
		method = "DELETE", path = self.bucket .. "/" .. key_of(self, wallet, sequence, kind),
	})
	if not response then return nil, message, code end
	if response.status // 100 == 2 or response.status == 404 then return true end
	return refusal(response)
end

--- As Folder:remove_unfinished: an object is there as a whole or not at all.
function Bucket.remove_unfinished() return true end

--- As Folder:remove_wallet: a bucket has no folders.
function Bucket.remove_wallet() end

--- Opens a bucket.
-- @param text s3://bucket or s3://bucket/prefix
-- @param deps of kms.snapshot.s3_request
-- @return function(secret) -> that secret's place | nil, message
function M.open(text, deps)
	local signing, message = requests.new(deps)
	if not signing then return nil, message end
	local bucket, prefix = text:match("^s3://([^/]+)/?(.*)$")
	prefix = prefix ~= "" and prefix .. "/" or ""
	return function(secret)
		return setmetatable({
			requests = signing, bucket = "/" .. bucket, prefix = ("%s%s/"):format(prefix, names.of_secret(secret)),
		}, Bucket)
	end
end

return M
