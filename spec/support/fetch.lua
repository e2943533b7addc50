--- Calls of native.fetch in specs.

local assert = require("luassert")
local native = require("spec.support.native")

local M = {}

--- Calls native.fetch, which must fail with `code`.
function M.expect(code, options)
	local status, message, got = native.fetch(options)
	assert.is_nil(status)
	assert.equal(code, got)
	assert.is_string(message)
end

--- Runs `count` calls at the same time.
-- @return list of { what native.fetch returned }, when all are done
function M.parallel(count, options)
	local results, left, co = {}, count, coroutine.running()
	for i = 1, count do
		coroutine.wrap(function()
			results[i] = { native.fetch(options) }
			left = left - 1
			if left == 0 and coroutine.status(co) == "suspended" then coroutine.resume(co) end
		end)()
	end
	if left > 0 then coroutine.yield() end
	return results
end

return M
