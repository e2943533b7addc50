-- The status page of a running node: GET /ui on METRICS_ADDR, and the page of GET / on the public port.

local cjson = require("cjson")
local http = require("spec.support.http")
local nodes = require("spec.support.node")
local wait = require("spec.support.wait")

local PATHS = {
	["/ui"] = "text/html; charset=utf-8", ["/ui/app.js"] = "text/javascript; charset=utf-8",
	["/ui/charts.js"] = "text/javascript; charset=utf-8", ["/ui/style.css"] = "text/css; charset=utf-8",
	["/ui/icon.svg"] = "image/svg+xml",
}

describe("the status page", function()
	local node, port

	setup(function()
		port = nodes.free_port()
		node = nodes.start({ env = { METRICS_ADDR = "127.0.0.1:" .. port, MASTER_SECRET_HEX = ("2a"):rep(32) } })
	end)
	teardown(function() node:stop() end)

	it("comes from the node alone: nothing inline, nothing from outside, and no way to act", function()
		for path, kind in pairs(PATHS) do
			local response = assert(http.get(port, path))
			assert.equal(200, response.status, path)
			assert.equal(kind, response.headers["content-type"])
			local policy = response.headers["content-security-policy"]
			assert.truthy(policy:find("default-src 'none'", 1, true) and not policy:find("unsafe", 1, true), policy)
			assert.equal("no-store", response.headers["cache-control"])
			for _, word in ipairs({ "http://", "https://" }) do
				local outside = response.body:gsub("http://www%.w3%.org/2000/svg", "")
				assert.is_nil(outside:find(word, 1, true), path .. " names " .. word)
			end
			for _, word in ipairs({ "innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "<style", " style=",
				"onclick", "fetch(", "XMLHttpRequest", "<form", "<button" }) do
				assert.is_nil(response.body:find(word, 1, true), path .. " has " .. word)
			end
			assert.equal(405, assert(http.request(port, { method = "POST", target = path })).status)
		end
	end)

	it("sends one event with all values, and asks to be called again", function()
		local response = assert(http.get(port, "/ui/events"))
		assert.equal("text/event-stream", response.headers["content-type"])
		local data = response.body:match("^retry: 2000\ndata: ([^\n]+)\n\n$")
		local facts = cjson.decode((assert(data, response.body)))
		assert.equal(node.wallet, facts.status.node.tee_wallet)
		assert.equal("self", facts.members[1].state)
		assert.equal(512 << 20, facts.limits.store_bytes)
		assert.equal(cjson.null, facts.custodians)
		assert.is_true(facts.guarded.used > 0 and facts.guarded.used < facts.guarded.size)
		assert.equal(#facts.requests.durations.bounds_s + 1, #facts.requests.durations.counts)
	end)

	it("counts requests", function()
		local function facts()
			return cjson.decode(assert(http.get(port, "/ui/events")).body:match("data: ([^\n]+)"))
		end
		assert(http.get(node.port, "/health"))
		assert(http.get(node.port, "/no-such-path"))
		wait.until_true("both are counted", function()
			local requests = facts().requests
			return (requests.by_route.health or 0) >= 1 and (requests.by_route.none or 0) >= 1
				and (requests.by_code.ERR_NO_ROUTE or 0) >= 1
		end)
	end)

	it("is not on the public port, and its address refuses names that are not this machine's", function()
		assert.equal(404, assert(http.get(node.port, "/ui")).status)
		assert.equal(404, assert(http.get(node.port, "/ui/events")).status)
		local response = assert(http.request(port, { method = "GET", target = "/ui/events", host = "attacker.example" }))
		assert.equal(403, response.status)
	end)

	it("is gone with STATUS_PAGE=false, and metrics stay", function()
		local other_port = nodes.free_port()
		local other = nodes.start({ env = { METRICS_ADDR = "127.0.0.1:" .. other_port, STATUS_PAGE = "false" } })
		finally(function() other:stop() end)
		for path in pairs(PATHS) do assert.equal(404, assert(http.get(other_port, path)).status, path) end
		assert.equal(404, assert(http.get(other_port, "/ui/events")).status)
		assert.equal(200, assert(http.get(other_port, "/metrics")).status)
	end)

	it("GET / is a page for a browser, and JSON for everybody else", function()
		local browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
		local page = assert(http.get(node.port, "/", { { "Accept", browser } }))
		assert.equal("text/html; charset=utf-8", page.headers["content-type"])
		assert.equal("Accept", page.headers.vary)
		for target in page.body:gmatch('href="([^"]+)"') do
			assert.equal(200, assert(http.get(node.port, target)).status, target)
		end
		for _, accept in ipairs({ "*/*", "application/json", "text/plain" }) do
			local response = assert(http.get(node.port, "/", { { "Accept", accept } }))
			assert.equal("application/json", response.headers["content-type"])
			assert.equal("nova-kms", cjson.decode(response.body).service)
		end
	end)
end)
