-- The JavaScript client, clients/javascript, by the table of cases of all clients, where `make clients` has installed
-- what it needs.

local cases = require("spec.clients.cases")
local files = require("spec.support.files")

local INSTALLED = "clients/javascript/node_modules/.package-lock.json"

describe("the JavaScript client", function()
	if not files.read(INSTALLED) then
		return it("is installed", function()
			if os.getenv("KMS_CLIENTS") then error("there is no " .. INSTALLED) end
			pending("`make clients` has not run here")
		end)
	end
	cases.describe("javascript", { "node", "spec/clients/javascript_driver.mjs" }, { "PATH=" .. os.getenv("PATH") },
		{ setup = setup, teardown = teardown, it = it, pending = pending })
end)
