-- kms.snapshot.s3: sealed snapshots in a bucket, against a server that checks signatures on its own.

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
