-- The Lua client, kms.client, by the table of cases of all clients.

local cases = require("spec.clients.cases")

describe("the Lua client", function()
	cases.describe("lua", { "lua5.4", "spec/clients/lua_driver.lua", package.path, package.cpath }, {
		"PATH=" .. os.getenv("PATH"), "LD_PRELOAD=" .. (os.getenv("LUA_PRELOAD") or ""), -- a sanitizer's runtime
	}, { setup = setup, teardown = teardown, it = it, pending = pending })
end)
