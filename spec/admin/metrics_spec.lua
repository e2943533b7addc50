-- kms.admin.metrics: instruments, bounds of labels, and the text that a strict reader takes.

require("spec.support.native")

local loop = require("kms.base.loop")
local metrics = require("kms.admin.metrics")
local metrics_node = require("kms.admin.metrics.node")
local metrics_policy = require("kms.admin.metrics.policy")
local metrics_requests = require("kms.admin.metrics.requests")
local prometheus = require("spec.support.prometheus")

describe("kms.admin.metrics", function()
	local set

	before_each(function() set = metrics.new() end)

	local function read()
		return prometheus.parse(set:text(loop.try))
	end

	it("counts", function()
		local plain = set:counter("a_total", "A."):with()
		local routes = set:counter("b_total", "B.", { { "route", { "x", "y" } } })
		plain:add()
		plain:add(4)
		routes:with("x"):add(2)
		assert.equal(routes:with("x"), routes:with("x"))
		local page = read()
		assert.equal(5, prometheus.value(page, "a_total"))
		assert.equal(2, prometheus.value(page, "b_total", { route = "x" }))
		assert.is_nil(prometheus.value(page, "b_total", { route = "y" }))
		assert.equal("B.", page.b_total.help)
	end)

	it("sorts measurements into buckets, ends included", function()
		local series = set:histogram("h", "H.", { 1, 2.5 }, { { "route", { "x" } } }):with("x")
		for _, value in ipairs({ 0, 1, 1.5, 2.5, 3, 1e9 }) do series:observe(value) end
		local page = read()
		assert.equal(2, prometheus.value(page, "h_bucket", { le = "1" }))
		assert.equal(4, prometheus.value(page, "h_bucket", { le = "2.5" }))
		assert.equal(6, prometheus.value(page, "h_bucket", { le = "+Inf" }))
		assert.equal(6, prometheus.value(page, "h_count"))
		assert.equal(1e9 + 8, prometheus.value(page, "h_sum"))
	end)

	it("sorts a measurement wherever the one before was", function()
		local series = set:histogram("h", "H.", { 1, 2, 3 }, { { "route", { "x" } } }):with("x")
		for _, value in ipairs({ 9, 1, 3, 2, 9, math.huge, 0 }) do series:observe(value) end
		local page = read()
		assert.equal(2, prometheus.value(page, "h_bucket", { le = "1" }))
		assert.equal(2 + 1, prometheus.value(page, "h_bucket", { le = "2" }))
		assert.equal(2 + 1 + 1, prometheus.value(page, "h_bucket", { le = "3" }))
		assert.equal(2 + 1 + 1 + 3, prometheus.value(page, "h_bucket", { le = "+Inf" }))
		assert.equal(7, prometheus.value(page, "h_count"))
	end)

	it("escapes labels and helps", function()
		set:counter("a_total", "back\\slash,\nline", { { "l", 9 } })
		local values = { 'quo"te', "back\\slash", "li\nne", "\\n", '"', "", "ü" }
		for i, value in ipairs(values) do set.by_name.a_total:with(value):add(i) end
		local page = read()
		for i, value in ipairs(values) do assert.equal(i, prometheus.value(page, "a_total", { l = value })) end
		assert.equal("back\\\\slash,\\nline", page.a_total.help)
	end)

	it("writes whole numbers, fractions and what is none", function()
		local values = { [1] = 9007199254740993, [2] = 0.1, [3] = math.huge, [4] = -3, [5] = 1e300 }
		set:read("gauge", "g", "G.", { { "n", 9 } }, function(put)
			for i, value in ipairs(values) do put(value, i) end
		end)
		local page, text = read(), set:text(loop.try)
		assert.truthy(text:find('g{n="1"} 9007199254740993\n', 1, true))
		for i = 2, 5 do assert.equal(values[i], prometheus.value(page, "g", { n = tostring(i) })) end
	end)

	it("takes a value that is not of a closed set for other, and never more values than were allowed", function()
		local closed = set:counter("c_total", "C.", { { "l", { "x" } } })
		local open = set:counter("o_total", "O.", { { "l", 3 }, { "m", { "y" } } })
		for i = 1, 100 do
			closed:with("v" .. i):add()
			open:with("v" .. i, "y"):add()
		end
		local page = read()
		assert.equal(1, #page.c_total.samples)
		assert.equal(100, prometheus.value(page, "c_total", { l = "other" }))
		assert.equal(4, #page.o_total.samples)
		assert.equal(97, prometheus.value(page, "o_total", { l = "other", m = "y" }))
	end)

	it("adds up what a reader puts twice, and forgets it for the next text", function()
		set:read("gauge", "g", "G.", { { "l", { "x" } } }, function(put)
			for _, value in ipairs({ "x", "p", "q" }) do put(1, value) end
		end)
		for _ = 1, 2 do
			local page = read()
			assert.equal(1, prometheus.value(page, "g", { l = "x" }))
			assert.equal(2, prometheus.value(page, "g", { l = "other" }))
		end
	end)

	it("leaves out a reader that breaks down", function()
		set:read("gauge", "bad", "B.", nil, function() error("planted") end)
		set:read("gauge", "good", "G.", nil, function(put) put(1) end)
		loop.on_error(function() end)
		local page = read()
		assert.is_nil(page.bad)
		assert.equal(1, prometheus.value(page, "good"))
		assert.equal(1, set.broken)
	end)

	it("refuses a name twice and what is no name", function()
		set:counter("a_total", "A.")
		assert.has_error(function() set:counter("a_total", "A.") end)
		assert.has_error(function() set:counter("a-b", "A.") end)
	end)
end)

describe("kms.admin.metrics.requests", function()
	it("has a series for each route and outcome that there is, and one for all others", function()
		local set = metrics.new()
		local requests = metrics_requests.new(set, { { name = "get" }, { name = "get" }, { name = "put" } })
		for _ = 1, 3 do requests:observe("get", { status = 200 }, 2000000) end
		requests:observe("get", { status = 403, code = "ERR_MAC" }, 0)
		requests:observe("get", { status = 400 }, 0)
		requests:observe(nil, { status = 404, code = "ERR_NO_ROUTE" }, 0)
		for i = 1, 50 do requests:observe("operator " .. i, { status = 299 + i, code = "ERR_" .. i }, 0) end
		local page = prometheus.parse(set:text(loop.try))
		local function count(route, class, code)
			return prometheus.value(page, "kms_requests_total", { route = route, class = class, code = code })
		end
		assert.equal(3, count("get", "2xx", "ok"))
		assert.equal(1, count("get", "4xx", "ERR_MAC"))
		assert.equal(1, count("get", "4xx", "other"))
		assert.equal(1, count("none", "4xx", "ERR_NO_ROUTE"))
		assert.equal(50, count("other", "3xx", "other"))
		assert.equal(5, #page.kms_requests_total.samples)
		assert.equal(5, prometheus.value(page, "kms_request_duration_seconds_count", { route = "get" }))
		assert.equal(0.006, prometheus.value(page, "kms_request_duration_seconds_sum", { route = "get" }))
	end)
end)

describe("kms.admin.metrics.node", function()
	it("knows every reason of kms.node.readiness", function()
		local function read(path)
			local file <close> = assert(io.open(path))
			return file:read("a")
		end
		local text = read("lua/kms/node/readiness.lua")
		local all = text .. read("lua/kms/recovery/waiting.lua"):gsub(" %(%%d of %%d%)", "")
		for reason in pairs(metrics_node.REASONS) do
			assert.truthy(all:find('"' .. reason .. '"', 1, true), "readiness has no reason: " .. reason)
		end
		local given = {}
		for reason in text:gmatch('return "([^"]+)"') do given[reason] = true end
		for reason in text:gmatch('reason = "([^"]+)"') do given[reason] = true end
		for reason in text:gmatch('nil, "([^"]+)", message, UNREADABLE') do given[reason] = true end
		for reason in text:gmatch('set_unready%(self, [^"\n]*"([^"]+)"[^"\n]*"?([^"\n]*)') do given[reason] = true end
		for reason in pairs(given) do assert.truthy(metrics_node.REASONS[reason], "no label for: " .. reason) end
	end)
end)

describe("kms.admin.metrics.policy", function()
	local entries, own, policy, set, names

	before_each(function()
		set, entries, own, names = metrics.new(), {}, {}, false
		policy = {
			set = { hash = "one", sources = { access = { text = [[kms.count("x", { why = "night", level = 'low' })]] } } },
			counters = { list = function() return entries, 7 end }, own_counters = { list = function() return own, 0 end },
			list_rules = function()
				return {
					{ full_name = "access.derive", passed = 3, refused = 1, failed = 2, let_through = 0 },
					{ full_name = "access.derive/at \"night\"", passed = 0, refused = 4, failed = 0, let_through = 6 },
				}
			end,
			suspended = function() return { {}, {} }, { {} } end,
			status = function() return { since_ms = 5000 } end,
		}
		local log = { name = function(_, name) return names and name or "hash" .. #name end }
		metrics_policy.declare(set, { policy = policy, log = log })
	end)

	local function read()
		return prometheus.parse(set:text(loop.try))
	end

	local function count(name, labels, value)
		entries[#entries + 1] = { name = "policy_" .. name, labels = labels, value = value or 1 }
	end

	it("shows what rules did", function()
		local page = read()
		local function calls(rule, outcome)
			return prometheus.value(page, "kms_policy_rule_calls_total", { rule = rule, outcome = outcome })
		end
		assert.equal(3, calls("access.derive", "passed"))
		assert.equal(2, calls("access.derive", "failed"))
		assert.equal(4, calls('access.derive/at "night"', "refused"))
		assert.equal(6, calls('access.derive/at "night"', "let_through"))
		assert.equal(2, prometheus.value(page, "kms_policy_rules_suspended"))
		assert.equal(7, prometheus.value(page, "kms_policy_counts_dropped_total"))
		assert.equal(5, prometheus.value(page, "kms_policy_since_seconds"))
		assert.equal(0, prometheus.value(page, "kms_policy_reload_failed"))
	end)

	it("shows labels that the policy's text has as constants, and hashes of all others", function()
		count("x", { why = "night", level = "low" }, 2)
		count("x", { why = "wallet/root", app = "1000", ok = true }, 3)
		count("x", { route = "derive", size = 77 }, 4)
		local page, text = read(), set:text(loop.try)
		assert.equal(2, prometheus.value(page, "kms_count_x_total", { why = "night", level = "low", app = "" }))
		assert.equal(3, prometheus.value(page, "kms_count_x_total", { why = "hash11", app = "hash4", ok = "true" }))
		assert.equal(4, prometheus.value(page, "kms_count_x_total", { route = "derive", size = "hash2" }))
		assert.is_nil(text:find("wallet/root", 1, true))
		assert.is_nil(text:find("1000", 1, true))
	end)

	it("looks again after a reload, and shows everything where names are logged", function()
		count("x", { why = "noon" })
		assert.is_nil(prometheus.value(read(), "kms_count_x_total", { why = "noon" }))
		policy.set = { hash = "two", sources = { access = { text = [["noon"]] } } }
		assert.equal(1, prometheus.value(read(), "kms_count_x_total", { why = "noon" }))
		policy.set = { hash = "three", sources = {} }
		names = true
		assert.equal(1, prometheus.value(read(), "kms_count_x_total", { why = "noon" }))
	end)

	it("bounds series and families, and drops labels that are none", function()
		names = true
		for i = 1, 300 do count("many", { n = i }) end
		for i = 1, 300 do count("family_" .. i, {}) end
		count("odd", { ["a-b"] = "night", __name__ = "night", [1] = "night", why = "night" })
		local page = read()
		assert.equal(101, #page.kms_count_many_total.samples)
		local sum = 0
		for _, sample in ipairs(page.kms_count_many_total.samples) do sum = sum + sample.value end
		assert.equal(300, sum)
		local families = 0
		for name in pairs(page) do families = families + (name:find("^kms_count_") and 1 or 0) end
		assert.equal(200, families)
	end)

	it("never lets a policy's counter pass for one of the node's", function()
		count("rule_calls", {})
		count("failures", { hook = "access_derive", why = "overrun" }, 100)
		own[1] = { name = "failures", labels = { hook = "access_derive", why = "overrun" }, value = 6 }
		own[2] = { name = "failures", labels = { hook = "access_derive", why = "resting" }, value = 7 }
		entries[#entries + 1] = { name = "kms_ready", labels = {}, value = 6 }
		local page = read()
		assert.equal(1, prometheus.value(page, "kms_count_rule_calls_total"))
		assert.equal(6, prometheus.value(page, "kms_policy_failures_total", { hook = "access_derive", why = "overrun" }))
		assert.equal(7, prometheus.value(page, "kms_policy_failures_total", { hook = "access_derive", why = "resting" }))
		assert.is_nil(page.kms_ready)
		assert.equal(100, prometheus.value(page, "kms_count_failures_total"))
	end)
end)
