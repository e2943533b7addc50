--- The application routes: POST /kms/derive and /kms/data.
--
-- Each takes the same steps: ready, authenticate, read the body, open it, execute it, seal the result. Handlers
-- see names and sizes; keys and values stay in C. What is allowed is decided in kms.routes.operations, as for sessions.

local conditions = require("kms.http.conditions")
local err = require("kms.base.err")
local lru = require("kms.base.lru")
local native = require("kms_native")
local needs = require("kms.base.needs")
local record_url = require("kms.routes.record_url")

local M = {}

local App = {}
App.__index = App

-- A wallet whose body once named its exchange (pop) must name it in every body for a day after the last.
local POP_MEMORY_MS = 24 * 3600 * 1000
local POP_REFRESH_MS = 60000 -- the memory is renewed at most this often
local POP_WALLETS = 10000
local SESSIONS_ONLY = "this node serves applications in sessions only: POST /session"

local SHORTLY = { ["Retry-After"] = 1 }

-- The opened body, or for a request without one, what its URL names. Returns opened | nil, message, code.
local function open(self, inbound, operation, caller, named, mono_ms)
	local allowed, reason, why = self.operations:may_open_channel(caller, mono_ms)
	if not allowed then return nil, reason, why end
	if not inbound.route.body then return self.service:request(operation, named) end
	local ok, message, code = inbound.request:read_body(inbound.max_body, caller.app_id)
	if not ok then return nil, message, code end
	local bound_ms = self.bound_wallets:get(caller.wallet, mono_ms)
	local opened
	opened, message, code = self.tee:open_request(self.service, inbound.request.head, operation, caller,
		bound_ms ~= nil or self.require_pop)
	if not opened then return nil, message, code end
	if (not bound_ms or mono_ms - bound_ms > POP_REFRESH_MS) and opened:has_pop() then
		self.bound_wallets:put(caller.wallet, mono_ms, mono_ms + POP_REFRESH_MS + POP_MEMORY_MS)
	end
	return opened
end

-- Returns the reply's body, its signature | nil, message, code.
local function execute(self, opened, caller, written)
	return self.tee:execute(self.service, opened, caller, self.wall_ms(), written)
end

-- Executes a write. Its reply may wait until other members hold it, and says how many do to a client of this version.
local function execute_write(self, opened, caller)
	if not self.operations:counts_copies() then
		local body, signature, code = execute(self, opened, caller)
		if body then self.operations:wrote() end
		return body, signature, code
	end
	local names_operation, write = opened:names_operation(), self.operations:begin_write()
	return execute(self, opened, caller, function(result)
		opened:close() -- a slow member must not make its value hold guarded memory
		local count, message, code = self.operations:wrote(write)
		if not count then return nil, message, code end
		if not names_operation then return true end
		return native.add_copies(result, count)
	end)
end

local function list_in_turn(self, opened, caller)
	return self.operations:list_in_turn(caller.app_id, execute, self, opened, caller)
end

local function reply_to(self, inbound, operation, caller, opened)
	local changes = self.operations.CHANGES[operation]
	-- The client decides how long its body takes: the node may have stopped serving meanwhile.
	local refused = self.operations:refusal(inbound, operation, caller, opened)
	if refused then return refused end
	if changes and conditions.failed(inbound.request) then return conditions.refusal() end
	local run = changes and execute_write or operation == "list" and list_in_turn or execute
	local body, signature, code = run(self, opened, caller)
	if not body then
		local message = signature
		return self.operations:failure(operation, message, code)
	end
	-- kms.auth.nonces adds the nonce; naming it here makes room for it.
	local headers = { ["X-KMS-Response-Signature"] = signature, ["X-KMS-Next-Nonce"] = nil }
	return { status = 200, body = body, headers = headers }
end

-- The operation of a GET, and what the URL names for it: the key of a record, or the page of a listing.
-- Returns operation, key or page or nil | nil, message.
local function operation_of(inbound)
	local key, message = record_url.key(inbound)
	if message then return nil, message end
	if key then return "get", key end
	local page
	page, message = record_url.page(inbound)
	if message then return nil, message end
	return "list", page
end

local function serve_caller(self, inbound, caller, mono_ms)
	local operation, named = inbound.route.operation, nil
	if operation == "get" then
		operation, named = operation_of(inbound)
		if not operation then
			local message = named
			return err.reply("ERR_BAD_REQUEST", message)
		end
	end
	local refused = self.operations:admit(inbound, operation, caller)
	if refused then return refused end
	local opened, message, code = open(self, inbound, operation, caller, named, mono_ms)
	if not opened then return err.reply(code, message, code == "ERR_RATE" and SHORTLY or nil) end
	local reply = reply_to(self, inbound, operation, caller, opened)
	opened:close()
	return reply
end

local function handle(self, inbound)
	if self.require_session then return err.reply("ERR_FORBIDDEN", SESSIONS_ONLY) end
	local refused = self.operations:not_ready()
	if refused then return refused end
	local too_much = inbound:announces_too_much()
	if too_much then return err.reply("ERR_TOO_LARGE", too_much) end
	local mono_ms = self.mono_ms()
	local caller, message, code, wait_s, wallet, app_id = self.authenticator:app(
		inbound.request, self.wall_ms(), mono_ms, inbound.limit_address)
	if not caller then
		inbound.wallet, inbound.refused_app_id = wallet, app_id
		local reply = err.reply(code, message, wait_s and { ["Retry-After"] = wait_s })
		return wallet and self.nonces:add_to(reply) or reply
	end
	inbound.wallet, inbound.app_id = caller.wallet, caller.app_id
	return self.nonces:add_to(serve_caller(self, inbound, caller, mono_ms))
end

--- The routes of this module, for kms.policy.route_table.
-- @return list of { name, method, path or prefix, operation, body (whether it has one), without_key, handler }
function App:routes()
	local list = { name = "list" } -- what GET /kms/data is without a key
	local function handler(inbound) return handle(self, inbound) end
	return {
		{ name = "derive", method = "POST", path = "/kms/derive", operation = "derive", body = true, handler = handler },
		{ name = "get", method = "GET", path = "/kms/data", operation = "get", without_key = list, handler = handler },
		{ name = "get", method = "GET", prefix = "/kms/data/", operation = "get", without_key = list, handler = handler },
		{ name = "put", method = "PUT", path = "/kms/data", operation = "put", body = true, handler = handler },
		{ name = "delete", method = "DELETE", path = "/kms/data", operation = "delete", body = true, handler = handler },
	}
end

--- @param deps service (native), tee, authenticator (kms.auth.authenticate), nonces (kms.auth.nonces), operations
-- (kms.routes.operations), mono_ms, wall_ms; config (REQUIRE_POP, REQUIRE_SESSION)
function M.new(deps)
	local self = needs.take(deps, "service tee authenticator nonces operations mono_ms wall_ms config")
	-- Each look into the configuration is a call.
	self.require_pop, self.require_session = self.config.REQUIRE_POP, self.config.REQUIRE_SESSION
	self.bound_wallets = lru.new(POP_WALLETS)
	return setmetatable(self, App)
end

return M
