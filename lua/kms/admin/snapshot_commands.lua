--- The control socket's commands about sealed snapshots.
--
--   POST /snapshots          writes one now
--   GET /snapshots/verify    opens every file in the place, of every node

local err = require("kms.base.err")
local inspect = require("kms.snapshot.inspect")
local json = require("kms.base.json")

local M = {}

local HEADERS = { ["Content-Type"] = "application/json" }

local OFF = "SNAPSHOT is off on this node"
local NO_SECRET = "this node has no master secret yet, and without it nothing opens"

local function reply(value, outcome)
	return { status = 200, headers = HEADERS, body = json.encode(value), outcome = outcome }
end

local function save(snapshots)
	if not snapshots then return err.reply("ERR_BAD_REQUEST", OFF) end
	local ok, message = snapshots.keeper:save()
	if not ok then return err.reply("ERR_NOT_READY", message) end
	return reply({ saved = true, saved_at_ms = snapshots.keeper:status().saved_at_ms }, "saved")
end

local function verify(snapshots)
	if not snapshots then return err.reply("ERR_BAD_REQUEST", OFF) end
	local place, secret = snapshots:current_place()
	if not place then return err.reply("ERR_NOT_READY", NO_SECRET) end
	local found, message = inspect.verify(place, secret)
	if not found then return err.reply("ERR_NOT_READY", message) end
	local bad = 0
	for _, wallet in ipairs(found) do
		bad = bad + #wallet.bad
		json.list(wallet.bad)
		json.list(wallet.opened)
	end
	return reply({ wallets = json.list(found), bad = bad }, bad == 0 and "every file opens" or "some do not open")
end

--- @param snapshots kms.node.snapshots, or nil
-- @return routes as kms.admin.commands has them
function M.routes(snapshots)
	return {
		{ name = "save snapshot", method = "POST", path = "/snapshots", handler = function() return save(snapshots) end },
		{
			name = "verify snapshots", method = "GET", path = "/snapshots/verify", reads = true,
			handler = function() return verify(snapshots) end,
		},
	}
end

return M
