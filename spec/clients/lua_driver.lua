-- The driver of the Lua client for the table of cases (README.md): lua5.4 lua_driver.lua PACKAGE_PATH PACKAGE_CPATH

package.path, package.cpath = arg[1], arg[2]

local native = require("kms_native")
assert(native.init(8 << 20)) -- bytes of guarded memory

local cjson = require("cjson")
local client = require("kms.client")
local json = require("kms.base.json")
local memory = require("kms.client.memory")
local uv = require("luv")

-- ---- outcomes ---------------------------------------------------------------------------------------------

local TYPES = {
	ERR_OUTCOME = "outcome_unknown", ERR_UNVERIFIED = "protocol", ERR_CONNECT = "unavailable", ERR_TIMEOUT = "unavailable",
	ERR_RESOLVE = "unavailable", ERR_TLS = "unavailable", ERR_HTTP = "unavailable", ERR_ANSWER = "protocol",
	ERR_JSON = "protocol", ERR_TOO_LARGE = "protocol", ERR_ADDRESS = "protocol", ERR_PEER_KEY = "protocol",
}
local BUSY = { [429] = true, [503] = true }

local function type_of(code, status)
	if (code == "ERR_REFUSED" or code == "ERR_SESSION") and BUSY[status] then return "unavailable" end
	if code == "ERR_REFUSED" then return status == 404 and "not_found" or "refused" end
	if code == "ERR_SESSION" then return "no_session" end
	return TYPES[code] or "invalid"
end

local function failed(message, code, status, wait_s)
	local answer = { error = type_of(code, status), message = message, status = status, retry_after_s = wait_s }
	-- Words of a refusal: "HTTP 404 not_found: ...", in version 1 with a reason behind the code.
	if code == "ERR_REFUSED" then answer.code = message:match("^HTTP %d+ ([%w_]+)") end
	return answer
end

-- The inner reply, as JSON.
local function content(exchange)
	local path = os.tmpname()
	local fd = assert(uv.fs_open(path, "w+", 384))
	assert(exchange:write(fd, "json"))
	local text = assert(uv.fs_read(fd, assert(uv.fs_fstat(fd)).size, 0))
	uv.fs_close(fd)
	os.remove(path)
	exchange:close()
	return cjson.decode(text)
end

local function answer_of(outcome)
	if outcome.result then return { ok = content(outcome.result.exchange) } end
	return failed(outcome.message, outcome.code, outcome.status, outcome.wait_s)
end

-- ---- operations -------------------------------------------------------------------------------------------

-- A value as a handle, since a put takes any bytes: through a file, as from the command line.
local function value_of(base64)
	local path = os.tmpname()
	local file = assert(io.open(path, "wb"))
	file:write((assert(native.base64_decode(base64))))
	file:close()
	local value, message, code = native.value_read(path)
	os.remove(path)
	return value, message, code
end

local function operation_of(line)
	local fields = {}
	for name, value in pairs(line) do
		if name ~= "do" then fields[name] = math.tointeger(value) or value end
	end
	if fields.value then
		local message, code
		fields.value, message, code = value_of(fields.value)
		if not fields.value then return nil, message, code end
	end
	return { kind = line["do"], fields = fields }
end

local state = {}

local function identity(seed)
	local path = os.tmpname()
	local file = assert(io.open(path, "w"))
	file:write(seed, "\n")
	file:close()
	assert(uv.fs_chmod(path, 384))
	local handle, message, code = native.seed_load(path)
	os.remove(path)
	return handle, message, code
end

local COMMANDS = {}

function COMMANDS.open(line)
	if state.client then state.client:close() end
	state = {}
	local seed, message, code = identity(line.seed)
	if not seed then return failed(message, code) end
	local known
	if line.known_nodes then
		known, message, code = memory.open(line.known_nodes, function(why) io.stderr:write(why, "\n") end)
		if not known then return failed(message, code) end
	end
	local nodes = {}
	for i, node in ipairs(line.nodes) do
		nodes[i] = { url = node.url, node_wallet = node.wallet, node_pubkey = node.pubkey }
	end
	state.options = {
		nodes = nodes, seed = seed, timeout_ms = line.timeout_ms, allow_v1 = line.allow_v1, retry_writes = line.retry_writes,
		require_pop = line.require_pop, memory = known,
	}
	return { ok = {} }
end

-- Connects at the first operation. Returns client | nil, answer.
local function connected()
	if state.client then return state.client end
	local opened, message, code, status, wait_s = client.open(state.options)
	state.client = opened
	return opened, opened == nil and failed(message, code, status, wait_s) or nil
end

function COMMANDS.batch(line)
	local caller, failure = connected()
	if not caller then return failure end
	local operations = {}
	for i, operation in ipairs(line.operations) do
		local made, message, code = operation_of(operation)
		if not made then return failed(message, code) end
		operations[i] = made
	end
	local answers = {}
	for i, outcome in ipairs(caller:batch(operations)) do answers[i] = answer_of(outcome) end
	return { ok = json.list(answers) }
end

function COMMANDS.list_all(line)
	local caller, failure = connected()
	if not caller then return failure end
	local all = {}
	local ok, message, code, status, wait_s = caller:list(line.prefix, function(keys)
		table.move(keys, 1, #keys, #all + 1, all)
	end)
	if not ok then return failed(message, code, status, wait_s) end
	return { ok = { keys = json.list(all) } }
end

local function single(line)
	local caller, failure = connected()
	if not caller then return failure end
	local operation, message, code = operation_of(line)
	if not operation then return failed(message, code) end
	return answer_of(caller:batch({ operation })[1])
end

local function run(line)
	-- What the client takes for the mistake of a programmer, it throws.
	local ok, answer = pcall(COMMANDS[line["do"]] or single, line)
	return ok and answer or { error = "invalid", message = tostring(answer) }
end

for text in io.lines() do
	local answer
	coroutine.wrap(function() answer = run(cjson.decode(text)) end)()
	while not answer do uv.run("once") end
	io.stdout:write(json.encode(answer), "\n")
	io.stdout:flush()
end
if state.client then state.client:close() end
uv.run("nowait")
