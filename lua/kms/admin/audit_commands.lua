--- The control socket's command about the audit log.
--
--   GET /audit/name/<kind>/<app id>/<SHA-256>   what stands in the log for a name: path, context, key or prefix
--
-- Only a hash of the name comes here. Each look-up stands in the audit log: with them an operator can try names.

local err = require("kms.base.err")
local json = require("kms.base.json")
local native = require("kms_native")
local rate_limit = require("kms.base.rate_limit")
local types = require("kms.config.types")

local M = {}

local HEADERS = { ["Content-Type"] = "application/json" }
local PER_MINUTE = 60
local KINDS = { path = true, context = true, key = true, prefix = true }
local USAGE = "use /audit/name/<path, context, key or prefix>/<app id>/<SHA-256 of the name, 64 digits>"

-- Returns kind, app id, 32 bytes | nil.
local function parse(rest)
	local kind, app_id, digits = rest:match("^(%l+)/(%d+)/(%x+)$")
	if not kind or not KINDS[kind] or #digits ~= 64 then return nil end
	if not types.app_id.parse(app_id) then return nil end
	return kind, app_id, native.hex_decode(digits)
end

local function look_up(audit, limiter, mono_ms, rest, caller)
	local kind, app_id, digest = parse(rest)
	if not kind then return err.reply("ERR_BAD_REQUEST", USAGE) end
	local ok, wait_s = limiter:take("names", mono_ms())
	if not ok then return err.reply("ERR_RATE", "too many names were looked up", { ["Retry-After"] = wait_s }) end
	local hash, message, code = audit:hash(kind, app_id, digest)
	if not hash then return err.reply(code, message) end
	local noted = audit:event("lookup", {
		kind = kind, app = app_id, name = hash, uid = caller.uid, pid = caller.pid,
	})
	if not noted then return err.reply("ERR_BUSY", "the audit log has no room for a line about this look-up") end
	return { status = 200, headers = HEADERS, body = json.encode({ hash = hash }) }
end

--- @param audit kms.audit; @param mono_ms clock
-- @return routes as kms.admin.commands has them
function M.routes(audit, mono_ms)
	local limiter = rate_limit.per_minute(PER_MINUTE, 1)
	return { {
		name = "look up name", method = "GET", prefix = "/audit/name/", reads = true, is_private = true,
		handler = function(rest, caller) return look_up(audit, limiter, mono_ms, rest, caller) end,
	} }
end

return M
