--- HTTP/1.1 as the RFCs say: the table of what RFC 9112 and RFC 9110 ask of an origin server, in spec/http/rfc, against
-- a running node over real sockets. Each row has
--
--   section   RFC and section
--   rule      what the server must do
--   send      the bytes of the request; or call: what spec.support.app's App:call takes, with `header`
--   status    of the reply, or of each reply in their order; 100 is one
--   ends      "kept": the connection goes on; "closed": the server closes it and sends nothing more; "any"
--
-- and where it needs them
--
--   headers   name = exact value, or false: it is not there; matches: name = pattern
--   body      pattern of the body
--   at        number of the reply that these are about (1)
--   starts    how the reply's bytes begin
--   is_head   the request is a HEAD; head_of: path whose GET has the same headers, but for a length that
--             varies from one document to the next
--   signed    an application's proof of possession is added to the first head
--   more      bytes that are sent behind a 100
--   finish    the client ends its side
--   limited   the node with short times and low rates
--   from      the client's address, whose rates no other row has used
--   before    a call that comes first

local apps = require("spec.support.app")
local cjson = require("cjson")
local http = require("spec.support.http")
local nodes = require("spec.support.node")

local TOPICS = { "messages", "framing", "semantics" }
local GET = http.format({ target = "/health" })

local node, limited, app

local function head_fields(row, response)
	local fields = {}
	for name, value in pairs(response.headers) do
		if name ~= "date" and not (row.varies and name == "content-length") then fields[name] = value end
	end
	return fields
end

local function check_fields(row, response)
	for name, want in pairs(row.headers or {}) do assert.equal(want or nil, response.headers[name], name) end
	for name, pattern in pairs(row.matches or {}) do
		assert.truthy((response.headers[name] or ""):find(pattern), name .. ": " .. tostring(response.headers[name]))
	end
	if row.body then assert.truthy(response.body:find(row.body), response.body) end
	if row.starts then assert.equal(row.starts, response.raw_head:sub(1, #row.starts)) end
end

local function check_end(row, conn)
	if row.ends == "kept" then
		assert.falsy(conn:text():find("HTTP/", 1, true), "one reply more")
		assert.equal('{"status":"healthy"}', conn:request({ target = "/health" }).body)
	elseif row.ends == "closed" then
		conn:wait_eof()
		assert.equal("", conn:text())
	end
end

-- The bytes with an application's proof of possession in the first head.
local function sign(bytes, about)
	local signer = apps.with_identity(about, "900", app.identity)
	local fields = {}
	for i, header in ipairs((signer:pop({}))) do fields[i] = header[1] .. ": " .. header[2] .. "\r\n" end
	signer:close()
	return (bytes:gsub("\r\n\r\n", function() return "\r\n" .. table.concat(fields) .. "\r\n" end, 1))
end

local function exchange(row)
	local about = row.limited and limited or node
	local conn = assert(http.connect(about.port, { from = row.from }))
	finally(function() conn:close() end)
	conn:write(row.signed and sign(row.send, about) or row.send)
	if row.finish then conn:finish() end
	local statuses = type(row.status) == "table" and row.status or { row.status }
	for i, status in ipairs(statuses) do
		local is_head = row.is_head or row.head_of
		local response = assert(conn:receive({ method = is_head and "HEAD" or nil }))
		assert.equal(status, response.status, response.body)
		if i == (row.at or 1) then check_fields(row, response) end
		if status == 100 then conn:write(row.more) end
		if row.head_of then
			assert.same(head_fields(row, http.get(about.port, row.head_of)), head_fields(row, response))
		end
	end
	check_end(row, conn)
end

local function call(row)
	if row.before then assert.equal(200, app:call(row.before).status) end
	local o = { headers = { row.header } }
	for name, value in pairs(row.call) do o[name] = value end
	local response = app:call(o)
	assert.equal(row.status, response.status, response.body)
	check_end(row, app:connection())
end

describe("HTTP/1.1 as the RFCs say:", function()
	setup(function()
		node = nodes.start()
		limited = nodes.start({ env = {
			HEADER_TIMEOUT_SECONDS = 1, BODY_TIMEOUT_SECONDS = 1, NONCE_RATE_LIMIT_PER_MINUTE = 2,
		} })
		app = apps.new(node, "900", "rfc")
		node:register({ app })
		limited:register({ app })
	end)
	teardown(function()
		node:stop()
		limited:stop()
	end)

	for _, topic in ipairs(TOPICS) do
		for i, row in ipairs(require("spec.http.rfc." .. topic)) do
			it(("%s: %s (%s %d)"):format(row.section, row.rule, topic, i), function()
				if row.call then call(row) else exchange(row) end
			end)
		end
	end

	it("9110 9.3.2: HEAD is tried of every path that the node says it has", function()
		local tried = { ["/kms/data/<key>"] = true }
		for _, row in ipairs(require("spec.http.rfc.semantics")) do
			if row.head_of then tried[row.head_of:match("^[^?]*")] = true end
		end
		for _, endpoint in ipairs(cjson.decode(http.get(node.port, "/").body).endpoints) do
			local path = endpoint:match("^GET (.*)$")
			if path then assert.is_true(tried[path], path) end
		end
	end)

	it("9110 9.3.2: HEAD of a record is its GET without content", function()
		assert.equal(200, app:put("rfc/head", "value").status)
		local heads = {}
		for i, method in ipairs({ "HEAD", "GET" }) do
			local headers = app:pop({})
			local conn = assert(http.connect(node.port))
			conn:write(http.format({ method = method, target = "/kms/data/rfc%2Fhead", headers = headers }) .. GET)
			heads[i] = assert(conn:receive({ method = method }))
			assert.equal('{"status":"healthy"}', conn:receive().body)
			conn:close()
		end
		assert.equal("", heads[1].body)
		assert.equal(heads[2].headers["content-length"], heads[1].headers["content-length"])
		assert.is_true(#heads[2].body > 0)
		for name in pairs(heads[2].headers) do assert.is_string(heads[1].headers[name], name) end
	end)
end)
