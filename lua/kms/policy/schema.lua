--- The shapes of the four policy files, for kms.policy.validate.

local M = {}

--- Version of the policy API. A file may say `api = 1`; with another number it is refused.
M.API = 1

--- The files without ".lua", in the order in which they are loaded, shown and hashed.
M.NAMES = { "access", "blacklist", "routes", "sync" }

--- Events of peers. true: only the peer itself can cause it, since its own envelope authenticates the event.
M.EVENTS = {
	bad_response_signature = false, bad_hmac = false, bad_envelope = false, invalid_url = false,
	private_address = false, replayed_nonce = false, unreachable = false,
	wrong_master_secret = true, poisoned_records = true, rejected_records = true, identity_mismatch = true,
}

--- The protocol's routes by the name of their handler; routes.lua cannot change method and path.
M.HANDLERS = {
	overview = { "GET", "/" }, openapi = { "GET", "/openapi.json" }, health = { "GET", "/health" },
	ready = { "GET", "/ready" }, attestation = { "GET", "/attestation" }, status = { "GET", "/status" },
	nonce = { "GET", "/nonce" }, nodes = { "GET", "/nodes" }, digest = { "GET", "/digest" },
	derive = { "POST", "/kms/derive" }, list = { "GET", "/kms/data" },
	get = { "GET", "/kms/data/<key>" }, put = { "PUT", "/kms/data" }, delete = { "DELETE", "/kms/data" },
	session = { "POST", "/session" }, session_message = { "POST", "/session/message" },
	sync = { "POST", "/sync" }, recovery = { "GET", "/recovery" }, recovery_shares = { "GET", "/recovery/shares" },
	recovery_check = { "POST", "/recovery/check" }, recovery_challenge = { "GET", "/recovery/challenge" },
	recovery_share = { "POST", "/recovery/share" },
}

local DAY_S = 86400

local function keys(map)
	local list = {}
	for key in pairs(map) do list[#list + 1] = key end
	table.sort(list)
	return list
end

local NAME = { type = "text", max = 64, pattern = "^[%w_.-]+$", what = "1 to 64 letters, digits and _ . -" }
local DESCRIPTION = { type = "text", max = 512 }
local FUNCTION = { type = "function" }
local COMMON = {
	api = {
		type = "integer", min = 0, max = 1 << 31,
		check = function(api)
			if api ~= M.API then return ("api %d is not what this node has: it has %d"):format(api, M.API) end
		end,
	},
	description = DESCRIPTION,
}

local function file(fields)
	for name, shape in pairs(COMMON) do fields[name] = shape end
	return fields
end

local function unique_names(list)
	local seen = {}
	for i, rule in ipairs(list) do
		local name = type(rule) == "table" and rule.name
		if name and seen[name] then return ("the name '%s' is there twice"):format(name), ("[%d].name"):format(i) end
		if name then seen[name] = true end
	end
end

local RULE = {
	type = "table",
	fields = {
		name = { type = NAME.type, max = NAME.max, pattern = NAME.pattern, what = NAME.what, required = true },
		description = DESCRIPTION, decide = { type = "function", required = true },
	},
}
local HOOK = {
	any = { FUNCTION, { type = "list", max = 256, of = RULE, check = unique_names } },
	allowed = "a function, or a list of rules { name, description, decide }",
}

local function check_ban_rule(rule)
	if rule.scope == "all" and M.EVENTS[rule.event] == false then
		return ("scope \"all\" is not possible for %s: anybody can cause it in a peer's name"):format(rule.event), ".scope"
	end
end

local function required(shape)
	local copy = { required = true }
	for key, value in pairs(shape) do copy[key] = value end
	return copy
end

local BAN_RULE = {
	type = "table", check = check_ban_rule,
	fields = {
		name = NAME, description = DESCRIPTION,
		event = { type = "text", values = keys(M.EVENTS), required = true },
		count = { type = "integer", min = 1, max = 1000, required = true },
		within = { type = "integer", min = 1, max = DAY_S, required = true },
		ban = { type = "integer", min = 1, max = 30 * DAY_S },
		scope = { type = "text", values = { "calls", "all" }, required = true },
		grow = { type = "boolean" },
	},
}

local RATE = {
	type = "integer", min = 1, max = 1000000000,
	values = { "RATE_LIMIT_PER_MINUTE", "NONCE_RATE_LIMIT_PER_MINUTE", "APP_RATE_LIMIT_PER_MINUTE" },
}
local BURST = { type = "integer", min = 1, max = 1000000000 }

local function check_route(route)
	local protocol = M.HANDLERS[route.handler]
	if not protocol then return nil end
	if route.method ~= protocol[1] then
		return ("the method of %s is %s"):format(route.handler, protocol[1]), ".method"
	end
	if route.path ~= protocol[2] then return ("the path of %s is %s"):format(route.handler, protocol[2]), ".path" end
end

local ROUTE = {
	type = "table", check = check_route,
	fields = {
		name = NAME, description = DESCRIPTION, enabled = { type = "boolean" },
		method = { type = "text", values = { "GET", "POST", "PUT", "DELETE" }, required = true },
		path = { type = "text", max = 256, pattern = "^/", what = "a path that begins with /", required = true },
		handler = { type = "text", values = keys(M.HANDLERS), required = true },
		rate = RATE, burst = BURST,
		max_body = {
			type = "integer", min = 1, max = 1 << 32, values = { "MAX_REQUEST_BODY_BYTES", "MAX_SYNC_PAYLOAD_BYTES" },
		},
	},
}

local function check_extra(route)
	local path = route.path
	if type(path) ~= "string" then return nil end
	if path:find("^/kms/") or path:find("^/kms$") then return "paths below /kms are the protocol's", ".path" end
	for handler, protocol in pairs(M.HANDLERS) do
		if path == protocol[2] then return ("%s is the path of %s"):format(path, handler), ".path" end
	end
end

local EXTRA = {
	type = "table", check = check_extra,
	fields = {
		name = required(NAME), description = DESCRIPTION, enabled = { type = "boolean" },
		path = {
			type = "text", max = 256, pattern = "^/[%w._~/-]*$", what = "a path of letters, digits and . _ ~ - /",
			required = true,
		},
		rate = RATE, burst = BURST, handler = required(FUNCTION),
	},
}

local function once(list, key)
	local seen = {}
	for i, route in ipairs(list) do
		local value = type(route) == "table" and route[key]
		if value and seen[value] then return ("%s is there twice"):format(tostring(value)), ("[%d].%s"):format(i, key) end
		if value then seen[value] = true end
	end
end

local function unique_extra(list)
	local wrong, where = once(list, "path")
	if wrong then return wrong, where end
	return unique_names(list)
end

--- Shapes by file (one of NAMES).
M.SHAPES = {
	access = { type = "table", fields = file({ request = HOOK, derive = HOOK, data = HOOK }) },
	blacklist = {
		type = "table",
		fields = file({
			rules = { type = "list", max = 256, of = BAN_RULE, check = unique_names },
			exempt = {
				type = "list", max = 4096,
				of = { type = "text", max = 42, pattern = "^0x" .. ("[0-9a-f]"):rep(40) .. "$",
					what = "a wallet: 0x and 40 lower-case digits" },
			},
			decide = FUNCTION,
		}),
	},
	routes = {
		type = "list", max = 64, of = ROUTE, check = function(list) return once(list, "handler") end,
		with = file({
			extra = { type = "list", max = 32, of = EXTRA, check = unique_extra },
		}),
	},
	sync = {
		type = "table",
		fields = file({
			interval = { type = "number", min = 1, max = 3600, values = { "DATA_SYNC_INTERVAL_SECONDS" } },
			max_records = { type = "integer", min = 1, max = 100000 },
			max_bytes = { type = "integer", min = 65536, max = 1 << 30, values = { "MAX_SYNC_PAYLOAD_BYTES" } },
			parallel = { type = "integer", min = 1, max = 256 },
			backoff = FUNCTION, peers = FUNCTION, accept = FUNCTION, release_secret = FUNCTION,
		}),
	},
}

return M
