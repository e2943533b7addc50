--- `nova-kms nodes`: the cluster's members as a node sees them.

local args = require("kms.cli.args")
local exit = require("kms.cli.exit")
local client = require("kms.client")
local session = require("kms.cli.session")

local HEAD = { "WALLET", "STATUS", "VERSION", "VERIFIED", "URL" }

local shown, table_of = session.shown, session.table_of

local function row(member)
	local instance = table_of(table_of(member).instance)
	return {
		shown(instance.tee_wallet), shown(table_of(instance.instance_status).name), shown(instance.version_id),
		shown(instance.zk_verified), shown(instance.instance_url),
	}
end

local function print_rows(world, rows)
	local widths = {}
	for _, cells in ipairs(rows) do
		for i, cell in ipairs(cells) do widths[i] = math.max(widths[i] or 0, #cell) end
	end
	for _, cells in ipairs(rows) do
		local parts = {}
		for i, cell in ipairs(cells) do parts[i] = i < #cells and cell .. (" "):rep(widths[i] - #cell) or cell end
		session.print(world, table.concat(parts, "  "))
	end
end

local function run(parsed, world)
	return session.wait(function()
		local page, message, code = client.page({ url = parsed.url, timeout_ms = parsed.timeout * 1000 }, "/nodes")
		if not page then return session.fail(world, message, code) end
		if parsed.json then
			session.print(world, message)
			return exit.OK
		end
		local rows = { HEAD }
		for _, member in ipairs(table_of(page.operators)) do rows[#rows + 1] = row(member) end
		print_rows(world, rows)
		return exit.OK
	end)
end

return {
	name = "nodes",
	summary = "list the members of the cluster",
	options = { session.URL, session.TIMEOUT, args.JSON },
	run = run,
}
