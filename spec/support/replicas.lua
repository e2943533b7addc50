--- Members in one process: their own stores, messages, replies and repair, joined by a function call in place of a
-- network. What they send to each other is counted.

local assert = require("luassert")
local cjson = require("cjson")
local crypto = require("spec.support.crypto")
local json = require("kms.base.json")
local liveness = require("kms.peers.liveness")
local loop = require("kms.base.loop")
local message = require("kms.sync.message")
local repair = require("kms.sync.repair")
local replies = require("kms.sync.replies")
local wait = require("spec.support.wait")

local native = crypto.native
local M = {}

M.START_MS = 1700000000000
M.APP = "49"

local INTERVAL_MS = 10000
local TIMEOUT_MS = 30000 -- of a call
local MASTER = ("m"):rep(32)
local SIGNATURE = "0x" .. ("5"):rep(130) -- as long as a real one
local WRITER = 9 -- the member that has written all records

local function quiet() end
local LOG = { debug = quiet, info = quiet, warn = quiet, error = quiet, limited = quiet }

--- The wallet of the member with this number.
function M.wallet_of(index)
	return "0x" .. ("%040x"):format(index)
end

-- The secret with these bytes, as a newcomer gets it.
local function master_secret()
	local key = assert(native.p384_generate())
	local sealed = crypto.seal_secret(MASTER, native.hex_encode(key:public_der()))
	local text = cjson.encode({ status = "ok", sealed = sealed })
	return assert(assert(native.sync_parse(native.text_body(text))):unseal(key))
end

local Replicas = {}
Replicas.__index = Replicas

-- The reply of a member that claims other counts than those of its merges.
local function with_claims(inner, claims)
	local liar = setmetatable({}, { __index = function(_, name)
		return function(_, ...) return inner[name](inner, ...) end
	end })
	function liar.counts() return claims end
	return liar
end

-- What `from` sends to `to`, and its reply.
local function exchange_one(self, from, to, peer, build)
	local is_sealed = self.in_sessions
	local parse = is_sealed and native.sync_parse_base64 or native.sync_parse
	local body = assert(build(is_sealed and { base64 = true } or { pop = SIGNATURE }))
	self.calls, self.sizes[#self.sizes + 1] = self.calls + 1, body:len()
	-- In its envelope, a body is twice as long.
	local took_ms = self.call_ms
	if self.bytes_per_s then took_ms = took_ms + (is_sealed and 1000 or 2000) * body:len() // self.bytes_per_s end
	self.now = self.now + math.min(took_ms, TIMEOUT_MS)
	if took_ms > TIMEOUT_MS then return nil, "no reply in time", "ERR_TIMEOUT" end
	if self.faults[to.index] then return self.faults[to.index](peer) end
	local opened = assert(parse(body))
	liveness.has_called(to.peer_of[from.index], self.now)
	local reply, text, code = to.replies:reply("digest", opened, {
		peer = to.peer_of[from.index], secret = to.secret, proof = is_sealed and {} or { pop = SIGNATURE },
		is_sealed = is_sealed,
		stands = function() return true end,
	})
	if not reply then return nil, text, code end
	self.sizes[#self.sizes + 1] = reply:len()
	local inner = assert(parse(reply))
	self.replied_ms = inner:time()
	return to.claims and with_claims(inner, to.claims) or inner
end

local function call(self, from, to, peer, build)
	local inner, text, code = exchange_one(self, from, to, peer, build)
	if inner then liveness.has_answered(peer, self.now) else liveness.has_failed(peer) end
	return inner, text, code
end

local function peers_of(self, member)
	local peers, list = {}, nil
	function peers.others()
		if list then return list end
		list = {}
		for i, other in ipairs(self.members) do if other ~= member then list[#list + 1] = member.peer_of[i] end end
		return list
	end
	function peers.callable(_, peer) return not peer.banned end
	function peers.understands(_, peer, feature) return peer.features[feature] == true end
	function peers.report(_, peer, event) member.reported[#member.reported + 1] = { peer.wallet, event } end
	peers.record = peers.report
	return peers
end

local function exchange_of(self, member, peers)
	local exchange = {}
	function exchange.call(_, peer, build) return call(self, member, self.members[peer.index], peer, build) end
	function exchange.uses_session() return self.in_sessions end
	function exchange.wall_ms() return M.START_MS + self.now end
	function exchange.distrust(_, peer, text)
		peers:report(peer, "bad_envelope")
		return text, "ERR_UNVERIFIED"
	end
	return exchange
end

local function new_member(self, index)
	local member = { index = index, secret = self.secret, ready = true, reported = {}, peer_of = {} }
	local function mono_ms() return self.now end
	local function wall_ms() return M.START_MS + self.now end
	member.store = assert(native.store({ self = M.wallet_of(index) }))
	local peers, writer = peers_of(self, member), message.writer(M.wallet_of(index), ("%032x"):format(index), wall_ms)
	member.peers = peers
	member.replies = replies.new({
		store = member.store, log = LOG, wall_ms = wall_ms, mono_ms = mono_ms, peers = peers, writer = writer,
		evidence = {}, readiness = {}, config = {}, absence = {}, gateway = { accept = function() return false end },
		audit = require("spec.support.audit").new(),
		existing = { fetch_later = quiet }, new_apps = { of_delta = function(_, received) received:admit(1) end },
	})
	member.repair = repair.new({
		exchange = exchange_of(self, member, peers), writer = writer, peers = peers, store = member.store, log = LOG,
		mono_ms = mono_ms, wall_ms = wall_ms, secret = function() return member.secret end,
		is_ready = function() return member.ready end, accept = function(received) received:admit(1) end,
		settings = function() return { interval = INTERVAL_MS // 1000, max_bytes = 4 << 20 } end, max_body_bytes = 50 << 20,
	})
	return member
end

-- A record as it travels. Each one is newer than those before it.
local function record(self, key, bytes, dead)
	self.counter = self.counter + 1
	local value = "value " .. self.counter
	if bytes then value = (value .. ";"):rep(bytes):sub(1, bytes) end
	local stamp = M.START_MS - 10000000 + self.counter
	return ('{"key":"%s","value":%s,"tombstone":%s,"ttl_ms":0,"updated_at_ms":%d,"version":{"%s":%d}}'):format(key,
		dead and "null" or '"' .. native.hex_encode(crypto.record(MASTER, M.APP, value)) .. '"', tostring(dead or false),
		stamp, M.wallet_of(WRITER), stamp)
end

local function merge(self, member, records)
	local text = ('{"type":"delta","data":{"%s":[%s]}}'):format(M.APP, table.concat(records, ","))
	local received = assert(native.sync_parse(native.text_body(text)))
	received:admit(1)
	local counts = assert(received:apply(member.store, self.secret, WRITER, M.START_MS))
	assert.equal(#records, counts.merged)
end

--- Writes a key on a member, as a delta that its own node would have merged from a client of another one.
-- @param dead whether the key is deleted
function Replicas:write(member, key, dead)
	merge(self, member, { record(self, key, nil, dead) })
end

--- Writes `count` records of `bytes` bytes each, the same versions on each of the members.
-- @param from number in the key of the first one
function Replicas:fill(members, from, count, bytes)
	local at, last = from, from + count - 1
	while at <= last do
		local records = {}
		for i = at, math.min(at + 999, last) do records[#records + 1] = record(self, ("users/%010d"):format(i), bytes) end
		for _, member in ipairs(members) do merge(self, member, records) end
		at = at + #records
	end
end

--- One interval of a member, to the end of the coroutine that its tick may start.
-- @return what the tick returned
function Replicas:tick(member)
	local spawn, running = loop.spawn, 0
	loop.spawn = function(fn, ...)
		running = running + 1
		return spawn(function(...)
			fn(...)
			running = running - 1
		end, ...)
	end
	self.now = self.now + INTERVAL_MS
	local peer = member.repair:tick()
	loop.spawn = spawn
	wait.until_true("the end of the turn", function() return running == 0 end, 60)
	return peer
end

--- Bytes of a message with so many bytes inside, as it travels: in its envelope (docs/protocol.md section 6).
function M.sealed_bytes(inner_bytes)
	local identity = crypto.made_up("a sender")
	return #json.encode(crypto.seal(crypto.channel_key(identity.scalar, identity.der:sub(-97)), identity.der,
		("x"):rep(inner_bytes)))
end

--- What a member says of its repair with another one.
function Replicas.status(from, to)
	return from.repair:status()[M.wallet_of(to.index)]
end

--- @param count how many members
-- @return replicas { members; secret; now: ms since START_MS; call_ms: that a call takes; bytes_per_s: of the links
--   (nil: without limit); calls; sizes: of the inner messages, in turn question and answer; faults: by a member's
--   number, function(peer) in place of its replies; a member's `claims`: counts in place of those in its replies;
--   in_sessions: whether they speak in sessions (false); replied_ms: the time that the last reply named, or nil }
function M.new(count)
	local self = setmetatable({
		secret = master_secret(), now = 0, members = {}, call_ms = 0, calls = 0, sizes = {}, faults = {},
		counter = 0, in_sessions = false,
	}, Replicas)
	for i = 1, count do self.members[i] = new_member(self, i) end
	for i, member in ipairs(self.members) do
		for k = 1, count do
			if k ~= i then
				member.peer_of[k] = {
					wallet = M.wallet_of(k), index = k, number = k, failures = 0, retry_ms = 0, asks_first = k < i,
					features = { digest = true, brief = true },
				}
			end
		end
	end
	return self
end

return M
