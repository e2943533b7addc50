--- kms.sync.push on a store and peers of tables, for its specs. Fields that specs read and change: store, peers
-- (members: one of this version, an existing one), calls (that peers got: { wallet, numbers of changes, ok }),
-- answers (by wallet: { hangs: no answer comes; before: results instead of a call; after: results though the peer got
-- it; counts; anew: the peer has a new store }), now (monotonic ms), ready, order (a policy's choice, or nil),
-- settings, pusher.

local loop = require("kms.base.loop")
local message = require("kms.sync.message")
local push = require("kms.sync.push")
local uv = require("luv")

local M = {}

M.OURS, M.EXISTING = "0x" .. ("a"):rep(40), "0x" .. ("b"):rep(40)

local Fixture = {}
Fixture.__index = Fixture

-- A store of numbered changes { from = number of a peer, 0: local; size }.
local function fake_store()
	local store = { changes = {} }
	function store:sequence() return #self.changes end
	function store:set_acknowledged(sequence) self.acknowledged = sequence end
	function store:delta(o)
		local sent, skipped, through, bytes = {}, 0, o.since, 0
		for i = o.since + 1, math.min(o.through or #self.changes, #self.changes) do
			local change = self.changes[i]
			local wanted = change.from ~= o.except and (change.from == 0 or not o.local_only)
			if wanted and change.size > o.max_record_bytes then
				skipped = skipped + 1
			elseif wanted then
				if #sent == o.max_records or (#sent > 0 and bytes + change.size > o.max_bytes) then break end
				sent[#sent + 1], bytes = i, bytes + change.size
			end
			through = i
		end
		if #sent == 0 then return false, through, 0, skipped end
		return { numbers = sent, close = function() end }, through, #sent, skipped
	end
	return store
end

--- A peer of kms.peers that has been heard.
function M.peer(wallet, number)
	return { wallet = wallet, number = number, retry_ms = 0, heard = true, features = {} }
end

local function new_peers()
	local ours, existing = M.peer(M.OURS, 1), M.peer(M.EXISTING, 2)
	ours.features = { store = true }
	local peers = { members = { ours, existing } }
	function peers:others() return self.members end
	function peers.understands(_, peer, feature) return peer.features[feature] == true end
	function peers.is_known(_, peer) return peer.heard end
	function peers.callable(_, peer) return not peer.banned end
	function peers.state() return "ok" end
	return peers
end

local function new_exchange(self)
	local exchanges = {}
	function exchanges.wall_ms() return self.now + self.ahead_ms end
	function exchanges.uses_session(_, peer) return peer.features.session == true end
	function exchanges.call(_, peer, build)
		local fault = self.answers[peer.wallet]
		if fault and fault.hangs then coroutine.yield() end
		if fault and fault.before then
			peer.reachable = false
			return table.unpack(fault.before)
		end
		local page, text, code = build({ pop = "0xsignature" })
		if not page then return nil, text, code end
		local numbers = type(page) == "table" and page.numbers or {}
		self.calls[#self.calls + 1] = { wallet = peer.wallet, numbers = numbers, ok = not (fault and fault.after) }
		peer.heard = true
		if fault and fault.after then return table.unpack(fault.after) end
		peer.reachable, peer.answered_ms = true, self.now
		local counts = fault and fault.counts or { total = #numbers, rejected = 0, later = 0 }
		if fault and fault.anew then self.pusher:started_anew(peer) end
		return { counts = function() return counts end }
	end
	return exchanges
end

--- A tick of the pusher.
-- @param compare as Pusher:tick takes it, or nil
function Fixture:tick(compare)
	loop.spawn(function() self.pusher:tick(compare) end)
	uv.run("nowait")
end

--- A tick after `ms` milliseconds.
function Fixture:pass(ms, compare)
	self.now = self.now + ms
	self:tick(compare)
end

--- Changes a record of the store.
-- @param from number of the peer that it comes from (0: this node's own); @param size bytes (100)
function Fixture:change(from, size)
	self.store.changes[#self.store.changes + 1] = { from = from or 0, size = size or 100 }
end

--- The calls that a wallet got.
function Fixture:calls_of(wallet)
	local list = {}
	for _, call in ipairs(self.calls) do
		if call.wallet == wallet then list[#list + 1] = call end
	end
	return list
end

--- Numbers that were pushed to a wallet and acknowledged, in order.
function Fixture:pushed(wallet)
	local list = {}
	for _, call in ipairs(self:calls_of(wallet)) do
		if call.ok then table.move(call.numbers, 1, #call.numbers, #list + 1, list) end
	end
	return list
end

--- @return fixture
function M.new()
	local self = setmetatable({
		store = fake_store(), peers = new_peers(), calls = {}, answers = {}, ready = true,
		-- Unix time is so much more. The first interval that begins is an even one (kms.sync.contact).
		now = 1000, ahead_ms = 9000,
		settings = { max_records = 5000, max_bytes = 4 << 20, parallel = 64, interval = 10 },
	}, Fixture)
	local function quiet() end
	self.pusher = push.new({
		exchange = new_exchange(self), peers = self.peers,
		writer = message.writer({ address = "0x1" }, ("0"):rep(32), function() return self.now end),
		store = self.store, log = { limited = quiet, warn = quiet, debug = quiet },
		mono_ms = function() return self.now end, secret = function() end, is_ready = function() return self.ready end,
		max_body_bytes = 52428800, skew_ms = 15000, settings = function() return self.settings end,
		order = function(list) return self.order and self.order(list) or list end,
	})
	return self
end

return M
