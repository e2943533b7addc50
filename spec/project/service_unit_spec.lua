--- The systemd unit of examples/service. That its filter lets a node's calls through is tried in
-- e2e/image_spec.lua.

local files = require("spec.support.files")

local UNIT = "examples/service/nova-kms.service"

describe("nova-kms.service", function()
	local values = {}
	for line in assert(files.read(UNIT)):gmatch("[^\n]+") do
		local name, value = line:match("^(%w+)=(.*)$")
		assert(name or line:find("^[#%[]"), line)
		if name then values[name] = (values[name] and values[name] .. "\n" or "") .. value end
	end

	it("runs the node as a user of its own, without rights, in a closed place", function()
		for name, value in pairs({
			User = "nova-kms", NoNewPrivileges = "yes", CapabilityBoundingSet = "", ProtectSystem = "strict",
			ProtectHome = "yes", PrivateDevices = "yes", PrivateTmp = "yes", ProtectProc = "invisible", LimitCORE = "0",
			MemoryDenyWriteExecute = "yes", RestrictNamespaces = "yes", SystemCallArchitectures = "native",
			Type = "notify", ExecReload = "/bin/kill -HUP $MAINPID",
			StateDirectory = "nova-kms", StateDirectoryMode = "0700", UMask = "0077", Restart = "on-failure",
		}) do assert.equal(value, values[name], name) end
		assert.is_true(tonumber(values.TimeoutStopSec) > 10) -- SHUTDOWN_TIMEOUT_SECONDS
		assert.is_true(tonumber(values.WatchdogSec) >= 30) -- the loop never stands still for so long
		assert.is_true(tonumber(values.LimitMEMLOCK:match("^(%d+)M$")) >= 64)
		assert.equal("/usr/local/bin/nova-kms serve --config /etc/nova-kms/node.lua", values.ExecStart)
	end)

	it("is a unit that systemd takes, and calls well closed", function()
		if not os.execute("command -v systemd-analyze >/dev/null 2>&1") then return pending("systemd-analyze is not here") end
		local dir = files.temp_dir()
		finally(function() files.remove_dir(dir) end)
		local text = files.read(UNIT):gsub("/usr/local/bin/nova%-kms", "/bin/true")
		files.write(dir .. "/nova-kms.service", text)
		local function analyze(command)
			local pipe <close> = io.popen(("systemd-analyze %s %s/nova-kms.service 2>&1"):format(command, dir))
			return pipe:read("a")
		end
		assert.is_nil(analyze("verify --man=no"):find("nova-kms.service", 1, true), analyze("verify --man=no"))
		local exposure = analyze("security --offline=true --no-pager"):match("Overall exposure level for [^:]+: ([%d.]+)")
		if exposure then assert.is_true(tonumber(exposure) <= 2.0, exposure) end
	end)
end)
