--- GET /openapi.json: the routes in force as OpenAPI 3.1 (https://spec.openapis.org/oas/v3.1.0). The document is made
-- from the route table, so it lists a route if and only if the node has it.

local application = require("kms.routes.openapi.application")
local json = require("kms.base.json")
local native = require("kms_native")
local needs = require("kms.base.needs")
local operations = require("kms.routes.openapi.operations")
local public = require("kms.routes.openapi.public")
local shapes = require("kms.routes.openapi.shapes")

local M = {}

local OpenApi = {}
OpenApi.__index = OpenApi

local DESCRIPTION = [[
A key-management node for enclaves: key derivation and an encrypted key-value store for applications that prove who
they are on a blockchain. Bodies of applications and members are envelopes that only the two ends can read: the schema
of what is inside stands in `contentSchema` of `encrypted_data`, and in `x-plaintext` of messages of sessions.
docs/protocol.md of the project describes all of it.]]

local WORDS = {
	[400] = "The request is malformed.", [403] = "The caller is not proved, or may not do this.",
	[404] = "There is no such record.",
	[409] = "The number of the message was used before.", [410] = "There is no such session.",
	[413] = "A body or value is larger than a limit allows.",
	[429] = "Too many requests; Retry-After says how long to wait.",
	[500] = "A fault of the node.", [503] = "The node does not serve this now; another one may.",
}
local OF_EVERY_ROUTE = { 429, 500 }

local function refusal(status)
	local headers = nil
	if status == 429 then headers = { ["Retry-After"] = { schema = { type = "integer" }, description = "Seconds." } } end
	local content = { ["application/json"] = { schema = shapes.ref("Error") } }
	return { description = WORDS[status], headers = headers, content = content }
end

local function responses_of(operation)
	local headers
	for name, doc in pairs(operation.reply_headers or {}) do
		headers = headers or {}
		headers[name] = { description = doc, schema = { type = "string" } }
	end
	local responses = { ["200"] = { description = "Done.", content = operation.reply, headers = headers } }
	for _, statuses in ipairs({ OF_EVERY_ROUTE, operation.refusals or {} }) do
		for _, status in ipairs(statuses) do responses[tostring(status)] = refusal(status) end
	end
	return responses
end

-- The description of a route in force: { method, path or prefix, name, max_body }.
local function describe(route, by_name)
	local name = route.path == "/kms/data" and route.method == "GET" and "list" or route.name
	local operation = by_name[name] or operations.extra(name)
	return {
		operationId = (name:gsub("%W", "_")), tags = { operation.tag }, summary = operation.summary,
		parameters = operation.parameters, security = operation.security and operations.security(operation.security),
		requestBody = operation.request and {
			required = true, content = operation.request, description = ("At most %d bytes."):format(route.max_body),
		} or nil,
		responses = responses_of(operation),
	}
end

local function schemas_of(config)
	local schemas = application.schemas({ key = config.MAX_KEY_BYTES, value = config.MAX_KV_VALUE_SIZE_BYTES })
	for name, schema in pairs(public.schemas()) do schemas[name] = schema end
	schemas.Sync = { type = "object", description = "docs/protocol.md, section 9." }
	return schemas
end

--- Makes the document.
-- @param routes  those in force, each { name, method, path or prefix, max_body (bytes) }
-- @param config  MAX_KEY_BYTES, MAX_KV_VALUE_SIZE_BYTES
-- @return a table for kms.base.json
function M.document(routes, config)
	local paths, by_name = {}, operations.by_name()
	for _, route in ipairs(routes) do
		local path = route.path or route.prefix .. "{key}"
		paths[path] = paths[path] or {}
		paths[path][route.method:lower()] = describe(route, by_name)
	end
	return {
		openapi = "3.1.0",
		info = { title = "nova-kms", version = native.version, description = DESCRIPTION,
			license = { name = "Apache-2.0", identifier = "Apache-2.0" } },
		servers = { { url = "/" } }, paths = paths,
		components = { schemas = schemas_of(config), securitySchemes = operations.schemes() },
	}
end

--- The route of this module, for kms.policy.route_table.
function OpenApi:routes()
	local function handler()
		local routes = self.in_force()
		-- A reload makes a new list.
		if routes ~= self.made_of then
			local body = json.encode(M.document(routes, self.config))
			self.made_of, self.reply = routes, { status = 200, headers = { ["Content-Type"] = "application/json" }, body = body }
		end
		return self.reply
	end
	return { { name = "openapi", method = "GET", path = "/openapi.json", handler = handler } }
end

--- @param deps in_force: function() -> list of routes (kms.policy.route_table), the same one until they change; config
-- (MAX_KEY_BYTES, MAX_KV_VALUE_SIZE_BYTES)
function M.new(deps)
	return setmetatable(needs.take(deps, "in_force config"), OpenApi)
end

return M
