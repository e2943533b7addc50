-- The JavaScript client, clients/javascript, by the table of cases of all clients, where `make clients` has installed
-- what it needs.

local cases = require("spec.clients.cases")
local documents = require("spec.support.document")
local files = require("spec.support.files")
local nodes = require("spec.support.node")
local runbooks = require("spec.support.runbook")
local uv = require("luv")

local INSTALLED = "clients/javascript/node_modules/.package-lock.json"

describe("the JavaScript client", function()
	if not files.read(INSTALLED) then
		return it("is installed", function()
			if os.getenv("KMS_CLIENTS") then error("there is no " .. INSTALLED) end
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
		assert(uv.fs_symlink(uv.cwd(), dir .. "/nova-kms"))
		local book = runbooks.read("clients/javascript/README.md", dir, "spec/clients/javascript_spec.lua")
		for _, block in ipairs(book.blocks) do
			local code, out, err = book:run(block, { vars = { HOME = os.getenv("HOME") } })
			assert.equal(0, code, out .. err)
		end
		local scripts = {}
		for _, block in ipairs(documents.read("clients/javascript/README.md").blocks) do
			if block.language == "js" then
				scripts[#scripts + 1] = block.text:gsub("http://127%.0%.0%.1:8000", url):gsub("%.%./nova%-kms/build/node", node.dir)
			end
		end
		local function javascript(text, ...)
			files.write(dir .. "/my-app/first.mjs", text)
			local code, out, err = nodes.run({ ... }, {
				program = "/usr/bin/env", cwd = dir .. "/my-app", env = { PATH = os.getenv("PATH") },
			})
			assert.equal(0, code, out .. err)
			return out
		end
		local _, key = nodes.run({ "call", "derive", "--path=wallet/root", "--url", url, "--seed",
			node.dir .. "/demo-app.seed" }, { env = { HOME = dir } })
		assert.equal(3, #scripts)
		assert.equal(key, javascript(scripts[1], "node", "first.mjs"))
		-- The second goes on with its client, and gives the keys of a listing to `use`; the third needs a cluster.
		javascript(("%s\nconst use = (key) => {};\n%s"):format(scripts[1], scripts[2]), "node", "first.mjs")
		javascript(scripts[3], "node", "--check", "first.mjs")
		assert.same({}, book:unused())
	end)

	cases.describe("javascript", { "node", "spec/clients/javascript_driver.mjs" }, { "PATH=" .. os.getenv("PATH") },
		{ setup = setup, teardown = teardown, it = it, pending = pending })
end)
