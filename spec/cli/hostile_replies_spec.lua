-- What commands print of a node that says anything but what it should: never what controls a terminal, nor a trace.

local cjson = require("cjson")
local cli = require("kms.cli")
local files = require("spec.support.files")
local fixture = require("spec.support.http_server")
local http = require("kms.http.server")
local native = require("spec.support.native")

local ESCAPES = "\27]0;title\7\194\155\226\128\174"
local ODD = { ESCAPES, 1e308, -1e308, 0.5, true, cjson.null, {}, { { 1 } } }

describe("a hostile node's reply", function()
	local dir, url, path, body, servers

	setup(function()
		dir = files.temp_dir()
		local function reply() return 200, nil, body end
		local server, port = fixture.service(reply)
		local control = http.new({ handler = reply, config = fixture.config() })
		url, path, servers = "http://127.0.0.1:" .. port, dir .. "/sock", { server, control }
		assert(control:listen_unix(path))
	end)
	teardown(function()
		for _, server in ipairs(servers) do server:stop(function() end) end
		files.remove_dir(dir)
	end)

	-- Runs a command in this process, whose loop serves it too. Returns what it prints on both streams.
	local function run(...)
		local parts = {}
		local stream = { flush = function() end }
		function stream:write(...)
			for i = 1, select("#", ...) do parts[#parts + 1] = tostring((select(i, ...))) end
			return self
		end
		cli.main({ ... }, {
			stdout = stream, stderr = stream, env = function() end, root = ".", native = function() return native end,
		})
		return table.concat(parts)
	end

	local function check(out, what)
		assert.is_nil(out:find("[%z\1-\9\11-\31\127]"), what)
		assert.is_nil(out:find("\194[\128-\159]"), what)
		assert.is_nil(out:find("\226\128\174", 1, true), what)
		assert.is_nil(out:find(".lua:", 1, true), what)
	end

	-- Calls fn with the page in which each member in turn is something odd.
	local function with_odd(page, part, fn, name)
		for key, value in pairs(part) do
			for _, odd in ipairs(ODD) do
				part[key] = odd
				body = cjson.encode(page)
				fn(("%s.%s: %s"):format(name, key, body))
			end
			part[key] = value
			if type(value) == "table" then with_odd(page, value, fn, name .. "." .. key) end
		end
	end

	it("does not control the terminal with --json, raw or in valid JSON", function()
		body = '{"node":{"a":"' .. ESCAPES .. '"},"operators":[]}'
		for _, command in ipairs({ "status", "nodes" }) do
			local out = run(command, "--url", url, "--json")
			check(out, command)
			assert.equal(ESCAPES, cjson.decode(out).node.a)
		end
		for _, command in ipairs({ "peers", "top" }) do
			local out = run(command, "--socket", path, "--json", table.unpack(command == "top" and { "--count", "1" } or {}))
			check(out, command)
			assert.equal(ESCAPES, cjson.decode(out).node.a)
		end
	end)

	it("is printed as a page of something else is: in words, without a trace", function()
		local pages = {
			status = {
				node = { tee_wallet = "0x", master_secret = { state = "synced" } }, cluster = { kms_app_id = 1 },
				data_store = {},
			},
			nodes = { operators = { { instance = { tee_wallet = "0x", instance_url = "http://a" } } } },
		}
		for command, page in pairs(pages) do
			with_odd(page, page, function(what) check(run(command, "--url", url), what) end, command)
		end
	end)

	it("does not end top and peers with a trace", function()
		local member = {
			wallet = "0x", state = "ok", acknowledged = 1, repair = { lag_s = 1 }, bans = { { event = "a", left_s = 1 } },
		}
		local facts = {
			up_ms = 1, now_ms = 1, running = 1, connections = 1, requests = { by_route = { a = 1 }, by_code = {} },
			custodians = { threshold = 1, list = { { checked_at_ms = 1 } } }, chain = { head_age_ms = 1, view_age_ms = 1 },
			guarded = { used = 1, size = 2 }, limits = { connections = 1, store_bytes = 1 },
			sessions = { applications = 1, members = 1 }, store = { total_bytes = 1, evictions = 1 }, members = { member },
			status = {
				node = {}, data_store = { total_keys = 1, namespaces = 1 }, sync = { sequence = 1 },
				policy = { last_error = { first = "a" } },
			},
		}
		with_odd(facts, facts, function(what) check(run("top", "--count", "1", "--socket", path), what) end, "top")
		local page = { peers = { member }, sequence = 1 }
		with_odd(page, page, function(what) check(run("peers", "--socket", path), what) end, "peers")
		for _, other in ipairs({ "1", "null", '"a"', "true" }) do
			body = other
			check(run("top", "--count", "1", "--socket", path), other)
			assert.truthy(run("peers", "--socket", path):find("not a JSON object", 1, true))
		end
	end)
end)
