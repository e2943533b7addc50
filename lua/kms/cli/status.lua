--- `nova-kms status`: prints a node's own description.

local args = require("kms.cli.args")
local exit = require("kms.cli.exit")
local client = require("kms.client")
local control_client = require("kms.cli.control_client")
local session = require("kms.cli.session")

local count, shown, table_of = session.count, session.shown, session.table_of

local function service(node)
	if node.service_available == true then return "available" end
	return "unavailable: " .. shown(node.service_unavailable_reason)
end

-- For whom the node waits before it serves, or before its store is complete. Returns a list of lines.
local function waiting(node)
	local members, left_s = table_of(node.store_waits_for), node.store_alone_in_s
	local lines = {}
	for _, member in ipairs(members) do
		local state = table_of(member)
		lines[#lines + 1] = ("%-10s %s, which %s"):format("waits for", shown(state.wallet), shown(state.state))
	end
	if #lines == 0 then return lines end
	if node.store_alone == true then
		lines[#lines + 1] = ("%-10s it serves without what only they hold, until they are back"):format("alone")
		return lines
	end
	lines[#lines + 1] = ("%-10s %s; SERVE_ALONE=true: at once, without what only they hold"):format("alone",
		type(left_s) == "number" and ("it serves without them in %s s"):format(shown(left_s))
			or "it never serves without them, since one answers")
	return lines
end

local function secret(node)
	local master = table_of(node.master_secret)
	if type(master.synced_from) ~= "string" then return shown(master.state) end
	return ("%s from %s"):format(shown(master.state), shown(master.synced_from))
end

-- The last reload of the policies, where it failed: the old ones stay in force.
local function reload_line(page)
	local failed = table_of(table_of(page.policy).last_error)
	if not failed.first then return nil end
	return ("%-10s failed, the policies before it stay in force (%s): %s"):format("reload",
		count(failed.mistakes, "mistake"), shown(failed.first))
end

local function print_page(world, page)
	local node, cluster, store = table_of(page.node), table_of(page.cluster), table_of(page.data_store)
	local function line(name, format, ...)
		session.print(world, ("%-10s "):format(name) .. format:format(...))
	end
	line("node", "%s", shown(node.node_url))
	line("wallet", "%s", shown(node.tee_wallet))
	line("pubkey", "%s", shown(node.tee_pubkey))
	line("service", "%s", service(node))
	for _, text in ipairs(waiting(node)) do session.print(world, text) end
	line("secret", "%s", secret(node))
	line("cluster", "application %s, %s", shown(cluster.kms_app_id), count(cluster.total_instances, "instance"))
	line("store", "%s in %s, %s", count(store.total_keys, "key"), count(store.namespaces, "namespace"),
		count(store.total_bytes, "byte"))
	local failed = reload_line(page)
	if failed then session.print(world, failed) end
	for _, one in ipairs(table_of(table_of(page.policy).suspended)) do
		line("suspended", "rule %s, for %s s more", shown(table_of(one).rule), shown(table_of(one).left_s))
	end
end

-- The audit log, where there is one. Its end is to be compared with `nova-kms audit verify`.
local function audit_lines(page)
	local audit, details = table_of(page.audit), table_of(table_of(page.control).audit)
	if audit.state == "off" then return {} end
	local lines = {
		("%-10s %s, %s lost, %s waiting, %s unsigned"):format("audit", shown(audit.state),
			count(audit.lost_lines, "line"), count(audit.waiting_bytes, "byte"), count(audit.unsigned_lines, "line")),
		("%-10s number %s, hash %s"):format("last line", shown(details.sequence), shown(details.hash)),
	}
	if details.failure then lines[3] = ("%-10s %s"):format("because", shown(details.failure)) end
	return lines
end

-- What only the control socket shows.
local function control_lines(page)
	local control, policy = table_of(page.control), table_of(page.policy)
	local lines = {
		("%-10s %s, log level %s%s"):format("version", shown(control.version), shown(control.log_level),
			control.draining == true and ", draining" or ""),
		("%-10s %s, %s running, %s caught"):format("load", count(control.connections, "connection"),
			count(control.requests_running, "request"), count(control.errors_caught, "error")),
		("%-10s %s, in force by %s, %s failed"):format("policy", shown(policy.hash), shown(policy.by),
			count(policy.failures, "hook")),
	}
	local audit = audit_lines(page)
	return table.move(audit, 1, #audit, #lines + 1, lines)
end

local function run(parsed, world)
	if parsed.socket then
		return control_client.run(parsed, world, "GET", "/status", function(page)
			print_page(world, page)
			return control_lines(page)
		end)
	end
	local url, failed = session.url(parsed, world)
	if not url then return failed end
	return session.wait(function()
		local response, message, code = client.page({ url = url, timeout_ms = parsed.timeout * 1000 }, "/status")
		if not response then return session.fail(world, message, code) end
		if parsed.json then session.print_json(world, response.body) else print_page(world, response.value) end
		return exit.OK
	end)
end

return {
	name = "status",
	summary = "show the state of a node",
	options = { session.URL, control_client.SOCKET_FOR_STATUS, session.TIMEOUT, args.JSON },
	run = run,
}
