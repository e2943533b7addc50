--- Short forms for writing JSON Schema (draft 2020-12, which OpenAPI 3.1 uses) as Lua tables.

local json = require("kms.base.json")

local M = {}

--- @param doc  text for people; more: further keywords, or nil
function M.text(doc, more)
	local schema = { type = "string", description = doc }
	for name, value in pairs(more or {}) do schema[name] = value end
	return schema
end

--- A whole number from min (nil: no bound) to max.
function M.int(doc, min, max)
	return { type = "integer", description = doc, minimum = min, maximum = max }
end

function M.bool(doc)
	return { type = "boolean", description = doc }
end

--- Lower-case hexadecimal digits of `bytes` bytes (nil: any number), after `prefix` ("0x" or nil).
function M.hex(doc, bytes, prefix)
	local count = bytes and ("{%d}"):format(2 * bytes) or "*"
	return M.text(doc, { pattern = "^" .. (prefix or "") .. "[0-9a-f]" .. count .. "$" })
end

--- Base64 (RFC 4648, section 4) with padding.
function M.base64(doc)
	return M.text(doc, { contentEncoding = "base64", pattern = "^[A-Za-z0-9+/]*={0,2}$" })
end

--- A member that may be null: schema of one type, which changes.
function M.nullable(schema)
	schema.type = json.list({ schema.type, "null" })
	return schema
end

function M.list(doc, items, most)
	return { type = "array", description = doc, items = items, maxItems = most }
end

function M.ref(name)
	return { ["$ref"] = "#/components/schemas/" .. name }
end

--- One of the schemas, and no other.
function M.one_of(...)
	return { oneOf = { ... } }
end

--- An object. Names in `required`, separated by spaces, must be there; others may be, and unless closed, others than
-- these, too.
-- @param properties  schema by name
-- @param options  doc; closed: no other members; example: a Lua table; all may be nil
function M.object(required, properties, options)
	local names = {}
	for name in required:gmatch("%S+") do names[#names + 1] = name end
	options = options or {}
	local closed = nil
	if options.closed then closed = false end
	return {
		type = "object", description = options.doc, properties = properties, required = names[1] and names,
		additionalProperties = closed, examples = options.example and { options.example },
	}
end

return M
