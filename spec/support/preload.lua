--- Libraries of the tests (spec/native/*.c) that are preloaded into running nodes.

local nodes = require("spec.support.node")
local uv = require("luv")

--- The value of LD_PRELOAD for a node of the build under test; a sanitizer's runtime comes first.
-- @param name  "nsm_fake", "insider", "shifted_clock", "late_socket"
return function(name)
	local library = ("%s/%s/spec/%s.so"):format(uv.cwd(), nodes.build, name)
	return ((os.getenv("LUA_PRELOAD") or "") .. " " .. library):match("^%s*(.*)$")
end
