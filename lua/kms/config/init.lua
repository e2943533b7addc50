--- The configuration of a node: a file, overridden by environment variables of the same names. Keys are
-- declared in kms.config.schema. Values are booleans, integers, text in canonical form (application
-- ids too), lists of URLs, lists of ranges (kms.base.cidr), or nil where a key is not set.

local file = require("kms.config.file")
local rules = require("kms.config.rules")
local schema = require("kms.config.schema")
local text = require("kms.base.text")
local types = require("kms.config.types")

local M = {}

local MAX_SHOWN = 80 -- bytes of an invalid value in a message

-- By configuration: { origins, notes, path, values }.
local about = setmetatable({}, { __mode = "k" })

-- The entries of the schema by name, and as a list.
local function keys_by_name()
	local keys, list = {}, {}
	for _, section in ipairs(schema.sections()) do
		for _, key in ipairs(section.keys) do
			keys[key.name] = key
			list[#list + 1] = key
		end
	end
	return keys, list
end

-- The printable form of an invalid value.
local function shown(key, value)
	local kind = type(value)
	if kind ~= "string" then
		return (kind == "number" or kind == "boolean") and ("value '%s'"):format(value) or "a " .. kind
	end
	local mask = types[key.type].mask
	return ("value '%s'"):format(text.excerpt(mask and mask(value) or value, MAX_SHOWN))
end

-- Converts a raw value. Returns whether it is valid, the value (nil for empty text of an optional key).
local function convert(key, raw)
	local kind = types[key.type]
	if type(raw) == "string" then
		local trimmed = raw:match("^%s*(.-)%s*$")
		if trimmed == "" and key.optional then return true, nil end
		local value = kind.parse(trimmed, key)
		return value ~= nil, value
	end
	local value = kind.accept and kind.accept(raw, key)
	return value ~= nil, value
end

local function refusal(key, name, raw, where)
	return ("variable %s: %s is not valid: allowed is %s%s"):format(name, shown(key, raw),
		types[key.type].allowed(key), where and (" (set in %s)"):format(where) or "")
end

-- Returns the raw value of a key, its origin, and the name under which it was set.
local function find_raw(key, env, file_values)
	for _, name in ipairs({ key.name, key.alias }) do
		local raw = env(name)
		if raw and raw:find("%S") then return raw, "environment", name end
	end
	if file_values[key.name] ~= nil then return file_values[key.name], "file", key.name end
	return key.default, "default", key.name
end

local function readonly(value)
	if type(value) ~= "table" then return value end
	local copy = {}
	for index, element in pairs(value) do copy[index] = readonly(element) end
	return setmetatable({}, {
		__index = copy,
		__len = function() return #copy end,
		__newindex = function() error("configuration cannot be changed", 2) end,
		__metatable = false,
	})
end

-- A read-only table of the values.
local function freeze(values, keys)
	local frozen = {}
	for name, value in pairs(values) do frozen[name] = readonly(value) end
	return setmetatable({}, {
		__index = function(_, name)
			local key = keys[name]
			if not key then error(("no configuration key is named '%s'"):format(tostring(name)), 2) end
			if key.secret then error(("%s is never read here: C takes it"):format(name), 2) end
			return frozen[name]
		end,
		__newindex = function() error("configuration cannot be changed", 2) end,
		__pairs = function() return next, frozen, nil end,
		__metatable = false,
	})
end

--- Loads and checks the configuration.
-- @param options  env: function(name) -> text or nil, never asked for a secret (an empty variable counts as not
--   set); path: file that the user named, or nil: the one that NOVA_KMS_CONFIG names; default_path: file
--   that may be missing ("config/node.lua")
-- @return read-only table of the values (unknown names and writes throw) | nil, list of all errors, one line
--   each
function M.load(options)
	local keys, list = keys_by_name()
	local errors, values, origins = {}, {}, {}
	local file_values, path = file.read(options, keys, errors)
	for _, key in ipairs(list) do
		if not key.secret then
			local raw, origin, name = find_raw(key, options.env, file_values)
			local valid, value = true, nil
			if raw ~= nil then valid, value = convert(key, raw) end
			if not valid then
				errors[#errors + 1] = refusal(key, name, raw, origin == "file" and path)
			end
			values[key.name], origins[key.name] = value, origin
		end
	end
	-- Rules between keys need all values.
	if #errors == 0 then
		rules.derive(values, origins)
		rules.check(values, origins, errors)
	end
	if #errors > 0 then return nil, errors end
	local notes = rules.notes(values)
	rules.settle(values)
	local cfg = freeze(values, keys)
	about[cfg] = { origins = origins, notes = notes, path = path, values = values }
	return cfg
end

--- LOG_FORMAT, for the lines about a configuration that is refused: the format stands though other values are wrong.
-- @param options as M.load takes them
-- @return "text", "json" or "auto", which stands for a value that is not valid or cannot be read
function M.log_format(options)
	local keys = keys_by_name()
	local key = keys.LOG_FORMAT
	local valid, value = convert(key, (find_raw(key, options.env, (file.read(options, keys, {})))))
	return valid and value or "auto"
end

local function of(cfg)
	return about[cfg] or error("not a configuration of kms.config", 3)
end

--- Checks the rules about secrets, after C has taken them from the environment.
-- @param is_set  function(name) -> whether the environment had that secret
-- @return true | nil, list of errors, one line each
function M.check_secrets(cfg, is_set)
	local errors = {}
	rules.check_secrets(of(cfg).values, is_set, errors)
	if #errors > 0 then return nil, errors end
	return true
end

--- The origin of a value: "default", "file" or "environment".
function M.origin(cfg, name)
	return of(cfg).origins[name] or error(("no configuration key is named '%s'"):format(tostring(name)), 2)
end

--- Warnings about valid values: list of lines.
function M.notes(cfg)
	return of(cfg).notes
end

--- The path of the file that was read, or nil.
function M.path(cfg)
	return of(cfg).path
end

--- Whether the environment names a configuration file or sets a key. Secrets are not asked for.
-- @param env  function(name) -> string or nil
function M.is_in_environment(env)
	local function is_set(name) return (env(name) or ""):find("%S") ~= nil end
	if is_set(file.PATH_VARIABLE) then return true end
	for _, key in ipairs(select(2, keys_by_name())) do
		if not key.secret and (is_set(key.name) or key.alias and is_set(key.alias)) then return true end
	end
	return false
end

--- Checks what only a node needs; other commands work without it.
-- @return true; or nil, list of errors, one line each
function M.check_start(cfg)
	local errors = {}
	rules.check_start(of(cfg).values, errors)
	if #errors > 0 then return nil, errors end
	return true
end

--- The names of the secrets, which C takes from the environment at the start.
function M.secret_names()
	local names = {}
	for _, key in ipairs(select(2, keys_by_name())) do
		if key.secret then names[#names + 1] = key.name end
	end
	return names
end

--- Describes every key, in order.
-- @return list of { name, section, type, allowed, doc, default (nil: not set), secret, alias }
function M.describe()
	local list = {}
	for _, section in ipairs(schema.sections()) do
		for _, key in ipairs(section.keys) do
			list[#list + 1] = {
				name = key.name, section = section.title, type = key.type, doc = key.doc,
				allowed = types[key.type].allowed(key), default = key.default,
				secret = key.secret or false, alias = key.alias,
			}
		end
	end
	return list
end

--- A printable copy: lists and addresses as text, URLs masked, without secrets and keys that are not set.
function M.public(cfg)
	local copy = {}
	local keys = keys_by_name()
	for name, value in pairs(of(cfg).values) do
		local show = types[keys[name].type].show
		copy[name] = show and show(value) or value
	end
	return copy
end

return M
