-- A real Prometheus with the rules of examples/monitoring on a cluster: it takes what nodes say, every rule and panel
-- has data of the right shape, no alert fires while all is well, and a node that dies is an alert. `make monitoring`.

local cjson = require("cjson")
local clusters = require("spec.support.cluster")
local fetch = require("kms.http.fetch")
local files = require("spec.support.files")
local ports = require("spec.support.ports")
local process = require("devnet.process")
local wait = require("spec.support.wait")

local PROMETHEUS = os.getenv("PROMETHEUS")
local PATIENCE_S = 90

describe("Prometheus on a cluster", function()
	local cluster, dir, port, metrics, server

	-- What Prometheus answers, in chunks where that is long | nil: nothing, or another status than 200.
	local function get(target)
		local url = ("http://127.0.0.1:%d%s"):format(port, target)
		local response = clusters.await(function() return (fetch.json({ url = url, max_bytes = 1 << 24 })) end)
		return response and response.status == 200 and response.value.data or nil
	end

	local function encode(text)
		return (text:gsub("[^%w]", function(c) return ("%%%02X"):format(c:byte()) end))
	end

	local function query(expr)
		local data = get("/api/v1/query?query=" .. encode(expr))
		return assert(data, expr).result
	end

	-- The shipped configuration, with these nodes, and no patience with alerts.
	local function write_config()
		local targets = {}
		for i, at in ipairs(metrics) do targets[i] = ('"127.0.0.1:%d"'):format(at) end
		local config = files.read("examples/monitoring/prometheus.yml"):gsub("15s", "1s")
		files.write(dir .. "/prometheus.yml", (config:gsub("%[\"[^\n]*%]", "[" .. table.concat(targets, ", ") .. "]")))
		files.write(dir .. "/alerts.yml", (files.read("examples/monitoring/alerts.yml"):gsub("for: %w+", "for: 1s")))
	end

	setup(function()
		if not PROMETHEUS or clusters.missing() then return end
		dir, metrics = files.temp_dir(), {}
		local first = ports.take(4)
		port = first
		for i = 1, 3 do metrics[i] = first + i end
		cluster = clusters.start({ prepare = function(net)
			for i, node in ipairs(net.nodes) do
				local settings = { METRICS_ADDR = "127.0.0.1:" .. metrics[i] }
				for name, value in pairs(node.settings) do settings[name] = value end
				node.settings = settings
			end
		end })
		write_config()
		server = assert(process.start({
			program = PROMETHEUS, log = dir .. "/log", env = { PATH = os.getenv("PATH") }, args = {
				"--config.file=" .. dir .. "/prometheus.yml", "--storage.tsdb.path=" .. dir .. "/data",
				"--web.listen-address=127.0.0.1:" .. port,
			},
		}))
		wait.until_true("three nodes are scraped", function()
			local data = get("/api/v1/query?query=" .. encode("sum(up)"))
			return data and data.result[1] and data.result[1].value[2] == "3"
		end, PATIENCE_S)
	end)

	teardown(function()
		if server then clusters.await(function() server:stop(10000) end) end
		if cluster then cluster:stop() end
		if dir then files.remove_dir(dir) end
	end)

	local function test(name, fn)
		if not PROMETHEUS then return pending(name .. ": make monitoring") end
		clusters.test(it, pending, function() return cluster end)(name, fn)
	end

	local function firing()
		local names = {}
		for _, alert in ipairs(get("/api/v1/alerts").alerts) do
			if alert.state == "firing" then names[alert.labels.alertname] = true end
		end
		return names
	end

	test("computes every rule, and every panel of the board", function()
		for _, group in ipairs(get("/api/v1/rules").groups) do
			assert.is_true(#group.rules > 20)
			for _, rule in ipairs(group.rules) do
				wait.until_true(rule.name .. " is computed", function()
					for _, now in ipairs(get("/api/v1/rules").groups[1].rules) do
						if now.name == rule.name then return now.health == "ok", now.lastError end
					end
				end, PATIENCE_S)
			end
		end
		for _, panel in ipairs(cjson.decode(files.read("examples/monitoring/grafana.json")).panels) do
			for _, target in ipairs(panel.targets) do
				query((target.expr:gsub("%$__rate_interval", "1m"):gsub("%$instance", ".*")))
			end
		end
		assert.equal(3, #query("kms_store_total_bytes / ignoring (of) kms_limit{of=\"store_total_bytes\"}"))
		-- Each of three nodes knows two others, by positions that are the same everywhere.
		wait.until_true("lag by member", function() return #query("kms_sync_member_lag == 0") == 6 end, PATIENCE_S)
		assert.equal(3, #query("count by (member) (kms_sync_member_lag)"))
		wait.until_true("members answer", function() return #query("kms_member_ok == 1") == 6 end, PATIENCE_S)
	end)

	test("sees no alert while all is well, and one when a node dies", function()
		wait.until_true("no alert", function()
			local name = next(firing())
			return name == nil, name
		end, PATIENCE_S)
		cluster:kill(3)
		wait.until_true("KmsDown", function() return firing().KmsDown end, PATIENCE_S)
		wait.until_true("KmsMembersDoNotAnswer", function() return firing().KmsMembersDoNotAnswer end, PATIENCE_S)
		assert.is_nil(firing().KmsWaitsForCustodians)
	end)
end)
