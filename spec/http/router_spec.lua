local router = require("kms.http.router")

local function route(name, method, path, prefix)
	return { name = name, method = method, path = path, prefix = prefix }
end

describe("router", function()
	local r = router.new({
		route("health", "GET", "/health"),
		route("derive", "POST", "/kms/derive"),
		route("list", "GET", "/kms/data"),
		route("put", "PUT", "/kms/data"),
		route("get", "GET", nil, "/kms/data/"),
	})

	it("finds exact paths by method, HEAD as GET", function()
		assert.equal("health", r:match("GET", "/health").name)
		assert.equal("health", r:match("HEAD", "/health").name)
		assert.equal("derive", r:match("POST", "/kms/derive").name)
		assert.equal("list", r:match("GET", "/kms/data").name)
		assert.equal("put", r:match("PUT", "/kms/data").name)
	end)

	it("hands the rest behind a prefix over as it was sent", function()
		local found, rest = r:match("GET", "/kms/data/a%2Fb/c")
		assert.equal("get", found.name)
		assert.equal("a%2Fb/c", rest)
	end)

	it("does not take other spellings for a route", function()
		for _, path in ipairs({ "/HEALTH", "/health/", "//health", "/./health", "/%68ealth", "/kms/data/", "/kms" }) do
			local found, why = r:match("GET", path)
			assert.is_nil(found, path)
			assert.equal("not_found", why)
		end
	end)

	it("does not see what is disabled, neither by its method nor by its path", function()
		local off, get, put = route("off", "GET", "/off"), route("list", "GET", "/kms/data"), route("put", "PUT", "/kms/data")
		off.disabled, get.disabled = true, true
		local table_of = router.new({ off, get, put })
		for _, method in ipairs({ "GET", "HEAD", "POST", "OPTIONS" }) do
			assert.same({ nil, "not_found" }, { table_of:match(method, "/off") })
		end
		assert.same({ nil, "not_found" }, { table_of:match("GET", "/kms/data") })
		assert.equal("put", table_of:match("PUT", "/kms/data").name)
		assert.same({ nil, "method_not_allowed", "OPTIONS, PUT" }, { table_of:match("POST", "/kms/data") })
	end)

	it("names what is allowed where the method is wrong", function()
		local found, why, allow = r:match("DELETE", "/kms/data")
		assert.is_nil(found)
		assert.equal("method_not_allowed", why)
		assert.equal("GET, HEAD, OPTIONS, PUT", allow)
		found, why, allow = r:match("OPTIONS", "/kms/derive")
		assert.is_nil(found)
		assert.equal("options", why)
		assert.equal("OPTIONS, POST", allow)
	end)

	it("knows the server as a whole, and methods that no route may have", function()
		assert.same({ nil, "options", "GET, HEAD, OPTIONS, POST, PUT" }, { r:match("OPTIONS", "*") })
		for _, method in ipairs({ "PATCH", "TRACE", "get" }) do
			assert.same({ nil, "not_implemented" }, { r:match(method, "/health") })
		end
	end)

	it("refuses two routes with one method and path", function()
		assert.has_error(function()
			router.new({ route("a", "GET", "/x"), route("b", "GET", "/x") })
		end, "route given twice: b")
	end)
end)
