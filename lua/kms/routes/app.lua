--- The application routes: POST /kms/derive and /kms/data.
--
-- Each goes the same way: ready, authenticate, read the body, open it, carry it out, seal the
-- answer. A handler sees names and sizes; keys and values stay in C.

local err = require("kms.base.err")
local key_lock = require("kms.async.key_lock")
local lru = require("kms.base.lru")
local native = require("kms_native")
local routes_reply = require("kms.routes.reply")

local M = {}

-- For a day after a wallet last bound a body to its exchange, its bodies must be bound.
local POP_MEMORY_MS = 24 * 3600 * 1000
local POP_REFRESH_MS = 60000 -- noted again no sooner than that
local POP_WALLETS = 10000

-- A listing costs as much as thousands of other requests: an application has one at a time on the
-- pool, so that the other threads stay free, and so many more that wait for it.
local WAITING_LISTINGS = 32

local function channel_allowed(node, caller, mono_ms)
	if node.tee:has_channel(node.service, caller.point) then return true end
	return node.channel_limiter:take("c" .. caller.app_id, mono_ms)
end

-- The opened body, or the request that the URL names.
local function read_request(node, request, route, caller, key, mono_ms)
	if not channel_allowed(node, caller, mono_ms) then
		return nil, "too many new keys of this application", "ERR_RATE"
	end
	if not route.body then return node.service:request(route.kind, key) end
	local ok, _, code, message = request:read_body(request.max_body)
	if not ok then return nil, message, code end
	local bound_ms = node.bound_wallets:get(caller.wallet, mono_ms)
	local opened
	opened, message, code = node.tee:open_request(node.service, request.head, route.kind, caller, bound_ms ~= nil)
	if not opened then return nil, message, code end
	if (not bound_ms or mono_ms - bound_ms > POP_REFRESH_MS) and opened:has_pop() then
		node.bound_wallets:put(caller.wallet, mono_ms, mono_ms + POP_REFRESH_MS + POP_MEMORY_MS)
	end
	return opened
end

local function work(node, opened, caller)
	return node.tee:answer(node.service, opened, caller, node.wall_ms())
end

local function answer(node, opened, caller, kind)
	if kind ~= "list" then return work(node, opened, caller) end
	local locked, body, signature, code = node.listings:with(caller.app_id, work, node, opened, caller)
	if locked then return body, signature, code end
	return nil, "too many listings of this application wait", "ERR_RATE"
end

local function carry_out(node, request, route, caller, key, mono_ms)
	local opened, message, code = read_request(node, request, route, caller, key, mono_ms)
	if not opened then return err.reply(code, message) end
	-- A body takes as long as its sender likes: the node may serve no more.
	if not node.readiness.ready then
		opened:close()
		return err.reply("ERR_NOT_READY", node.readiness.reason)
	end
	if node.log:enabled("info") then request.name = opened:path() or opened:key() end
	local refused = node.operator:opened(request, route.kind, caller, opened)
	if refused then
		opened:close()
		return refused
	end
	local body, signature
	body, signature, code = answer(node, opened, caller, route.kind)
	opened:close()
	if not body then return err.reply(code, signature) end
	return { status = 200, body = body, headers = { ["X-KMS-Response-Signature"] = signature } }
end

-- The record's key: behind /kms/data/, or ?key=, or none.
-- @return key | nil | nil, message
local function url_key(request, rest)
	if rest then return native.percent_decode(rest, false) end
	if not request.query then return nil end
	local key, detail = native.http_query(request.query, "key")
	if key and detail > 1 then return nil, "parameter key is given twice" end
	if not key and type(detail) == "string" then return nil, "parameter key: " .. detail end
	return key
end

local function serve(node, request, route, rest)
	if not node.readiness.ready then return err.reply("ERR_NOT_READY", node.readiness.reason) end
	-- Before anything else is looked at.
	if routes_reply.announces_more(request, request.max_body) then return err.reply("ERR_TOO_LARGE") end
	local mono_ms = node.mono_ms()
	local caller, message, code, wait_s, wallet = node.auth:app(request, node.wall_ms(), mono_ms)
	request.wallet = caller and caller.wallet or wallet
	if not caller then return err.reply(code, message, wait_s and { ["Retry-After"] = wait_s }), wallet end
	request.app_id = caller.app_id
	local key
	if route.kind == "get" then
		key, message = url_key(request, rest)
		if message then return err.reply("ERR_BAD_REQUEST", message), caller.wallet end
		if not key then route = route.without_key end
	end
	local refused = node.operator:request(request, route.kind, caller)
	return refused or carry_out(node, request, route, caller, key, mono_ms), caller.wallet
end

local function handler(node, request, route, rest)
	local reply, authenticated = serve(node, request, route, rest)
	return authenticated and routes_reply.with_nonce(node, reply) or reply
end

--- The routes of this module.
function M.routes()
	local list = { name = "list", kind = "list" }
	return {
		{ name = "derive", method = "POST", path = "/kms/derive", kind = "derive", body = true, handler = handler },
		{ name = "get", method = "GET", path = "/kms/data", kind = "get", without_key = list, handler = handler },
		{ name = "get", method = "GET", prefix = "/kms/data/", kind = "get", without_key = list, handler = handler },
		{ name = "put", method = "PUT", path = "/kms/data", kind = "put", body = true, handler = handler },
		{ name = "delete", method = "DELETE", path = "/kms/data", kind = "delete", body = true, handler = handler },
	}
end

--- What the handlers keep on the node.
function M.setup(node)
	node.bound_wallets = lru.new(POP_WALLETS)
	node.listings = key_lock.new(WAITING_LISTINGS)
end

return M
