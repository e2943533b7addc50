--- Variables of the environment that look like misspelt settings: one line each, and none about a variable of others.

local misspelt = require("kms.config.misspelt")
local schema = require("kms.config.schema")
local suggest = require("kms.base.suggest")

local function line(name, meant)
	return ("%s is not a setting; did you mean %s? (ignored)"):format(name, meant)
end

describe("kms.config.misspelt", function()
	it("names the setting that a variable misspells", function()
		for name, meant in pairs({
			SESION_OPEN_PER_MINUTE = "SESSION_OPEN_PER_MINUTE", BIND_ADR = "BIND_ADDR", LOG_LEVLE = "LOG_LEVEL",
			MASTER_SECRET_HX = "MASTER_SECRET_HEX", NOVA_KMS_CONFG = "NOVA_KMS_CONFIG", bind_addr = "BIND_ADDR",
			HELIOS_RPC_URLS = "HELIOS_RPC_URL", NODE_URLS = "NODE_URL", NOVA_APP_REGISTY_ADRESS = "NOVA_APP_REGISTRY_ADDRESS",
		}) do assert.same({ line(name, meant) }, misspelt.notes({ name })) end
	end)

	it("says nothing of settings, nor of variables that programs, shells and platforms have", function()
		local names = { "NOVA_KMS_CONFIG", "NODE_URL" }
		for _, section in ipairs(schema.sections()) do
			for _, key in ipairs(section.keys) do names[#names + 1] = key.name end
		end
		for name in ([[
			PATH HOME USER LANG LANGUAGE LC_ALL PORT HOST HOSTNAME LOGNAME SHELL TERM PWD OLDPWD SHLVL TZ TMPDIR EDITOR PAGER
			MAIL DISPLAY COLORTERM NO_COLOR CI DEBUG _ http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY ALL_PROXY
			XDG_DATA_DIRS XDG_DATA_HOME XDG_STATE_HOME XDG_RUNTIME_DIR XDG_SESSION_ID XDG_SESSION_TYPE XDG_CONFIG_DIRS
			SSH_AUTH_SOCK SSH_CONNECTION SSH_CLIENT DBUS_SESSION_BUS_ADDRESS GPG_AGENT_INFO SUDO_USER SUDO_COMMAND
			NOTIFY_SOCKET LISTEN_FDS LISTEN_PID WATCHDOG_USEC WATCHDOG_PID INVOCATION_ID JOURNAL_STREAM SYSTEMD_EXEC_PID
			CREDENTIALS_DIRECTORY RUNTIME_DIRECTORY STATE_DIRECTORY LOGS_DIRECTORY CONFIGURATION_DIRECTORY MEMORY_PRESSURE_WATCH
			NODE_ENV NODE_PATH NODE_OPTIONS NODE_NAME NODE_IP NODE_PORT DATA_PATH DATA_HOME DATABASE_URL LOG_FILE LOG_PATH
			LOG_DIR RUST_LOG CHAIN_NAME CHAIN_URL CHAIN_RPC NETWORK_ID RPC_URL ETH_RPC_URL BIND_HOST BIND_PORT
			BIND_ADDRESS METRICS_PORT METRICS_HOST METRICS_PATH MAX_THREADS NUM_THREADS OMP_NUM_THREADS UV_THREADPOOL_SIZE
			MAX_CONNECTION_AGE MAX_MEMORY IDLE_TIMEOUT WRITE_TIMEOUT HEADER_TIMEOUT SHUTDOWN_TIMEOUT RATE_LIMIT CORS_ORIGIN_ALL
			APP_ID APP_NAME APP_ENV POD_NAME POD_NAMESPACE POD_IP KUBERNETES_SERVICE_HOST KUBERNETES_SERVICE_PORT
			KUBERNETES_PORT_443_TCP_ADDR AWS_REGION AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_DEFAULT_REGION
			ASAN_OPTIONS UBSAN_OPTIONS TSAN_OPTIONS LD_PRELOAD LD_LIBRARY_PATH LUA_PATH LUA_CPATH LUA_INIT MALLOC_ARENA_MAX
			KMS_KEY_ID KMS_BUILD SNAPSHOT_DIR SNAPSHOT_ID RECOVERY_MODE AUDIT_LOG AUDIT_FILE CONTROL_PORT SERVICE_NAME
			DEBIAN_FRONTEND PYTHONPATH VIRTUAL_ENV GOPATH CARGO_HOME JAVA_HOME MAKEFLAGS MAKELEVEL
		]]):gmatch("%S+") do names[#names + 1] = name end
		assert.same({}, misspelt.notes(names))
	end)

	it("believes one mistake from 8 bytes of both names on, two from 12 on, and compares 64", function()
		for _, case in ipairs({
			{ "DATA_DI", nil }, { "DATA_DIX", "DATA_DIR" }, { "DATA_DIXX", nil }, { "DATA_IDR", "DATA_DIR" },
			{ "THREADSS", nil }, { "CORS_ORIGINZ", "CORS_ORIGINS" }, { "CORS_ORIGIXZ", "CORS_ORIGINS" },
			{ "CORS_ORIGXXZ", nil }, { "POLICY_DIRXX", nil },
			{ ("A"):rep(63) .. "X", ("A"):rep(64) }, { ("A"):rep(64) .. "X", nil },
		}) do
			assert.equal(case[2], suggest.misspelt(case[1],
				{ "DATA_DIR", "THREADS", "CORS_ORIGINS", "POLICY_DIR", ("A"):rep(64) }), case[1])
		end
	end)

	it("names the nearest of several", function()
		local known = { "MAX_SESSIONS_A", "MAX_SESSIONS_B", "MAX_SESSIONS_C" }
		assert.equal("MAX_SESSIONS_B", suggest.misspelt("MAX_SESSIONS_BB", known))
	end)

	it("says it once, on one line", function()
		assert.same({ line("BIND_AD\\nDR", "BIND_ADDR") }, misspelt.notes({ "BIND_AD\nDR", "BIND_AD\nDR" }))
		assert.same({}, misspelt.notes({ "", ("X"):rep(100000) }))
	end)
end)
