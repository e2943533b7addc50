--- A newcomer and the members that it joins, in one process: their own stores, messages and replies, without a network.
-- Fields that specs read and change: members (by their number, 2 to 4; the newcomer is 1); newcomer (store, join,
-- absence, and peers: the members as it knows them); faults (by member: function(type, since) before each reply; what
-- it returns, if anything, takes the reply's place); pages (numbers of members that were asked for a page); later_ms
-- (added to the monotonic clock); clock_ms (the newcomer's wall clock); counter (of the writes); secret.

local cjson = require("cjson")
local crypto = require("spec.support.crypto")
local join = require("kms.sync.join")
local loop = require("kms.base.loop")
local message = require("kms.sync.message")
local repair_exchange = require("kms.sync.repair_exchange")
local replies = require("kms.sync.replies")
local uv = require("luv")

local native = crypto.native
local APP = "49"
local MASTER = ("m"):rep(32)
local ALL = { pages = true, store = true, digest = true, stub = true }

local M = { NOW = 1700000000000, AHEAD_MS = 30000 }

local Joining = {}
Joining.__index = Joining

local function quiet() end
local function wall_ms() return M.NOW end

-- The secret with these bytes (MASTER), as a newcomer gets it.
local function master_secret(bytes)
	local key = assert(native.p384_generate())
	local sealed = crypto.seal_secret(bytes or MASTER, native.hex_encode(key:public_der()))
	local text = cjson.encode({ status = "ok", sealed = sealed })
	return assert(assert(native.sync_parse(native.text_body(text))):unseal(key))
end

-- Admits the first applications of a message, as if the chain knew them.
local function admit(received)
	for index = 1, 5 do received:admit(index) end
	return true
end

local LOG = { debug = quiet, info = quiet, warn = quiet, error = quiet, limited = quiet }

--- The wallet of a member.
function M.wallet_of(index)
	return "0x" .. ("%040x"):format(index)
end

-- A call of the newcomer.
local function call(self, peer, build)
	local body = assert(build({ pop = "0xsignature" }))
	local to, opened = self.members[peer.index], assert(native.sync_parse(body))
	local kind, since = opened:text("type"), opened:number("since")
	local fault = self.faults[peer.index]
	if fault then
		local result = table.pack(fault(kind, since))
		if result.n > 0 then return table.unpack(result, 1, result.n) end
	end
	if kind == "snapshot_request" and since < math.maxinteger then self.pages[#self.pages + 1] = peer.index end
	peer.heard, peer.store = true, to.id
	local exchange = {
		peer = { wallet = M.wallet_of(1), number = 1 }, secret = self.secret, proof = { pop = "0xsignature" },
		stands = function() return true end,
	}
	local reply, text, code = to.replies:reply(kind, opened, exchange)
	if exchange.slot then exchange.slot:release() end
	if not reply then return nil, text, code end
	local bytes = reply:len()
	return assert(native.sync_parse(reply)), nil, nil, bytes
end

local function new_member(index)
	local member = { index = index, complete = true, absence = {}, id = ("%032x"):format(index) }
	function member.restart()
		member.store = assert(native.store({ self = M.wallet_of(index) }))
		member.replies = replies.new({
			store = member.store, log = LOG, wall_ms = wall_ms, mono_ms = native.mono_ms,
			peers = { report = quiet, record = quiet, understands = quiet }, evidence = {},
			config = { MAX_SNAPSHOT_BYTES = 1 << 20 },
			writer = message.writer({ address = M.wallet_of(index) }, member.id, wall_ms),
			readiness = { is_complete = function() return member.complete end },
			gateway = { accept = function() return false end }, existing = { fetch_later = quiet },
			absence = member.absence, audit = require("spec.support.audit").new(),
			new_apps = { of_delta = function(_, received) admit(received) end },
		})
	end
	member.restart()
	return member
end

local function new_newcomer(self, list)
	local function now() return self.clock_ms end
	local function mono_ms() return native.mono_ms() + self.later_ms end
	local peers = {
		others = function() return list end, callable = function(_, peer) return not peer.banned end,
		understands = function(_, peer, feature) return peer.features[feature] == true end, report = quiet,
		is_known = function(_, peer) return peer.heard == true end,
	}
	local exchange = { uses_session = function() return false end }
	function exchange.call(_, peer, build) return call(self, peer, build) end
	function exchange.distrust(_, _, text) return text, "ERR_UNVERIFIED" end
	local store = assert(native.store({ self = M.wallet_of(1) }))
	local newcomer = { index = 1, store = store, peers = list, absence = { forgot = quiet } }
	local writer = message.writer({ address = M.wallet_of(3) }, ("%032x"):format(1), wall_ms)
	newcomer.join = join.new({
		exchange = exchange, writer = writer, tee = { address = M.wallet_of(3) .. "1" }, peers = peers, store = store,
		clock = { now = now }, mono_ms = mono_ms, accept = admit, max_body_bytes = 50 << 20, max_snapshot_bytes = 4000,
		goes_on = function() return true end, ahead_ms = M.AHEAD_MS, bootstrap = { counts = { fetched = 0, failures = 0 } },
		absence = newcomer.absence,
		repair = repair_exchange.new({
			exchange = exchange, writer = writer, peers = peers, store = store, mono_ms = native.mono_ms, wall_ms = now,
			secret = function() return self.secret end, is_ready = function() return true end, accept = admit,
			settings = function() return { max_bytes = 4 << 20 } end, max_body_bytes = 50 << 20,
		}),
	})
	return newcomer
end

--- Writes a key on some members, in one version; under another master secret where one is given.
function Joining:write_on(list, key, value, other)
	self.counter = self.counter + 1
	local stamp = M.NOW - 100000 + self.counter
	local sealed = native.hex_encode(crypto.record(other or MASTER, APP, value or ("value " .. self.counter)))
	local text = ('{"type":"delta","data":{"%s":[{"key":"%s","value":"%s","tombstone":false,"ttl_ms":0,'
		.. '"updated_at_ms":%d,"version":{"%s":%d}}]}}'):format(APP, key, sealed, stamp, M.wallet_of(9), stamp)
	for _, index in ipairs(list) do
		local delta = assert(native.sync_parse(native.text_body(text)))
		admit(delta)
		local secret = other and master_secret(other) or self.secret
		assert(delta:apply(self.members[index].store, secret, 9, M.NOW).merged == 1)
	end
end

--- Writes a key on one member.
function Joining:write(member, key, value)
	self:write_on({ member.index }, key, value)
end

--- Has the newcomer visit all members. Returns what it found.
function Joining:round()
	local found
	loop.spawn(function() found = self.newcomer.join:round(self.secret) end)
	local ends = uv.hrtime() + 20e9
	while not found and uv.hrtime() < ends do uv.run("once") end
	return assert(found, "the round did not end")
end

--- The number of records that the newcomer has.
function Joining:keys()
	return self.newcomer.store:stats().live_keys
end

--- @return three complete members with empty stores, and a newcomer that has the cluster's secret
function M.new()
	local self = setmetatable({
		secret = master_secret(), members = {}, faults = {}, pages = {}, later_ms = 0, clock_ms = M.NOW, counter = 0,
	}, Joining)
	local list = {}
	for index = 2, 4 do
		self.members[index] = new_member(index)
		list[#list + 1] = { wallet = M.wallet_of(index), index = index, number = index, features = ALL }
	end
	self.newcomer = new_newcomer(self, list)
	self.members[1] = self.newcomer
	return self
end

return M
