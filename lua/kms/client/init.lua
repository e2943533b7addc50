--- An application's operations on a node, or on one of several: through sessions, and in version 1 of the protocol
-- with nodes that prove that they have none (docs/protocol.md section 15.5).
-- Secrets stay in C (include/kms/client.h, client_session.h); this module moves what is encrypted or public. Calls
-- yield the running coroutine. Several may run at the same time.

local batch = require("kms.client.batch")
local delivery = require("kms.client.delivery")
local failure = require("kms.client.failure")
local identity = require("kms.base.identity")
local memory = require("kms.client.memory")
local node_of = require("kms.client.node")

local M = {}

local PAGE_KEYS = 10000 -- asked for at once

local Client = {}
Client.__index = Client

--- Reads one of the node's public pages.
-- @param options  url; timeout_ms (10000)
-- @param path  "/status", "/nodes"
-- @return response of kms.http.fetch: the object in `value`, its JSON in `body` | nil, message, code, HTTP
--   status and seconds of Retry-After where the node refused
function M.page(options, path)
	return node_of.at(options):get_json(path)
end

--- A client of a node, or of several, of which it calls one and goes on to the next on trouble. Without node_wallet and
-- node_pubkey it trusts the identity that a node's /status names, so the network path must be trusted at that moment.
-- @param options  url, node_wallet, node_pubkey (hex, or nil), or nodes: a list of tables of these three; seed: handle;
--   timeout_ms of each request (10000); wall_s: function that returns Unix seconds (the clock's); memory:
--   kms.client.memory (of this client alone); allow_v1 (false): speak version 1 where no session can be opened,
--   also with a node that had sessions; retry_writes (false): send a put or delete again whose answer did not come,
--   or, told to wait for busy nodes, one that got 503, though it may overwrite what others wrote since; require_pop:
--   in version 1, the nodes are known to repeat `pop`, so a reply without it is refused (a client also requires it of a
--   node that has repeated it once)
-- @return client | nil, message, code, HTTP status and seconds of Retry-After: no node could be asked who it is
function M.open(options)
	local keys, message, code = identity.of(options.seed)
	if not keys then return nil, message, code end
	local with_memory = setmetatable({ memory = options.memory or memory.new() }, { __index = options })
	local self = setmetatable({ delivery = delivery.new(keys, with_memory) }, Client)
	local ok, why = self.delivery:connect()
	if not ok then return failure.unpack(why) end
	return self
end

--- Erases the keys of sessions; those with answers under way when these have come.
function Client:close()
	self.delivery:close()
end

-- ---- operations ---------------------------------------------------------------------------------------------

--- Runs operations in their order, in as few messages as they fit, also in this process's guarded memory. One that
-- fails stops no other; where a message gets no authentic answer, those of later messages are not sent.
-- @param operations  list of { kind, fields }, as Client:call takes them
-- @param done  function(position, outcome), called for each in their order as soon as it is known; what it is given is
--   not kept; or nil
-- @param busy  function(message, seconds), called where nodes are too busy for operations: waits, and returns whether
--   to send these again; or nil: they are not. A put or delete that got 503 may have been made: it is sent again with
--   retry_writes alone
-- @return without `done`: list, in the same order, of { result } (as Client:call returns it), or { message, code,
--   status, wait_s }, with `exchange` where the node refused in a session
function Client:batch(operations, done, busy)
	return batch.run(self.delivery, operations, done, busy)
end

--- Calls the node once; in a session, reads and derivations up to three times again.
-- @param kind  "derive", "put", "delete", "get" or "list"
-- @param fields  derive: path, context, length; put: key, value (text, or the handle that native.value_read gave),
--   ttl_ms; delete and get: key; list: prefix, after, limit (keys of a page; none of the three: all keys), and the
--   result has `next` when more keys follow
-- @param busy  as Client:batch takes it
-- @return the result's fields that are not secret; `exchange`, a member of theirs, gives out the secret ones by
--   its method write | nil, message, code, HTTP status, seconds of Retry-After: ERR_REFUSED (the node refused),
--   ERR_UNVERIFIED (what came is not provably the node's), ERR_SESSION (no session, or plain answers in one: they prove
--   nothing), ERR_OUTCOME (a put or delete may have been done or not)
function Client:call(kind, fields, busy)
	local outcome = self:batch({ { kind = kind, fields = fields } }, nil, busy)[1]
	if outcome.result then return outcome.result end
	return failure.unpack(outcome)
end

local function matching(keys, prefix)
	local list = {}
	for _, key in ipairs(keys) do
		if key:sub(1, #prefix) == prefix then list[#list + 1] = key end
	end
	return list
end

--- Gets all keys, page after page. A node that knows no pages sends all of its keys at once; those without the
-- prefix are dropped here.
-- @param prefix  that the keys start with, or nil
-- @param each  function(keys, exchange) for each page
-- @return true | nil, message, code, HTTP status, seconds of Retry-After, as Client:call
function Client:list(prefix, each)
	local after
	repeat
		local fields = { prefix = prefix, after = after, limit = PAGE_KEYS }
		local result, message, code, status, wait_s = self:call("list", fields)
		if not result then return nil, message, code, status, wait_s end
		each(matching(result.keys, prefix or ""), result.exchange)
		if result.next and after and result.next <= after then
			return nil, "the node's pages do not end", "ERR_UNVERIFIED"
		end
		after = result.next
	until not after
	return true
end

return M
