-- The Python client, clients/python, by the table of cases of all clients, where `make clients` has installed it.

local cases = require("spec.clients.cases")
local documents = require("spec.support.document")
local files = require("spec.support.files")
local nodes = require("spec.support.node")
local runbooks = require("spec.support.runbook")
local uv = require("luv")

local PYTHON = "build/clients/python/bin/python"

describe("the Python client", function()
	if not files.read(PYTHON) then
		return it("is installed", function()
			if os.getenv("KMS_CLIENTS") then error("there is no " .. PYTHON) end
			pending("`make clients` has not run here")
		end)
	end
	it("does what its README shows", function()
		local node, dir = nodes.start(), files.temp_dir()
		local url = "http://127.0.0.1:" .. node.port
		finally(function()
			node:stop()
			files.remove_dir(dir)
		end)
		-- A copy, since the installation builds in the folder that it is given.
		assert(uv.fs_mkdir(dir .. "/clients", 448))
		assert.equal(0, (nodes.run({ "-R", "clients/python", dir .. "/clients/python" }, { program = "/bin/cp" })))
		local book = runbooks.read("clients/python/README.md", dir, "spec/clients/python_spec.lua")
		local code = {}
		for _, block in ipairs(documents.read("clients/python/README.md").blocks) do
			if block.language == "python" then
				code[#code + 1] = block.text:gsub("http://127%.0%.0%.1:8000", url):gsub("build/node/", node.dir .. "/")
			end
		end
		-- The second goes on where the first ends; the third shows forms that need a cluster.
		assert.equal(3, #code)
		files.write(dir .. "/first.py", code[1] .. "\n" .. code[2])
		local out
		for _, block in ipairs(book.blocks) do
			local status, err
			status, out, err = book:run(block, { vars = { HOME = os.getenv("HOME") } })
			assert.equal(0, status, out .. err)
		end
		assert.equal("32 bytes\nb'hello'\n['greeting']\ngone\n", out)
		assert.equal(0, (nodes.run({ "-c", "import sys; compile(sys.argv[1], 'README.md', 'exec')", code[3] },
			{ program = dir .. "/build/env/bin/python" })))
		assert.same({}, book:unused())
	end)

	cases.describe("python", { PYTHON, "spec/clients/python_driver.py" }, {
		"PATH=" .. os.getenv("PATH"), "PYTHONDONTWRITEBYTECODE=1", "PYTHONPATH=clients/python/src",
	}, { setup = setup, teardown = teardown, it = it, pending = pending })
end)
