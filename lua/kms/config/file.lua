--- The configuration file: a data file (kms.base.data_file) whose table holds keys of the schema.

local data_file = require("kms.base.data_file")
local suggest = require("kms.base.suggest")
local text = require("kms.base.text")

local M = {}

--- The environment variable that names the file.
M.PATH_VARIABLE = "NOVA_KMS_CONFIG"

local DEFAULT_PATH = "config/node.lua"
local MAX_SHOWN = 80 -- bytes of an unknown name
local LIMITS = { max_bytes = 256 * 1024, max_instructions = 20000 }

-- Appends a line to `errors` for each name of the file that must not be there.
local function check_names(path, values, keys, errors)
	local known, names = {}, {}
	for name in pairs(keys) do known[#known + 1] = name end
	table.sort(known)
	for name in pairs(values) do names[#names + 1] = tostring(name) end
	table.sort(names)
	for _, name in ipairs(names) do
		local key = keys[name]
		if not key then
			local near = suggest.nearest(name, known)
			errors[#errors + 1] = ("%s: unknown key '%s'%s"):format(path, text.excerpt(name, MAX_SHOWN),
				near and (", the nearest known one is %s"):format(near) or "")
		elseif key.secret then
			errors[#errors + 1] = ("%s: %s is taken from the environment only, remove it here"):format(path, name)
		end
	end
end

--- Reads the file that is named by options.path, by NOVA_KMS_CONFIG, or by options.default_path. Only the
-- default may be missing.
-- @param options  as kms.config.load takes them
-- @param keys  entries of the schema by name
-- @param errors  list; a line is appended for each mistake
-- @return values by name (empty where there is no file, or none that can be read), path of the file or nil
function M.read(options, keys, errors)
	local named = options.path or options.env(M.PATH_VARIABLE)
	if named == "" then named = nil end
	local path = named or options.default_path or DEFAULT_PATH
	local values, message, code = data_file.read(path, LIMITS)
	if not values then
		if code ~= "ENOENT" or named then errors[#errors + 1] = message end
		return {}, nil
	end
	check_names(path, values, keys, errors)
	return values, path
end

return M
