--- `nova-kms cluster check`: says whether nodes hold the same records, from outside.

local args = require("kms.cli.args")
local cjson = require("cjson")
local digests = require("kms.client.digests")
local exit = require("kms.cli.exit")
local session = require("kms.cli.session")

local function show(parsed, world, groups)
	local same = #groups == 1
	session.print(world, parsed.json and cjson.encode({ same = same, groups = groups }) or digests.line(groups))
	return same and exit.OK or exit.FAILED
end

local function check(parsed, world)
	if #(parsed.url or {}) < 2 then return session.fail(world, "give --url at least twice", "ERR_USAGE") end
	return session.wait(function()
		local groups, message, code = digests.compare({
			urls = parsed.url, timeout_ms = parsed.timeout * 1000, wait_s = parsed.wait,
		})
		if not groups then return session.fail(world, message, code) end
		return show(parsed, world, groups)
	end)
end

return {
	name = "cluster",
	summary = "compare what the nodes of a cluster hold",
	commands = {
		{
			name = "check", summary = "say whether nodes hold the same records (exit code 0) or not (1)",
			options = {
				{ name = "url", value = "URL", type = "base_url", many = true, help = "base URL of a node; to be given for each" },
				{
					name = "wait", value = "SECONDS", help = "how long to wait for changes that are under way", type = "int",
					min = 0, max = 3600, default = 10,
				},
				session.TIMEOUT, args.JSON,
			},
			run = check,
		},
	},
}
