--- A simulated network, in the place of kms.http.fetch: calls between nodes of one process that are delayed,
-- lost, repeated, reordered and cut off, as a schedule says.

local cjson = require("cjson.safe")
local http_head = require("spec.support.http_head")
local inbound = require("kms.http.inbound")
local loop = require("spec.simulate.virtual_loop")
local substitutes = require("spec.simulate.substitutes")
local trace = require("spec.simulate.trace")
local wakeup = require("kms.async.wakeup")

local M = {}

local DEFAULT_TIMEOUT_MS, DEFAULT_CONNECT_MS = 10000, 5000

-- nodes by host; cuts: "1:2" = true where nothing gets from 1 to 2; call_cuts: where 1 cannot call 2, whose own calls
-- it answers; random(n) -> 0 to n - 1; chances in a thousand: lose, again; delay_ms {least, most}
local network

--- Sets the network that calls go through.
function M.use(made)
	network = made
end

local function is_cut(from, to)
	return network.cuts[from.index .. ":" .. to.index] == true
end

local function delay()
	return network.delay_ms[1] + network.random(network.delay_ms[2] - network.delay_ms[1] + 1)
end

local function chance(permille)
	return network.random(1000) < permille
end

-- Runs fn as a node's code after a delay; not at all when the node has crashed by then.
local function later(node, ms, fn)
	local before = loop.running
	loop.running = node
	loop.after(ms, fn)
	loop.running = before
end

local function lower(headers)
	local copy = {}
	for name, value in pairs(headers or {}) do copy[name:lower()] = value end
	return copy
end

-- The request as the node's routes see it.
local function inbound_of(node, text, headers)
	-- What the opening of a session signs.
	local signed = { ["X-KMS-Nonce"] = headers["x-kms-nonce"], ["X-KMS-Timestamp"] = headers["x-kms-timestamp"] }
	local head, read = http_head(text, signed, true)
	substitutes.headers_of[head] = headers
	local request = { head = head, has_body = true, remote = "192.0.2.1", length = #text }
	function request.exempt() end
	function request:header(name) return headers[name] end -- luacheck: no self
	function request.read_body()
		read()
		return true
	end
	local made = inbound.new(request, nil, false)
	made.limit_address, made.max_body, made.route = nil, node.parts.config.MAX_SYNC_PAYLOAD_BYTES, {}
	return made
end

-- Returns status, headers, text.
local function serve(node, path, text, headers)
	if path == "/nonce" then return 200, {}, cjson.encode({ nonce = node.parts.nonces:issue() }) end
	local route = node.parts.routes:match("POST", path)
	if not route then return 404, {}, "{}" end
	local reply = route.handler(inbound_of(node, text, headers))
	return reply.status, lower(reply.headers), substitutes.text_of(reply.body)
end

-- Delivers a request to a node that is up, and its reply to the caller.
local function deliver(call, sender, receiver)
	if receiver.state == "down" then
		later(sender, delay(), function() call:ended(nil, "connection refused", "ERR_CONNECT") end)
		return
	end
	later(receiver, 0, function()
		loop.spawn(function()
			local status, headers, text = serve(receiver, call.path, call.text, call.headers)
			network.bytes = network.bytes + #call.text + #text
			trace.note("%d %d>%d %s %d: %s %d", loop.now(), sender.index, receiver.index, call.path, #call.text, status, #text)
			if is_cut(receiver, sender) or chance(network.lose) then return end
			later(sender, delay(), function() call:ended(status, headers, text) end)
		end)
	end)
end

local function new_call(options, sender)
	local life = sender.life
	local call = { waiter = wakeup.new(), headers = lower(options.headers), text = "" }
	call.host, call.path = options.url:match("^http://([^/]+)(/.*)$")
	if options.body then call.text = substitutes.text_of(options.body) end
	function call:ended(...)
		if self.result or sender.life ~= life then return end
		self.result = table.pack(...)
		self.waiter:wake()
	end
	return call
end

--- As kms.http.fetch.
function M.request(options)
	local sender = loop.running
	local call = new_call(options, sender)
	local receiver = network.nodes[call.host]
	-- A reply comes as a whole or not at all.
	local timeout_ms = math.min(options.timeout_ms or DEFAULT_TIMEOUT_MS, (options.stall_s or 3600) * 1000)
	if is_cut(sender, receiver) or network.call_cuts[sender.index .. ":" .. receiver.index] then
		timeout_ms = math.min(timeout_ms, options.connect_timeout_ms or DEFAULT_CONNECT_MS)
	elseif not chance(network.lose) then
		later(nil, delay(), function() deliver(call, sender, receiver) end)
		if chance(network.again) then later(nil, 4 * delay(), function() deliver(call, sender, receiver) end) end
	end
	call.waiter:wait(timeout_ms)
	if not call.result then
		call:ended(nil, "no reply in time", "ERR_TIMEOUT")
	end
	local status, headers, text = table.unpack(call.result, 1, 3)
	if not status then return nil, headers, text end
	local body = options.handle and (status < 300 and substitutes.body(text) or "") or text
	return { status = status, headers = headers, body = body }
end

--- As kms.http.fetch.
function M.json(options)
	local response, message, code = M.request(options)
	if not response then return nil, message, code end
	response.value = cjson.decode(response.body)
	return response
end

package.loaded["kms.http.fetch"] = M

return M
