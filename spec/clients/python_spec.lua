-- The Python client, clients/python, by the table of cases of all clients, where `make clients` has installed it.

local cases = require("spec.clients.cases")
local files = require("spec.support.files")

local PYTHON = "build/clients/python/bin/python"

describe("the Python client", function()
	if not files.read(PYTHON) then
		return it("is installed", function()
			if os.getenv("KMS_CLIENTS") then error("there is no " .. PYTHON) end
			pending("`make clients` has not run here")
		end)
	end
	cases.describe("python", { PYTHON, "spec/clients/python_driver.py" }, {
		"PATH=" .. os.getenv("PATH"), "PYTHONDONTWRITEBYTECODE=1", "PYTHONPATH=clients/python/src",
	}, { setup = setup, teardown = teardown, it = it, pending = pending })
end)
