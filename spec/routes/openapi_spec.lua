-- The document of GET /openapi.json: made from the routes in force, complete, its references defined.

local cjson = require("cjson")
local json = require("kms.base.json")
local openapi = require("kms.routes.openapi")
local operations = require("kms.routes.openapi.operations")
local schema = require("kms.policy.schema")

local CONFIG = { MAX_KEY_BYTES = 4096, MAX_KV_VALUE_SIZE_BYTES = 1 << 20 }

-- Every route of the protocol, as kms.policy.route_table lists them.
local function all_routes()
	local routes = {}
	for name, method_path in pairs(schema.HANDLERS) do
		local path, prefix = method_path[2], nil
		if path == "/kms/data/<key>" then path, prefix = nil, "/kms/data/" end
		routes[#routes + 1] = { name = name == "list" and "get" or name, method = method_path[1], path = path,
			prefix = prefix, max_body = 1000 }
	end
	return routes
end

local function document(routes, config)
	return cjson.decode(json.encode(openapi.document(routes or all_routes(), config or CONFIG)))
end

-- Calls visit(name, value) for each member of a table and of those below.
local function walk(value, visit)
	if type(value) ~= "table" then return end
	for name, below in pairs(value) do
		visit(name, below)
		walk(below, visit)
	end
end

describe("kms.routes.openapi", function()
	it("describes every route of the protocol, and describes none that is not there", function()
		local by_name = operations.by_name()
		for name in pairs(schema.HANDLERS) do assert.is_table(by_name[name], name) end
		for name in pairs(by_name) do assert.is_table(schema.HANDLERS[name], name) end
		local paths, count = document().paths, 0
		for _, method_path in pairs(schema.HANDLERS) do
			local path = method_path[2]:gsub("<key>", "{key}")
			assert.is_table(paths[path][method_path[1]:lower()], method_path[2])
			count = count + 1
		end
		for _, methods in pairs(paths) do
			for _ in pairs(methods) do count = count - 1 end
		end
		assert.equal(0, count)
	end)

	it("has one operationId for each, and no reference that leads nowhere", function()
		local made, seen, references = document(), {}, 0
		for _, methods in pairs(made.paths) do
			for _, operation in pairs(methods) do
				assert.is_nil(seen[operation.operationId], operation.operationId)
				seen[operation.operationId] = true
				for _, requirement in ipairs(operation.security or {}) do
					for name in pairs(requirement) do assert.is_table(made.components.securitySchemes[name], name) end
				end
			end
		end
		walk(made, function(name, value)
			if name ~= "$ref" then return end
			references = references + 1
			assert.is_table(made.components.schemas[value:match("^#/components/schemas/(%w+)$")], value)
		end)
		assert.is_true(references > 50)
	end)

	it("has limits of the configuration, and an operator's own route", function()
		local made = document({
			{ name = "put", method = "PUT", path = "/kms/data", max_body = 77 },
			{ name = "extra/about", method = "GET", path = "/about", max_body = 1 },
		}, { MAX_KEY_BYTES = 9, MAX_KV_VALUE_SIZE_BYTES = 4 })
		local put = made.components.schemas.PutRequest.properties
		assert.equal(9, put.key.maxLength)
		assert.equal(8, put.value.maxLength) -- 4 bytes in base64
		assert.equal("At most 77 bytes.", made.paths["/kms/data"].put.requestBody.description)
		assert.equal("The operator's route about", made.paths["/about"].get.summary)
		assert.is_nil(made.paths["/status"])
	end)
end)
