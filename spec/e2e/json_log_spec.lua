-- With LOG_FORMAT=json every line that a node prints is a JSON object, also when it does not start.

local cjson = require("cjson")
local files = require("spec.support.files")
local nodes = require("spec.support.node")
local uv = require("luv")
local wait = require("spec.support.wait")

describe("LOG_FORMAT=json", function()
	local dir

	before_each(function() dir = files.temp_dir() end)
	after_each(function() files.remove_dir(dir) end)

	-- Each line as a table; throws where one is none.
	local function read(text)
		local lines = {}
		for line in text:gmatch("[^\n]+") do
			local ok, entry = pcall(cjson.decode, line)
			if not ok or type(entry) ~= "table" then error("no JSON object: " .. line, 2) end
			lines[#lines + 1] = entry
		end
		return lines
	end

	-- Starts a node that is to refuse. Returns the reasons that it gave.
	local function refused(env, options)
		options = options or {}
		local code, out, err = nodes.serve(dir, { args = options.args, port = options.port, env = env })
		assert.is_true(code ~= nil and code ~= 0)
		assert.equal("", out)
		local reasons = {}
		for _, entry in ipairs(read(err)) do
			if entry.event == "cannot start" then
				assert.equal("error", entry.level)
				reasons[#reasons + 1] = entry.reason
			end
		end
		return reasons
	end

	local function says(reasons, ...)
		assert.equal(select("#", ...), #reasons, table.concat(reasons, "\n"))
		for i, text in ipairs({ ... }) do assert.truthy(reasons[i]:find(text, 1, true), reasons[i]) end
	end

	it("holds for values that are not valid, and for rules between them", function()
		says(refused({ MAX_KEY_BYTES = "many", THREADS = "x" }), "THREADS", "MAX_KEY_BYTES")
		says(refused({ MASTER_SECRET_HEX = "short" }), "MASTER_SECRET_HEX")
		assert.is_true(#refused({ IN_ENCLAVE = "true", TEE = "sim" }) > 0)
	end)

	it("holds for a file that cannot be read, and where the file says it", function()
		local path = dir .. "/node.lua"
		says(refused({}, { args = { "--config", path } }), path)
		files.write(path, "return {")
		says(refused({}, { args = { "--config", path } }), path)
		files.write(path, "return { LOG_FORMAT = 'json', MAX_KEY_BYTES = 'x' }")
		says(refused({ LOG_FORMAT = false }, { args = { "--config", path } }), "MAX_KEY_BYTES")
	end)

	it("holds for a port that is taken", function()
		local taken = uv.new_tcp()
		assert(taken:bind("127.0.0.1", 0))
		assert(taken:listen(1, function() end))
		local port = taken:getsockname().port
		says(refused({}, { port = port }), "127.0.0.1:" .. port)
		taken:close()
	end)

	it("holds for a folder that another node uses, and for one that cannot be", function()
		local node = nodes.start({ dir = dir, env = { TEE = "sim" } })
		finally(function() node:stop() end)
		says(refused({ TEE = "sim" }), "another node uses it")
		files.write(dir .. "/file", "x")
		assert.equal(1, #refused({ DATA_DIR = dir .. "/file" }))
	end)

	it("holds for policies with mistakes", function()
		local policies = files.temp_dir()
		finally(function() files.remove_dir(policies) end)
		files.write(policies .. "/access.lua", "return {\n\tderive = function(")
		says(refused({ POLICY_DIR = policies }), "access.lua:2")
		says(refused({ POLICY_DIR = policies .. "/nowhere" }), "is not a folder")
	end)

	it("holds for a node that starts, serves and stops, with numbers as numbers", function()
		local node = nodes.start({ dir = dir, env = { LOG_LEVEL = "debug" } })
		node:wait_log('"event":"serving"')
		node:stop()
		assert.equal("", node:output())
		local seen = {}
		for _, entry in ipairs(read(node:log())) do
			seen[entry.event] = entry
			for _, name in ipairs({ "locked_bytes", "ms", "status" }) do
				if entry[name] ~= nil then assert.equal("number", type(entry[name])) end
			end
		end
		assert.equal("http://127.0.0.1:" .. node.port, seen.serving.url)
		assert.truthy(seen.listening and seen.stopped)
	end)

	it("leaves text as it was: a line for people", function()
		local code, _, err = nodes.serve(dir, { env = { LOG_FORMAT = "text", THREADS = "x" } })
		assert.is_true(code ~= 0)
		assert.truthy(err:find("^nova%-kms: variable THREADS: [^\n]*\n$"), err)
		local node = nodes.start({ dir = dir, env = { LOG_FORMAT = "text" } })
		local said = wait.until_true("the line", function()
			local output = node:output()
			return output:find("\n.*\n") and output
		end)
		node:stop()
		assert.truthy(said:find("is ready on http://127.0.0.1:" .. node.port, 1, true), said)
	end)
end)
