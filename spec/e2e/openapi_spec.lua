-- GET /openapi.json of a running node: it lists the routes that are there, its examples run, replies are as it says.
-- The document and the replies are judged by a validator nobody here wrote, where `make openapi` has installed it.

local apps = require("spec.support.app")
local cjson = require("cjson")
local crypto = require("spec.support.crypto")
local custodians = require("spec.support.custodians")
local files = require("spec.support.files")
local http = require("spec.support.http")
local nodes = require("spec.support.node")
local policies = require("spec.support.policies")
local session_client = require("spec.support.session_client")

local PYTHON = os.getenv("OPENAPI_PYTHON")
local NONCE = ("5a"):rep(16)

describe("GET /openapi.json", function()
	local node, app, dir, raw, document

	setup(function()
		dir = files.temp_dir()
		files.write(dir .. "/custodians.lua", custodians.file(custodians.make(dir, { "alice", "bob" }), 2))
		node = nodes.start({ env = {
			RECOVERY = dir .. "/custodians.lua", MASTER_SECRET_HEX = ("2a"):rep(32), WRITE_COPIES = "1",
		} })
		app = apps.new(node, "720", "openapi")
		node:register({ app })
		local response = assert(http.get(node.port, "/openapi.json"))
		assert.equal(200, response.status)
		assert.equal("application/json", response.headers["content-type"])
		raw, document = response.body, cjson.decode(response.body)
	end)

	teardown(function()
		node:stop()
		files.remove_dir(dir)
	end)

	-- Each route of the document: call(path, method in capitals, operation).
	local function each(call)
		for path, methods in pairs(document.paths) do
			for method, operation in pairs(methods) do call(path, method:upper(), operation) end
		end
	end

	it("lists what GET / lists", function()
		local listed, count = {}, 0
		for _, line in ipairs(cjson.decode(http.get(node.port, "/").body).endpoints) do
			listed[line:gsub("<key>", "{key}")] = true
			count = count + 1
		end
		each(function(path, method)
			if path == "/" then return end
			assert.is_true(listed[method .. " " .. path], method .. " " .. path)
			count = count - 1
		end)
		assert.equal(0, count)
	end)

	it("names the status that each route answers an empty request with, and other methods are 405", function()
		local asked = 0
		each(function(path, method, operation)
			local target = path:gsub("{key}", "a-key")
			local response = assert(http.request(node.port, { method = method, target = target }))
			assert.is_table(operation.responses[tostring(response.status)], ("%s %s: %d"):format(method, path, response.status))
			local other = assert(http.request(node.port, { method = method == "POST" and "DELETE" or "POST", target = target }))
			if not (document.paths[path].post or document.paths[path].delete) then assert.equal(405, other.status, path) end
			asked = asked + 1
		end)
		assert.is_true(asked >= 22, "routes: " .. asked)
	end)

	describe("under another routes.lua", function()
		local policy, other

		setup(function()
			policy = policies.new()
			policy:write("routes", [[return { api = 1,
				{ method = "GET", path = "/openapi.json", handler = "openapi" },
				{ method = "GET", path = "/ready", handler = "ready" },
				{ method = "GET", path = "/status", handler = "status" },
				extra = { { name = "about", path = "/about", handler = function() return { by = "us" } end } },
			}]])
			other = nodes.start({ env = { POLICY_DIR = policy.dir } })
		end)

		teardown(function()
			other:stop()
			policy:remove()
		end)

		local function paths() return cjson.decode(http.get(other.port, "/openapi.json").body).paths end

		it("has the routes of that file only, and changes with it", function()
			local before = paths()
			assert.is_table(before["/about"].get)
			assert.is_table(before["/ready"].get)
			assert.is_nil(before["/kms/derive"])
			assert.is_nil(before["/"])
			policy:take(other, "routes", [[return { api = 1,
				{ method = "GET", path = "/openapi.json", handler = "openapi" },
				{ method = "GET", path = "/status", handler = "status" },
				{ method = "POST", path = "/kms/derive", handler = "derive", max_body = 9000 },
			}]])
			local after = paths()
			assert.is_nil(after["/about"])
			assert.equal("At most 9000 bytes.", after["/kms/derive"].post.requestBody.description)
		end)
	end)

	describe("judged by a validator:", function()
		local cases, names

		-- Notes a reply, as JSON text, that must be as a schema says.
		local function note(name, instance, of)
			cases[#cases + 1] = ('{"schema":"%s","instance":%s}'):format(name, instance)
			names[#names + 1] = of or name
		end

		local function note_reply(name, response)
			assert.equal(200, response.status, response.body)
			note(name, response.plain or response.body)
		end

		local function run_examples()
			local schemas = document.components.schemas
			for _, name in ipairs({ "Derive", "Put" }) do
				local inner = schemas[name .. "Request"].examples[1]
				note(name .. "Request", cjson.encode(inner))
				note_reply(name .. "Reply", app:call({ method = name == "Put" and "PUT" or "POST",
					target = name == "Put" and "/kms/data" or "/kms/derive", inner = inner }))
			end
			note_reply("Record", app:get("greeting"))
			note_reply("Keys", app:list())
			note_reply("Keys", app:call({ method = "GET", target = "/kms/data?limit=1&prefix=gree" }))
			local inner = schemas.DeleteRequest.examples[1]
			note_reply("DeleteReply", app:call({ method = "DELETE", target = "/kms/data", inner = inner }))
			local session, operations, count = assert(session_client.open(app)), {}, 0
			for i, schema in ipairs(schemas.Operation.oneOf) do operations[i] = schema.examples[1] end
			note("SessionMessage", cjson.encode(operations))
			local answer = session:exchange(cjson.encode(operations))
			note("SessionAnswer", answer)
			for _, result in ipairs(cjson.decode(answer)) do
				assert.equal(200, result.status, result.message)
				count = count + 1
			end
			assert.equal(5, count)
			note("SessionAnswer", session:exchange('{"op":"get","key":"not there"}'))
		end

		local function collect()
			cases, names = {}, {}
			for path, schema in pairs({
				["/"] = "Overview", ["/health"] = "Health", ["/ready"] = "Ready", ["/status"] = "Status", ["/nonce"] = "Nonce",
				["/nodes"] = "Nodes", ["/digest?nonce=" .. NONCE] = "Digest", ["/recovery"] = "Recovery",
				["/recovery/shares?nonce=" .. NONCE] = "RecoveryShares",
			}) do
				note_reply(schema, assert(http.get(node.port, path)))
			end
			note("Error", http.get(node.port, "/nothing").body)
			note("Error", http.request(node.port, { method = "POST", target = "/kms/derive" }).body)
			local keys = app:list()
			assert.equal('"keys":[]', keys.plain:match('"keys":[^,}]*'))
			note_reply("Keys", keys)
			run_examples()
			-- A validator that accepts everything would show nothing.
			note("Ready", '{"ready":1}', "must fail")
			note("SessionMessage", '{"op":"derive","path":"p","length":1025}', "must fail")
		end

		it("the document, its examples, and all replies", function()
			collect()
			if not PYTHON then return pending("the validator is not installed: make openapi") end
			local input = dir .. "/cases"
			files.write(input, raw .. "\n" .. table.concat(cases, "\n") .. "\n")
			local pipe <close> = assert(io.popen(("%s spec/routes/openapi/validate.py <%s 2>&1"):format(PYTHON, input)))
			assert.equal("ok", pipe:read("l"))
			for i, name in ipairs(names) do
				local said = pipe:read("l")
				if name == "must fail" then assert.not_equal("ok", said, cases[i]) else assert.equal("ok", said, cases[i]) end
			end
			assert.is_nil(pipe:read("l"))
		end)
	end)

	it("is not made of what a caller sends", function()
		local response = assert(http.get(node.port, "/openapi.json?x=" .. crypto.hex(crypto.random(8))))
		assert.equal(raw, response.body)
	end)
end)
