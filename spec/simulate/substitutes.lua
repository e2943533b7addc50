--- What a simulation replaces, and nothing else: the event loop, its clock and its beat (virtual), the HTTP client (a
-- simulated network), ECDSA (the network names the sender) and the authentication of applications. Stores, sync
-- messages, envelopes, sessions with their cryptography, peers, bans, pushes, bootstrap, readiness and routes are the
-- node's own. To be required before anything that uses kms.base.loop.

-- Lua's order of keys is another one in each process.
require("spec.simulate.ordered_pairs")
local virtual_loop = require("spec.simulate.virtual_loop")
package.loaded["kms.base.loop"] = virtual_loop
-- A process has one beat; here each node has its own, which ends with it.
package.loaded["kms.base.beat"] = {
	SECONDS = require("kms.base.beat").SECONDS,
	every = function(seconds, fn) return virtual_loop.every(math.floor(seconds * 1000), fn) end,
	shortened_ms = function(ms) return ms end,
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

-- @param name of a class of native objects
local function inline_methods(name)
	local methods = debug.getregistry()[name].__index
	for method_name, method in pairs(methods) do
		methods[method_name] = function(...) return inline(method, ...) end
	end
end

local M = {}

--- What the headers of a request said, by its parser.
M.headers_of = setmetatable({}, { __mode = "k" })

--- A body as the HTTP client gives it: text that native.envelope reads.
function M.body(text)
	return {
		text = text, close = function() end, len = function() return #text end,
		slice = function(_, first, last) return text:sub(first, last) end,
	}
end

--- Bytes of a body that is public.
function M.text_of(body)
	if type(body) == "string" then return body end
	local text = body.text or body:slice(1, body:len())
	body:close()
	return text
end

for _, name in ipairs({
	"envelope", "master_seal", "p384_generate", "seal", "sync_mac", "sync_parse", "sync_parse_base64",
}) do
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

-- That an answer is one to this opening, its keys show: they come from both.
function native.session_answer_check(signature, _, wallet)
	return native.response_check(signature, nil, wallet)
end

function native.mono_ms() return virtual_loop.now() + (1 << 20) end

local authenticate = {}
function authenticate.new()
	return { app = function(_, request) return request.caller end }
end
package.loaded["kms.auth.authenticate"] = authenticate

for _, name in ipairs({
	"envelope", "sync", "store", "digest", "service", "sessions", "session", "session_opening", "session_offer",
	"session_caller", "member_message",
}) do
	inline_methods("kms." .. name)
end

local caller = debug.getregistry()["kms.session_caller"].__index
local open = caller.open
function caller.open(session, seq, body)
	return open(session, seq, native.text_body(body.text))
end

return M
