--- Looks again and again whether something holds: often at first, seldom where that takes long.

local loop = require("kms.base.loop")

local M = {}

local FIRST_MS, LAST_MS = 20, 1000
local PART = 10 -- of the time that has passed, between two looks

--- Calls fn() once, when holds() is true: after a look that comes late by a tenth of the time waited at most, or by a
-- second, or by 20 ms. Returns at once.
-- @return function that ends the wait: fn is not called then
function M.until_true(holds, fn)
	local begun, ended, timer = loop.now(), false, nil
	local function look()
		if ended then return end
		if holds() then return fn() end
		timer = loop.after(math.max(FIRST_MS, math.min((loop.now() - begun) // PART, LAST_MS)), look)
	end
	look()
	return function()
		ended = true
		loop.close(timer)
	end
end

return M
