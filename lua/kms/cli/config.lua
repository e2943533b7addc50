--- `nova-kms config check`: what is wrong with the configuration, or what is in force.
-- Opens no socket. Secrets are taken as `serve` takes them, so that a malformed one is found;
-- their values never reach Lua.

local args = require("kms.cli.args")
local config = require("kms.config")
local exit = require("kms.cli.exit")
local json = require("kms.json")

local SECRET_BYTES = 32

--- Takes every secret from the environment.
-- @return set of the names that were there, list of errors
local function take_secrets(native, cfg)
	local set, errors = {}, {}
	local ok, message = native.ready(), nil
	if not ok then ok, message = native.init(cfg.LOCKED_MEMORY_BYTES) end
	if not ok then
		return set, { ("variable LOCKED_MEMORY_BYTES: value '%d': %s"):format(cfg.LOCKED_MEMORY_BYTES, message) }
	end
	for _, name in ipairs(config.secret_names()) do
		local secret, failure = native.take_env(name, SECRET_BYTES)
		if failure then
			errors[#errors + 1] = ("variable %s: the value is not valid: allowed is %d hexadecimal digits"):format(
				name, 2 * SECRET_BYTES)
		end
		set[name] = secret ~= nil or failure ~= nil
	end
	return set, errors
end

--- Loads the configuration and checks the secrets.
-- @return configuration, nil; or nil, list of errors
local function check(path, io)
	local cfg, errors = config.load({ path = path, env = io.env, default_path = io.root .. "/config/node.lua" })
	if not cfg then return nil, errors end
	local set
	set, errors = take_secrets(io.native(), cfg)
	local ok, refused = config.check_secrets(cfg, function(name) return set[name] end)
	if not ok then table.move(refused, 1, #refused, #errors + 1, errors) end
	if #errors > 0 then return nil, errors end
	return cfg
end

local function print_json(io, cfg, errors)
	if not cfg then
		io.stdout:write(json.encode({ valid = false, errors = errors }), "\n")
		return
	end
	local values, origins = config.public(cfg), {}
	for name in pairs(values) do origins[name] = config.origin(cfg, name) end
	io.stdout:write(json.encode({
		valid = true, file = config.path(cfg), values = values, origins = origins, notes = json.list(config.notes(cfg)),
	}), "\n")
end

local function shown(value)
	return value == nil and "(not set)" or tostring(value)
end

local function print_text(io, cfg)
	local public = config.public(cfg)
	io.stdout:write("configuration is valid: ", config.path(cfg) or "no file, defaults and environment", "\n")
	for _, key in ipairs(config.describe()) do
		local origin = not key.secret and config.origin(cfg, key.name)
		if origin and origin ~= "default" then
			io.stdout:write(("  %s = %s (%s)"):format(key.name, shown(public[key.name]), origin), "\n")
		end
	end
	for _, note in ipairs(config.notes(cfg)) do io.stderr:write("note: ", note, "\n") end
end

local function run(parsed, io)
	local cfg, errors = check(parsed.config, io)
	if parsed.json then
		print_json(io, cfg, errors)
	elseif cfg then
		print_text(io, cfg)
	else
		for _, line in ipairs(errors) do io.stderr:write(line, "\n") end
	end
	return cfg and exit.OK or exit.CONFIG
end

return {
	name = "config",
	summary = "check the configuration",
	commands = {
		{
			name = "check",
			summary = "say what is wrong with the configuration, or what differs from the defaults",
			options = {
				{ name = "config", value = "FILE", help = "configuration file (default: NOVA_KMS_CONFIG, config/node.lua)" },
				args.JSON,
			},
			run = run,
		},
	},
}
