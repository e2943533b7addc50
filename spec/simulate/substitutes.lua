--- What a simulation replaces, and nothing else: the event loop, its clock and its beat (virtual), the HTTP client (a
-- simulated network), ECDSA (the network names the sender) and the authentication of applications. Stores, sync
-- messages, envelopes, peers, bans, pushes, bootstrap, readiness and routes are the node's own. To be required
-- before anything that uses kms.base.loop.

-- Lua's order of keys is another one in each process.
require("spec.simulate.ordered_pairs")
local virtual_loop = require("spec.simulate.virtual_loop")
package.loaded["kms.base.loop"] = virtual_loop
-- A process has one beat; here each node has its own, which ends with it.
package.loaded["kms.base.beat"] = {
	SECONDS = require("kms.base.beat").SECONDS,
	every = function(seconds, fn) return virtual_loop.every(math.floor(seconds * 1000), fn) end,
}
-- What waits for real time would never happen here.
require("luv").new_timer = function() error("a timer that the simulation does not know", 2) end

local crypto = require("spec.support.crypto")
local http_head = require("spec.support.http_head")
local native = crypto.native

-- Calls fn where it cannot yield, so that native work runs inline and not on a thread pool.
local function inline(fn, ...)
	local arguments, results = table.pack(...), nil
	string.gsub("x", "x", function()
		results = table.pack(fn(table.unpack(arguments, 1, arguments.n)))
	end)
	return table.unpack(results, 1, results.n)
end

local function inline_methods(object)
	local methods = debug.getmetatable(object).__index
	for name, method in pairs(methods) do
		methods[name] = function(...) return inline(method, ...) end
	end
end

local M = {}

--- What the headers of a request said, by its parser.
M.headers_of = setmetatable({}, { __mode = "k" })

--- A body as the HTTP client gives it: text that native.envelope reads.
function M.body(text)
	return { text = text, close = function() end, len = function() return #text end }
end

--- Bytes of a body that is public.
function M.text_of(body)
	if type(body) == "string" then return body end
	local text = body.text or body:slice(1, body:len())
	body:close()
	return text
end

for _, name in ipairs({ "envelope", "master_seal", "p384_generate", "seal", "sync_mac", "sync_parse" }) do
	local fn = native[name]
	native[name] = function(...) return inline(fn, ...) end
end

local envelope = native.envelope
function native.envelope(source, ...)
	if type(source) == "table" then source = http_head(source.text) end
	return envelope(source, ...)
end

function native.response_check(signature, _, wallet)
	if signature == wallet then return true end
	return nil, "made by another wallet", "ERR_SIGNATURE"
end

function native.mono_ms() return virtual_loop.now() + (1 << 20) end

local authenticate = {}
function authenticate.new()
	return { app = function(_, request) return request.caller end }
end
package.loaded["kms.auth.authenticate"] = authenticate

local wallet, p384 = native.identity(native.secret_random(32))
local channels = native.channels(4)
local store = native.store({ self = wallet:address() })
local sealed = native.seal(native.text_body('{"data":{}}'), p384, channels, native.peer_point(p384:public_der()))
local opened = native.envelope(M.body(M.text_of(sealed)), native.peer_point(p384:public_der()))
inline_methods(opened)
inline_methods(assert(native.sync_parse(opened:open(p384, channels, "wiped"))))
inline_methods(store)
assert(store:tree_key(native.secret_random(32)))
inline_methods(assert(store:digest(0, 0)))
inline_methods(native.service({
	self = wallet:address(), nonces = native.nonces(120), channels = channels, store = store, max_value = 1 << 20,
	max_key = 4096, max_list = 1 << 20, pop_window_s = 120,
}))

return M
