--- The steps before a node starts: configuration, guarded memory, secrets from the environment. They open no
-- socket, so `config check` takes them too.

local config = require("kms.config")
local misspelt = require("kms.config.misspelt")

local M = {}

local SECRET_BYTES = 32

-- Moves the secrets of the environment into guarded memory.
-- Returns handles by name, whether each was set by name, list of errors.
local function take_secrets(native)
	local secrets, was_set, errors = {}, {}, {}
	for _, name in ipairs(config.secret_names()) do
		local secret, failure = native.take_env(name, SECRET_BYTES)
		if failure then
			errors[#errors + 1] = ("variable %s: the value is not valid: allowed is %d hexadecimal digits"):format(
				name, 2 * SECRET_BYTES)
		end
		secrets[name], was_set[name] = secret, secret ~= nil or failure ~= nil
	end
	return secrets, was_set, errors
end

-- Where the configuration stands, for kms.config.
local function sources(options)
	return { path = options.path, env = options.env, default_path = options.root .. "/config/node.lua" }
end

--- The format of the lines that say why a configuration is refused.
-- @param options of M.configure
function M.log_format(options)
	return config.log_format(sources(options))
end

--- Warnings: about variables that are most likely misspelt settings, and about valid values that are probably mistakes.
-- @param options of M.configure; @param cfg the configuration, or nil: it was refused
-- @return list of lines
function M.notes(options, cfg)
	local notes = misspelt.notes(options.native.env_names())
	local doubts = cfg and config.notes(cfg) or {}
	return table.move(doubts, 1, #doubts, #notes + 1, notes)
end

--- Loads the configuration, starts guarded memory and crypto unless they run, and takes the secrets.
-- @param options path (named by the user, or nil), env (function), root (folder of config/),
-- native (the native module)
-- @return configuration, secrets (handle by name) | nil, list of errors, one line each
function M.configure(options)
	local cfg, errors = config.load(sources(options))
	if not cfg then return nil, errors end
	local fit, needed = config.check_start(cfg)
	if not fit then return nil, needed end
	local native = options.native
	local ok, message = native.ready(), nil
	if not ok then ok, message = native.init(cfg.LOCKED_MEMORY_BYTES) end
	if not ok then
		return nil, { ("variable LOCKED_MEMORY_BYTES: value '%d': %s"):format(cfg.LOCKED_MEMORY_BYTES, message) }
	end
	local secrets, was_set
	secrets, was_set, errors = take_secrets(native)
	local refused
	ok, refused = config.check_secrets(cfg, function(name) return was_set[name] end)
	if not ok then table.move(refused, 1, #refused, #errors + 1, errors) end
	if #errors > 0 then return nil, errors end
	return cfg, secrets
end

return M
