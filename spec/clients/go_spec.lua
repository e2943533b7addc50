-- The Go client, clients/go, by the table of cases of all clients, where `make clients` has built its driver.

local cases = require("spec.clients.cases")
local documents = require("spec.support.document")
local files = require("spec.support.files")
local nodes = require("spec.support.node")
local runbooks = require("spec.support.runbook")
local uv = require("luv")

local DRIVER = "build/clients/go/driver"
local MISSING = "build/clients/go/missing" -- why clients/go/check has built none

describe("the Go client", function()
	if not files.read(DRIVER) then
		return it("is built", function()
			local why = files.read(MISSING)
			if os.getenv("KMS_CLIENTS") and not why then error("there is no " .. DRIVER) end
			pending(why or "`make clients` has not run here")
		end)
	end
	it("does what its README shows", function()
		local node = nodes.start()
		local dir = files.temp_dir()
		finally(function()
			node:stop()
			files.remove_dir(dir)
		end)
		assert(uv.fs_symlink(uv.cwd(), dir .. "/nova-kms"))
		local book = runbooks.read("clients/go/README.md", dir, "spec/clients/go_spec.lua")
		local vars = {
			PATH = uv.cwd() .. "/build/clients/go/bin:" .. os.getenv("PATH"), HOME = os.getenv("HOME"), GOTOOLCHAIN = "local",
			GOWORK = "off",
		}
		local function paste(block, where)
			local code, out, err = book:run(block, { vars = vars, dir = where })
			assert.equal(0, code, out .. err)
			return out
		end
		paste(book.blocks[1], dir)
		for _, block in ipairs(documents.read("clients/go/README.md").blocks) do
			if block.text:find("^// main%.go\n") then
				files.write(dir .. "/first/main.go", (block.text:gsub("http://127%.0%.0%.1:8000", "http://127.0.0.1:" .. node.port)
					:gsub("%.%./nova%-kms/build/node/", node.dir .. "/")))
			end
		end
		assert.equal("Secret of 32 bytes\ngreeting\n", paste(book.blocks[2], dir .. "/first"))
		assert.same({}, book:unused())
	end)

	cases.describe("go", { DRIVER }, {}, { setup = setup, teardown = teardown, it = it, pending = pending })
end)
