-- How many threads native work has.

local node = require("kms.node")
local uv = require("luv")

describe("kms.node.set_threads", function()
	local before

	setup(function() before = uv.os_getenv("UV_THREADPOOL_SIZE") end)
	teardown(function()
		if before then uv.os_setenv("UV_THREADPOOL_SIZE", before) else uv.os_unsetenv("UV_THREADPOOL_SIZE") end
	end)

	local function size(...)
		node.set_threads(...)
		return tonumber(uv.os_getenv("UV_THREADPOOL_SIZE"))
	end

	it("adds one for each part that writes files: a disk that does not answer holds one for each of them", function()
		assert.same({ 2, 3, 4 }, { size(2, 0), size(2, 1), size(2, 2) })
		assert.is_true(size(0, 2) >= 4)
	end)
end)
