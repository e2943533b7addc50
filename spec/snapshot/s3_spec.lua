-- kms.snapshot.s3: sealed snapshots in a bucket, against a server that checks signatures on its own.

local loopback = require("spec.support.loopback")
local s3_server = require("spec.support.s3_server")
local snapshots = require("spec.support.snapshots")
local uv = require("luv")

describe("kms.snapshot.s3", function()
	local t, server, place

	local function open(text, changes) return server:open(text, changes) end

	before_each(function()
		t, server = snapshots.new(), s3_server.start()
		place = assert(open())
		t.place = place
	end)
	after_each(function()
		server:stop()
		t:close()
	end)

	-- Calls a method of the secret's place.
	local function call(method, ...)
		local here = place(t.secret)
		return snapshots.wait(here[method], here, ...)
	end

	it("takes the secret access key out of the environment", function()
		assert.is_nil(uv.os_getenv("AWS_SECRET_ACCESS_KEY"))
	end)

	it("is refused with another key, region or token by the server", function()
		for _, changes in ipairs({
			{ AWS_SECRET_ACCESS_KEY = "another" }, { AWS_REGION = "us-east-1" }, { AWS_ACCESS_KEY_ID = "ANOTHER" },
		}) do
			place = assert(open(nil, changes))
			local _, message = call("list")
			assert.equal("the bucket's server answers with HTTP 403 SignatureDoesNotMatch", message)
		end
		for _, token in ipairs({ "a+token/with==", "" }) do
			place = assert(open("s3://bucket", { AWS_SESSION_TOKEN = token }))
			assert.same({}, call("list"))
		end
	end)

	it("refuses a listing that has no end", function()
		server.endless = true
		assert.same({ nil, "the bucket gives more than 1000 pages of its listing", "ERR_TOO_LARGE" }, { call("list") })
		assert.equal(1000, server.pages)
		server.endless, server.pages = "same", 0
		assert.same({ nil, "the bucket gives the same page of its listing again", "ERR_HTTP" }, { call("list") })
		assert.equal(2, server.pages)
	end)

	it("reads no object that says it has 10 GB, or goes on for ever", function()
		for _, head in ipairs({ "Content-Length: 10737418240", "Connection: close" }) do
			loopback.run(function()
				local piece = ("x"):rep(1 << 20)
				local huge = loopback.serve(function(client, got)
					if not loopback.length_of(got) then return false end
					client:write(("HTTP/1.1 200 OK\r\n%s\r\n\r\n"):format(head))
					for _ = 1, 65 do client:write(piece) end
					return true
				end)
				local here = assert(server:open(nil, { AWS_ENDPOINT_URL = huge.url }))(t.secret)
				local body, _, code = here:read(snapshots.WALLETS[1], 1, "manifest")
				assert.same({ nil, "ERR_TOO_LARGE" }, { body, code })
			end)
		end
	end)

	it("needs credentials and a proper endpoint", function()
		for _, case in ipairs({
			{ { AWS_ACCESS_KEY_ID = false }, "needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" },
			{ { AWS_SECRET_ACCESS_KEY = ("x"):rep(61) }, "AWS_SECRET_ACCESS_KEY: the value is not valid" },
			{ { AWS_ENDPOINT_URL = "ftp://x" }, "AWS_ENDPOINT_URL: not a URL" },
			{ { AWS_REGION = "a/b" }, "AWS_REGION: not a region's name" },
			{ { AWS_SESSION_TOKEN = "a token" }, "AWS_SESSION_TOKEN: only printable ASCII without spaces is allowed" },
			{ { AWS_SESSION_TOKEN = "token\r\nHost: other" }, "AWS_SESSION_TOKEN: only printable ASCII" },
		}) do
			local opened, message = open(nil, case[1])
			assert.is_nil(opened)
			assert.truthy(message:find(case[2], 1, true), message)
		end
	end)
end)
