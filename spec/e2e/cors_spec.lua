-- Pages of other origins: none may call a node that is not told so; CORS_ORIGINS names those that may.

local http = require("spec.support.http")
local nodes = require("spec.support.node")

local PAGE, OTHER = "https://app.example", "https://other.example"

describe("a node and pages of other origins", function()
	local function ask(node, method, target, origin)
		local headers = { { "Origin", origin } }
		if method == "OPTIONS" then headers[2] = { "Access-Control-Request-Method", "POST" } end
		return assert(http.request(node.port, { method = method, target = target, headers = headers }))
	end

	local function cors_headers(response)
		local names = {}
		for name in pairs(response.headers) do
			if name:find("^access%-control") or name == "vary" then names[#names + 1] = name end
		end
		table.sort(names)
		return names
	end

	it("says nothing of them by default", function()
		local node = nodes.start()
		finally(function() node:stop() end)
		for _, case in ipairs({ { "GET", "/nonce" }, { "OPTIONS", "/session" }, { "GET", "/nothing" } }) do
			assert.same({}, cors_headers(ask(node, case[1], case[2], PAGE)))
		end
	end)

	it("lets those that are named read its replies, refusals too, and no others", function()
		local node = nodes.start({ env = { CORS_ORIGINS = "http://localhost:3000, " .. PAGE } })
		finally(function() node:stop() end)
		local exposed = { "access-control-allow-origin", "access-control-expose-headers", "vary" }
		for _, case in ipairs({
			{ "GET", "/nonce", 200 }, { "GET", "/status", 200 }, { "GET", "/nothing", 404 }, { "DELETE", "/nonce", 405 },
			{ "POST", "/session", 403 },
		}) do
			local response = ask(node, case[1], case[2], PAGE)
			assert.same({ case[3], PAGE }, { response.status, response.headers["access-control-allow-origin"] })
			assert.same(exposed, cors_headers(response))
			assert.same({ "vary" }, cors_headers(ask(node, case[1], case[2], OTHER)))
		end
		for target, methods in pairs({ ["/session"] = "OPTIONS, POST", ["/kms/data"] = "DELETE, GET, HEAD, OPTIONS, PUT" }) do
			local response = ask(node, "OPTIONS", target, PAGE)
			assert.same({ 204, methods }, { response.status, response.headers["access-control-allow-methods"] })
			assert.truthy(response.headers["access-control-allow-headers"]:find("X-App-Signature", 1, true))
			assert.same({ "vary" }, cors_headers(ask(node, "OPTIONS", target, OTHER)))
		end
	end)
end)
