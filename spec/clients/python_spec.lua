-- The Python client, clients/python, by the table of cases of all clients, where `make clients` has installed it.

local cases = require("spec.clients.cases")
local files = require("spec.support.files")
local nodes = require("spec.support.node")

local PYTHON = "build/clients/python/bin/python"

describe("the Python client", function()
	if not files.read(PYTHON) then
		return it("is installed", function()
			if os.getenv("KMS_CLIENTS") then error("there is no " .. PYTHON) end
			pending("`make clients` has not run here")
		end)
	end
	it("does what its README shows", function()
		local node = nodes.start()
		finally(function() node:stop() end)
		local blocks = {}
		for block in files.read("clients/python/README.md"):gmatch("```python\n(.-)```") do blocks[#blocks + 1] = block end
		local text = (blocks[1] .. blocks[2]):gsub("http://127%.0%.0%.1:8000", "http://127.0.0.1:" .. node.port)
			:gsub("build/node/", node.dir .. "/")
		local code, out, err = nodes.run({ "-c", text }, { program = nodes.build_dir .. "/clients/python/bin/python", env = {
			PATH = os.getenv("PATH"), PYTHONDONTWRITEBYTECODE = "1", PYTHONPATH = "clients/python/src",
		} })
		assert.same({ 0, "32 bytes\nb'hello'\n['greeting']\ngone\n", "" }, { code, out, err })
	end)

	cases.describe("python", { PYTHON, "spec/clients/python_driver.py" }, {
		"PATH=" .. os.getenv("PATH"), "PYTHONDONTWRITEBYTECODE=1", "PYTHONPATH=clients/python/src",
	}, { setup = setup, teardown = teardown, it = it, pending = pending })
end)
