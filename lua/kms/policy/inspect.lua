--- What can be seen of the policies in force: values with the configuration's put in, status, rules,
-- history. Methods of kms.policy's object.

local schema = require("kms.policy.schema")

local View = {}

--- A member of a file, the shipped one where the operator's file has none; and which it is.
-- @return value, path of the file, line or nil
function View:value(name, key)
	local chosen = self.set.data[name][key] ~= nil and self.set or self.shipped
	return chosen.data[name][key], chosen.sources[name].path, chosen:line(name, "." .. key)
end

-- A number, or the configuration's where the policy names a key of it.
local function resolve(value, config)
	if type(value) ~= "string" then return value end
	return config[value]
end

--- sync.lua: { interval, max_records, max_bytes, parallel } with the configuration's values put in.
function View:sync_settings(config)
	local settings = {}
	for _, key in ipairs({ "interval", "max_records", "max_bytes", "parallel" }) do
		settings[key] = resolve(self:value("sync", key), config)
	end
	settings.max_bytes = math.min(settings.max_bytes, config.MAX_SYNC_PAYLOAD_BYTES)
	return settings
end

--- blacklist.lua: list of rules { name, event, count, within, ban (or nil), scope, grow }, and the
-- exempt wallets as a set.
function View:ban_rules()
	local exempt = {}
	for _, wallet in ipairs(self:value("blacklist", "exempt") or {}) do exempt[wallet] = true end
	return self:value("blacklist", "rules") or {}, exempt
end

--- Counts a ban that a rule of blacklist.lua led to, for its hit counter.
function View:count_ban(number)
	self.rules:count("blacklist.rules." .. number, nil, "refused")
end

-- Bytes of a body: never more than the configuration allows for that handler.
local function body_limit(route, config)
	local limit = resolve(route.max_body, config)
	local most = route.handler == "sync" and config.MAX_SYNC_PAYLOAD_BYTES or config.MAX_REQUEST_BODY_BYTES
	return limit and math.min(limit, most)
end

--- routes.lua: the routes that exist, by handler: { rate, burst, max_body } with the
-- configuration's values put in; a limit is nil where only the node's own apply.
function View:routes(config)
	local routes = {}
	-- A file that lists none has only extra routes to add.
	local listed = #self.set.data.routes > 0 and self.set or self.shipped
	for _, route in ipairs(listed.data.routes) do
		if route.enabled ~= false then
			local rate = resolve(route.rate, config)
			if rate == 0 then rate = nil end -- the configuration's word for no limit
			routes[route.handler] = { rate = rate, burst = route.burst or rate, max_body = body_limit(route, config) }
		end
	end
	return routes
end

--- routes.lua: list of the operator's own routes { number, name, path, rate, burst }.
function View:extra_routes(config)
	local list = {}
	for i, route in ipairs(self.set.data.routes.extra or {}) do
		if route.enabled ~= false then
			local rate = resolve(route.rate, config)
			if rate == 0 then rate = nil end
			list[#list + 1] = {
				number = i, name = route.name, path = route.path, rate = rate, burst = route.burst or rate,
			}
		end
	end
	return list
end

--- SHA-256 of the set in force, 64 lower-case digits: for the attestation.
function View:hash()
	return self.set.hash
end

--- For /status and the attestation: hash, API number, since when, by what, what went wrong last.
function View:status()
	local wrong = self.last_error
	return {
		hash = self.set.hash, api = schema.API, since_ms = self.since_ms, by = self.by, failures = self.failures,
		last_error = wrong and {
			at_ms = wrong.at_ms, by = wrong.by, mistakes = #wrong.errors, first = wrong.errors[1],
		} or nil,
	}
end

--- File and line of the last return of the last call: with trace only.
function View:decided()
	return self.asked.vm:decided()
end

--- Every rule with its description, place and counts (kms.policy.hit_counts).
function View:list_rules()
	return self.rules:list()
end

--- Every change of the set, and every attempt that failed, since start; the newest last.
function View:history()
	return self.changes
end

return View
