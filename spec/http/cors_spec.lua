-- What pages of other origins may read of replies, and what preflights are told.

local cors = require("kms.http.cors")

local PAGE = "https://app.example"

local function headers(origins, method, origin, reply, count)
	local request = {
		method = method, header = function(_, name)
			assert.equal("origin", name)
			return origin, count or (origin and 1 or 0)
		end,
	}
	return cors.new(origins):headers(request, reply)
end

describe("kms.http.cors", function()
	it("is nothing where no origin is allowed", function()
		assert.is_nil(cors.new({}))
	end)

	it("lets the pages of an allowed origin read a reply, and those of no other", function()
		local reply = { status = 200, headers = { ["X-KMS-Next-Nonce"] = "n" } }
		local allowed = headers({ "http://localhost:3000", PAGE }, "POST", PAGE, reply)
		assert.equal(PAGE, allowed["Access-Control-Allow-Origin"])
		assert.truthy(allowed["Access-Control-Expose-Headers"]:find("X-KMS-Session-Signature", 1, true))
		assert.same({ "n", "Origin" }, { allowed["X-KMS-Next-Nonce"], allowed.Vary })
		assert.is_nil(allowed["Access-Control-Allow-Methods"])
		assert.is_nil(allowed["Access-Control-Allow-Credentials"])
		assert.same({ ["X-KMS-Next-Nonce"] = "n" }, reply.headers)
		for _, other in ipairs({ PAGE .. ".evil", "http://app.example", PAGE .. ":444", PAGE .. "/", "null", "*", "" }) do
			assert.same({ Vary = "Origin", ["X-KMS-Next-Nonce"] = "n" }, headers({ PAGE }, "POST", other, reply))
		end
		assert.same({ Vary = "Origin", ["X-KMS-Next-Nonce"] = "n" }, headers({ PAGE }, "POST", nil, reply))
		assert.same({ Vary = "Origin" }, headers({ PAGE }, "POST", PAGE .. ", " .. PAGE, { status = 200 }, 2))
	end)

	it("tells caches of what else a reply varies with", function()
		local reply = { status = 200, headers = { Vary = "Accept" } }
		for _, origin in ipairs({ PAGE, "https://other" }) do
			assert.equal("Accept, Origin", headers({ PAGE }, "GET", origin, reply).Vary)
		end
		assert.same({ Vary = "Accept" }, reply.headers)
	end)

	it("says in the answer to a preflight what may follow", function()
		local reply = { status = 204, headers = { Allow = "OPTIONS, POST" } }
		local allowed = headers({ PAGE }, "OPTIONS", PAGE, reply)
		assert.equal("OPTIONS, POST", allowed["Access-Control-Allow-Methods"])
		for _, name in ipairs({ "Content-Type", "X-App-Signature", "X-App-Nonce", "X-App-Timestamp", "X-App-Wallet" }) do
			assert.truthy(allowed["Access-Control-Allow-Headers"]:find(name, 1, true))
		end
		assert.equal("600", allowed["Access-Control-Max-Age"])
		assert.same({ Allow = "OPTIONS, POST", Vary = "Origin" }, headers({ PAGE }, "OPTIONS", "https://other", reply))
		assert.is_nil(headers({ PAGE }, "OPTIONS", PAGE, { status = 404, headers = {} })["Access-Control-Allow-Methods"])
	end)
end)
