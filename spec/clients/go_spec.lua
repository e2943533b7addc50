-- The Go client, clients/go, by the table of cases of all clients, where `make clients` has built its driver.

local cases = require("spec.clients.cases")
local files = require("spec.support.files")
local nodes = require("spec.support.node")
local uv = require("luv")

local DRIVER = "build/clients/go/driver"
local MISSING = "build/clients/go/missing" -- why clients/go/check has built none
local COMPILE_S = 300

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
		local readme = files.read("clients/go/README.md")
		local main = readme:match("```go\n// main.go\n(.-)```")
			:gsub("http://127%.0%.0%.1:8000", "http://127.0.0.1:" .. node.port)
			:gsub("%.%./nova%-kms/build/node/", node.dir .. "/")
		local commands = {}
		for block in readme:gmatch("```sh\n(.-)```") do commands[#commands + 1] = block end
		local root = uv.cwd()
		local script = table.concat(commands):gsub("mkdir first && cd first", "cd " .. dir)
			:gsub("%.%./nova%-kms/", root .. "/")
		files.write(dir .. "/main.go", main)
		local code, out, err = nodes.run({ "-ec", script }, { program = "/bin/sh", timeout_s = COMPILE_S, env = {
			PATH = root .. "/build/clients/go/bin:" .. os.getenv("PATH"), HOME = os.getenv("HOME"),
			GOTOOLCHAIN = "local", GOWORK = "off",
		} })
		assert.same({ 0, "Secret of 32 bytes\ngreeting\n" }, { code, out }, err)
	end)

	cases.describe("go", { DRIVER }, {}, { setup = setup, teardown = teardown, it = it, pending = pending })
end)
