--- `nova-kms config check`: prints what `serve` would refuse, or the values in force: the configuration, the
-- policies, the allow list, the custodians and the data folder. It opens no socket and makes no folder. C takes
-- secrets from the environment as for `serve`, so that malformed ones are found; they never reach Lua.

local uv = require("luv")
local args = require("kms.cli.args")
local boot = require("kms.node.boot")
local config = require("kms.config")
local custodians = require("kms.recovery.custodians")
local evidence = require("kms.sync.evidence")
local exit = require("kms.cli.exit")
local files = require("kms.base.files")
local json = require("kms.base.json")
local policy = require("kms.policy")

local function print_json(world, cfg, errors, notes)
	json.list(notes)
	if not cfg then
		world.stdout:write(json.encode({ valid = false, errors = errors, notes = notes }), "\n")
		return
	end
	local values, origins = config.public(cfg), {}
	for name in pairs(values) do origins[name] = config.origin(cfg, name) end
	world.stdout:write(json.encode({
		valid = true, file = config.path(cfg), values = values, origins = origins, notes = notes,
	}), "\n")
end

local function shown(value)
	return value == nil and "(not set)" or tostring(value)
end

local function print_text(world, cfg)
	local public = config.public(cfg)
	world.stdout:write("configuration is valid: ", config.path(cfg) or "no file, defaults and environment", "\n")
	for _, key in ipairs(config.describe()) do
		local origin = not key.secret and config.origin(cfg, key.name)
		if origin and origin ~= "default" then
			world.stdout:write(("  %s = %s (%s)"):format(key.name, shown(public[key.name]), origin), "\n")
		end
	end
end

-- Appends what a node would refuse of the files and folders that the configuration names.
local function check_files(cfg, world, errors)
	local native = world.native()
	local opened, mistakes = policy.open({
		native = native, dir = cfg.POLICY_DIR, shipped = world.root .. "/config/policy", wall_ms = native.wall_ms,
		mono_ms = native.mono_ms,
	})
	if not opened then table.move(mistakes, 1, #mistakes, #errors + 1, errors) end
	local ok, message = evidence.load_list(cfg.REQUIRE_PEER_ATTESTATION)
	if not ok then errors[#errors + 1] = message end
	ok, message = custodians.load(cfg.RECOVERY)
	if ok == nil then errors[#errors + 1] = message end
	if not uv.fs_stat(cfg.DATA_DIR) then return end
	ok, message = files.check_dir(cfg.DATA_DIR)
	if not ok then errors[#errors + 1] = "variable DATA_DIR: " .. message end
end

local function run(parsed, world)
	local options = { path = parsed.config, env = world.env, root = world.root, native = world.native() }
	local cfg, errors = boot.configure(options)
	if cfg then
		errors = {}
		check_files(cfg, world, errors)
		if #errors > 0 then cfg = nil end
	end
	local notes = boot.notes(options, cfg)
	if parsed.json then
		print_json(world, cfg, errors, notes)
	else
		if cfg then print_text(world, cfg) end
		for _, note in ipairs(notes) do world.stderr:write("note: ", note, "\n") end
		for _, line in ipairs(errors) do world.stderr:write(line, "\n") end
	end
	return cfg and exit.OK or exit.CONFIG
end

return {
	name = "config",
	summary = "check the configuration",
	commands = {
		{
			name = "check",
			summary = "list mistakes of the configuration, or the values that differ from the defaults",
			options = {
				{ name = "config", value = "FILE", help = "configuration file (default: NOVA_KMS_CONFIG, config/node.lua)" },
				args.JSON,
			},
			run = run,
		},
	},
}
