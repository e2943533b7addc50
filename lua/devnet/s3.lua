--- A bucket on this machine: s3rver, a server of S3's protocol that npm fetches. Functions yield.

local fetch = require("kms.http.fetch")
local files = require("kms.base.files")
local loop = require("kms.base.loop")
local process = require("devnet.process")
local uv = require("luv")

local M = {}

local Server = {}
Server.__index = Server

local PROGRAM = "spec/snapshot/s3rver/node_modules/s3rver/bin/s3rver.js"
local BUCKET, PREFIX = "nova-kms", "devnet"
local KEY_ID, SECRET = "S3RVER", "S3RVER" -- those that s3rver knows
local START_MS, POLL_MS, STOP_MS = 30000, 50, 5000

--- Whether s3rver is installed.
-- @param root  folder of the source tree
-- @return true | nil, message
function M.available(root)
	if uv.fs_stat(root .. "/" .. PROGRAM) then return true end
	return nil, PROGRAM .. " is missing: run `make drill` or `make s3`, which fetch it"
end

--- Starts it and waits until it responds. Throws a text where it does not.
function Server:start()
	assert(files.make_dir(self.dir))
	assert(files.make_dir(("%s/%s"):format(self.dir, BUCKET)))
	local message
	self.process, message = process.start({
		program = self.root .. "/" .. PROGRAM, args = { "-d", self.dir, "-a", "127.0.0.1", "-p", tostring(self.port) },
		env = { PATH = os.getenv("PATH") }, log = self.dir .. ".log", on_end = self.on_end,
	})
	if not self.process then error(message, 0) end
	local deadline = uv.hrtime() + START_MS * 1000000
	while not fetch.request({ url = self.url .. "/" }) do
		if not self.process:alive() then error("s3rver " .. self.process:ending() .. ": see " .. self.process.log, 0) end
		if uv.hrtime() > deadline then error("s3rver does not respond", 0) end
		loop.sleep(POLL_MS)
	end
end

--- Settings of nodes that keep their snapshots here.
function Server:settings()
	return {
		SNAPSHOT = self.place, AWS_ENDPOINT_URL = self.url, AWS_ACCESS_KEY_ID = KEY_ID, AWS_SECRET_ACCESS_KEY = SECRET,
	}
end

--- Stops it.
function Server:stop()
	if self.process then self.process:stop(STOP_MS) end
end

--- A server that is not running yet.
-- @param options  root: of the source tree; dir: of its files; port; on_end(process): called when it ends by itself
-- @return server { url, place (SNAPSHOT) }
function M.new(options)
	return setmetatable({
		root = options.root, dir = options.dir, port = options.port, on_end = options.on_end,
		url = "http://127.0.0.1:" .. options.port, place = ("s3://%s/%s"):format(BUCKET, PREFIX),
	}, Server)
end

return M
