--- examples/monitoring and docs/alerts.md: rules and board name metrics that nodes have, alerts lead to a runbook.

local cjson = require("cjson")
local files = require("spec.support.files")
local lyaml = require("lyaml")
local metrics_node = require("kms.admin.metrics.node")

local FOLDER = "examples/monitoring/"

-- Every metric that the node declares, by its name in the text.
local function declared()
	local names = { up = true }
	local command = "grep -rhoE '\"(kms|process)_[a-z_]+\"' lua/kms/admin lua/kms/node lua/kms/recovery"
	local pipe <close> = assert(io.popen(command))
	for line in pipe:lines() do names[line:match('"(.*)"')] = true end
	return names
end

local function metrics_of(expr)
	local found = {}
	for name in expr:gmatch("[%a_:][%w_:]*") do
		if name:find("^kms_") or name:find("^process_") or name == "up" then found[#found + 1] = name end
	end
	return found
end

local function assert_known(names, expr, where)
	local used = metrics_of(expr)
	assert.is_true(#used > 0, where .. " names no metric")
	for _, name in ipairs(used) do
		assert.is_true(names[name] or names[name:gsub("_bucket$", "")], ("%s: no metric %s"):format(where, name))
	end
end

local function rules()
	return lyaml.load(files.read(FOLDER .. "alerts.yml")).groups[1].rules
end

local function panels()
	return cjson.decode(files.read(FOLDER .. "grafana.json")).panels
end

-- Metrics of alerts that the board shows in more detail, and the one of Prometheus itself.
local DETAILED = {
	up = "kms_ready", kms_sync_lag_max = "kms_sync_member_lag", kms_repair_lag_seconds = "kms_repair_member_lag_seconds",
}

describe("examples/monitoring", function()
	it("alerts on metrics that nodes have, and says what to do and where the runbook is", function()
		local names, runbook, seen = declared(), files.read("docs/alerts.md"), {}
		for _, rule in ipairs(rules()) do
			assert_known(names, rule.expr, rule.alert)
			assert.is_nil(seen[rule.alert])
			seen[rule.alert] = true
			local notes = rule.annotations
			assert.truthy(notes.summary:find("%.$"), rule.alert)
			assert.truthy(notes.action:find("%.$"), rule.alert)
			assert.truthy(rule.labels.severity == "page" or rule.labels.severity == "warn", rule.alert)
			assert.equal("docs/alerts.md#" .. rule.alert:lower(), notes.runbook_url)
			assert.truthy(runbook:find("\n## " .. rule.alert .. "\n", 1, true), "docs/alerts.md lacks " .. rule.alert)
		end
		for name in runbook:gmatch("\n## (Kms%w+)\n") do assert.is_true(seen[name], name .. " is no alert") end
	end)

	it("tests every alert twice: that it fires, and that it does not", function()
		local tested = {}
		for _, test in ipairs(lyaml.load(files.read(FOLDER .. "alerts_test.yml")).tests) do tested[test.name] = true end
		for _, rule in ipairs(rules()) do
			assert.is_true(tested[rule.alert .. " fires"], rule.alert)
			assert.is_true(tested[rule.alert .. " does not fire"], rule.alert)
		end
	end)

	it("has a line of the runbook for every reason why a node does not serve", function()
		local runbook = files.read("docs/alerts.md")
		for _, reason in pairs(metrics_node.REASONS) do
			assert.truthy(runbook:find("\n| [^\n|]*%f[%w_]" .. reason .. "%f[^%w_][^\n|]* | "), reason)
		end
	end)

	it("has a board of metrics that nodes have, without two panels in one place", function()
		local names, places = declared(), {}
		for _, panel in ipairs(panels()) do
			for _, target in ipairs(panel.targets) do assert_known(names, target.expr, panel.title) end
			local at = panel.gridPos
			assert.is_true(at.x + at.w <= 24, panel.title)
			for y = at.y, at.y + at.h - 1 do
				for x = at.x, at.x + at.w - 1 do
					local place = x .. "," .. y
					assert.is_nil(places[place], panel.title .. " lies over " .. tostring(places[place]))
					places[place] = panel.title
				end
			end
		end
	end)

	it("shows on the board what each alert is about, and each panel once", function()
		local shown, ids, lets_through = {}, {}, false
		for _, panel in ipairs(panels()) do
			assert.is_nil(ids[panel.id], panel.title)
			ids[panel.id] = true
			for _, target in ipairs(panel.targets) do
				assert.truthy(target.expr:find('instance=~"$instance"', 1, true), panel.title)
				for _, name in ipairs(metrics_of(target.expr)) do shown[name] = true end
				lets_through = lets_through or target.expr:find('outcome="let_through"', 1, true) ~= nil
			end
		end
		for _, rule in ipairs(rules()) do
			for _, name in ipairs(metrics_of(rule.expr)) do
				assert.is_true(shown[DETAILED[name] or name], ("%s: no panel of %s"):format(rule.alert, name))
			end
		end
		assert.is_true(lets_through) -- what a suspended rule would have refused
	end)
end)
