--- What can be seen of the policies in force: values, status, rules, history. These are methods of kms.policy's
-- object.

local schema = require("kms.policy.schema")

local Inspect = {}

--- A member of a file: the operator's, or the shipped one when the operator's file has none.
-- @param name of the file ("access")
-- @param key of the member ("derive")
-- @return value, path of the file, line (or nil)
function Inspect:value(name, key)
	local chosen = self.set.data[name][key] ~= nil and self.set or self.shipped
	return chosen.data[name][key], chosen.sources[name].path, chosen:line(name, "." .. key)
end

-- A number; a policy may name a key of the configuration instead.
local function resolve(value, config)
	if type(value) ~= "string" then return value end
	return config[value]
end

--- Settings of sync.lua, with the values of the configuration that they name.
-- @param config DATA_SYNC_INTERVAL_SECONDS, MAX_SYNC_PAYLOAD_BYTES
-- @return { interval (seconds), max_records, max_bytes, parallel }
function Inspect:sync_settings(config)
	local settings = {}
	for _, key in ipairs({ "interval", "max_records", "max_bytes", "parallel" }) do
		settings[key] = resolve(self:value("sync", key), config)
	end
	settings.max_bytes = math.min(settings.max_bytes, config.MAX_SYNC_PAYLOAD_BYTES)
	return settings
end

--- Rules of blacklist.lua.
-- @return list of { name, event, count, within (seconds), ban (seconds, or nil), scope, grow }, set of exempt wallets
function Inspect:ban_rules()
	local exempt = {}
	for _, wallet in ipairs(self:value("blacklist", "exempt") or {}) do exempt[wallet] = true end
	return self:value("blacklist", "rules") or {}, exempt
end

--- Counts a refusal, failure or letting through (kms.policy.hit_counts).
function Inspect:count_hit(path, number, outcome)
	self.hit_counts:count(path, number, outcome, self.mono_ms())
end

--- Counts a ban by a rule of blacklist.lua, unless the rule is suspended.
-- @param number of the rule in ban_rules()
-- @return whether the peer is to be banned
function Inspect:count_ban(number)
	local path = "blacklist.rules." .. number
	local suspended = self.suspensions:has_whole(path)
	self:count_hit(path, nil, suspended and "let_through" or "refused")
	return not suspended
end

-- The limit of a body in bytes: never more than the configuration allows for that handler.
local function body_limit(route, config)
	local limit = resolve(route.max_body, config)
	local most = route.handler == "sync" and config.MAX_SYNC_PAYLOAD_BYTES or config.MAX_REQUEST_BODY_BYTES
	return limit and math.min(limit, most)
end

-- A rate a minute. A key of the configuration with the value 0 means no limit.
local function rate_of(route, config)
	local rate = resolve(route.rate, config)
	return rate ~= 0 and rate or nil
end

--- Routes that routes.lua lists, with the values of the configuration that they name.
-- @param config the configuration
-- @return by handler { rate (a minute), burst, max_body (bytes) }; nil means that only the node's own limits apply
function Inspect:routes(config)
	local routes = {}
	-- A file that lists no routes only adds extra ones to the shipped list.
	local listed = #self.set.data.routes > 0 and self.set or self.shipped
	for _, route in ipairs(listed.data.routes) do
		if route.enabled ~= false then
			local rate = rate_of(route, config)
			routes[route.handler] = { rate = rate, burst = route.burst or rate, max_body = body_limit(route, config) }
		end
	end
	return routes
end

--- Extra routes of routes.lua.
-- @param config the configuration
-- @return list of { number, name, path, rate (a minute, or nil), burst }
function Inspect:extra_routes(config)
	local list = {}
	for i, route in ipairs(self.set.data.routes.extra or {}) do
		if route.enabled ~= false then
			local rate = rate_of(route, config)
			list[#list + 1] = {
				number = i, name = route.name, path = route.path, rate = rate, burst = route.burst or rate,
			}
		end
	end
	return list
end

--- SHA-256 of the policies in force, suspensions included (kms.policy.suspensions), as 64 lower-case digits.
function Inspect:hash()
	return self.suspensions:hash()
end

-- Suspensions with their times on the clocks that people read.
local function shown(self, list)
	local now, wall, shown_list = self.mono_ms(), self.wall_ms(), {}
	for i, one in ipairs(list) do
		shown_list[i] = {
			rule = one.rule.full_name, since_ms = wall - (now - one.since_ms), until_ms = wall + one.until_ms - now,
			left_s = not one.ended_ms and (one.until_ms - now + 999) // 1000 or nil, why = one.why, uid = one.uid,
			ended_ms = one.ended_ms and wall - (now - one.ended_ms), cause = one.cause,
			ended_uid = one.ended_uid,
		}
	end
	return shown_list
end

--- Suspensions in force, and those that ended lately; both the oldest first.
-- @return list of { rule (full name), since_ms, until_ms (Unix ms), left_s (seconds), why, uid (each or nil) }, list of
--   the same with ended_ms (Unix ms), cause and ended_uid (or nil) instead of left_s
function Inspect:suspended()
	local list, ended = self.suspensions:state()
	return shown(self, list), shown(self, ended)
end

--- State of the policies, for /status.
-- @return { hash, set_hash (of the files alone), api, since_ms (Unix ms), by ("start", "signal", "command" or "file"),
--   failures (calls of hooks that failed), last_error: { at_ms, by, mistakes (how many), first (line) } of the last
--   reload when it failed, or nil }
function Inspect:status()
	local failed = self.last_error
	return {
		hash = self:hash(), set_hash = self.set.hash, api = schema.API, since_ms = self.since_ms, by = self.by,
		failures = self.calls.failures, last_error = failed and {
			at_ms = failed.at_ms, by = failed.by, mistakes = #failed.lines, first = failed.lines[1],
		} or nil,
	}
end

--- Where the last call of a hook returned; only when opened with trace.
-- @return file, line | nil
function Inspect:decided()
	return self.calls:decided()
end

--- All rules with their descriptions, places and counts (kms.policy.hit_counts).
function Inspect:list_rules()
	return self.hit_counts:list()
end

--- The latest loads (kms.policy.changes), the newest last.
function Inspect:history()
	return self.changes
end

return Inspect
