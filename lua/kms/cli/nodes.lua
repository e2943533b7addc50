--- `nova-kms nodes`: lists the members of the cluster, as a node sees them.

local args = require("kms.cli.args")
local exit = require("kms.cli.exit")
local client = require("kms.client")
local session = require("kms.cli.session")
local table_lines = require("kms.cli.table").lines

local HEAD = { "WALLET", "STATUS", "VERSION", "VERIFIED", "URL" }

local shown, table_of = session.shown, session.table_of

local function row(member)
	local instance = table_of(table_of(member).instance)
	return {
		shown(instance.tee_wallet), shown(table_of(instance.instance_status).name), shown(instance.version_id),
		shown(instance.zk_verified), shown(instance.instance_url),
	}
end

local function run(parsed, world)
	local url, failed = session.url(parsed, world)
	if not url then return failed end
	return session.wait(function()
		local response, message, code = client.page({ url = url, timeout_ms = parsed.timeout * 1000 }, "/nodes")
		if not response then return session.fail(world, message, code) end
		if parsed.json then
			session.print_json(world, response.body)
			return exit.OK
		end
		local rows = { HEAD }
		for _, member in ipairs(table_of(response.value.operators)) do rows[#rows + 1] = row(member) end
		for _, line in ipairs(table_lines(rows)) do session.print(world, line) end
		return exit.OK
	end)
end

return {
	name = "nodes",
	summary = "list the members of the cluster",
	options = { session.URL, session.TIMEOUT, args.JSON },
	run = run,
}
