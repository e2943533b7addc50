--- Configurations in specs: from files, from environment variables, and their errors.

local config = require("kms.config")

local M = {}

local paths = {} -- files that the running test wrote

local function env_of(variables)
	return function(name) return variables[name] end
end
M.env_of = env_of

--- Loads a configuration that must be refused.
-- @return the errors as one text, and as a list
function M.errors_of(options)
	local cfg, errors = config.load(options)
	assert(cfg == nil, "the configuration is valid")
	for _, line in ipairs(errors) do assert(not line:find("%c"), "not one line: " .. line) end
	return table.concat(errors, "\n"), errors
end

--- Writes a file that M.clean() removes.
-- @return path
function M.write(text)
	local path = M.own(os.tmpname())
	local file <close> = assert(io.open(path, "wb"))
	assert(file:write(text))
	return path
end

--- Has M.clean() remove a path. Returns it.
function M.own(path)
	paths[#paths + 1] = path
	return path
end

--- Removes the files of the test.
function M.clean()
	for i = #paths, 1, -1 do os.remove(table.remove(paths, i)) end
end

--- Options of config.load: a file with this text, and variables.
function M.with_file(text, variables)
	return { path = M.write(text), env = env_of(variables or {}) }
end

--- Options of config.load: variables alone.
function M.with_env(variables)
	return { default_path = "/nonexistent/node.lua", env = env_of(variables) }
end

--- The configuration of these variables, which must be valid.
function M.load_env(variables)
	local cfg, errors = config.load(M.with_env(variables))
	return assert(cfg, errors and table.concat(errors, "\n"))
end

return M
