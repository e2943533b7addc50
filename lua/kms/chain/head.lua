--- The chain's newest block, the head, and the block that everything else is read at: CHAIN_CONFIRMATIONS before
-- the head, so that a short reorganisation changes no decision.
--
-- A head is valid on the expected chain, when its own timestamp is recent, and when its height is plausible
-- (kms.chain.height). So a frozen or swapped chain is refused. When two servers must agree (kms.chain.rpc), they
-- agree on the head, too: its time is read from the block that both have.

local height = require("kms.chain.height")
local loop = require("kms.base.loop")
local needs = require("kms.base.needs")
local quantity = require("kms.chain.quantity")
local single_flight = require("kms.async.single_flight")

local M = {}

local Head = {}
Head.__index = Head

local RECENT_MS = 1000 -- how long recent() reuses a head
local FALLBACK_MS = 60000 -- how long the newest block is read before the block behind it is tried again
local MAX_TIMESTAMP_S = 1 << 40
local CALLS = { { "eth_chainId" }, { "eth_getBlockByNumber", "latest", false } }

local function parse(outcomes)
	local chain_id, block = outcomes[1].result, outcomes[2].result
	chain_id = quantity.parse(chain_id)
	if not chain_id or chain_id == 0 then return nil, "eth_chainId gave no chain id" end
	if type(block) ~= "table" then return nil, "eth_getBlockByNumber gave no block" end
	local number, time_s = quantity.parse(block.number), quantity.parse(block.timestamp)
	if not number or not time_s or time_s > MAX_TIMESTAMP_S then return nil, "a block without number or timestamp" end
	return { chain_id = chain_id, number = number, time_ms = time_s * 1000 }
end

local function check_age(self, found)
	local age_ms = self.wall_ms() - found.time_ms
	if age_ms > self.max_age_ms then return nil, ("the head is %d s old"):format(age_ms // 1000) end
	if -age_ms > self.max_age_ms then return nil, ("the head is stamped %d s ahead"):format(-age_ms // 1000) end
	return true
end

local function check(self, found, server)
	local expected = self.chain_id
	if expected and found.chain_id ~= expected then
		return nil, ("chain id %d instead of %d"):format(found.chain_id, expected)
	end
	local ok, message = check_age(self, found)
	if ok then ok, message = self.height:check(found, server) end
	if not ok then return nil, message end
	found.server = server
	return found
end

local function accept_with(self)
	return function(outcomes, server)
		local found, message = parse(outcomes)
		if not found then return nil, message end
		return check(self, found, server)
	end
end

-- The newest block that two servers say they have reached, or one, where `fewest` is 1 and no other one answers.
local function call_all(self, fewest)
	local found, message = self.rpc:call_each(CALLS, accept_with(self))
	if #found < fewest then return nil, message ~= "" and message or "only one RPC server answered" end
	table.sort(found, function(a, b) return a.number > b.number end)
	for _, head in ipairs(found) do
		if head.chain_id ~= found[1].chain_id then return nil, "the RPC servers are on different chains" end
	end
	return found[math.min(2, #found)]
end

-- What makes two servers' blocks the same: of the other members, they know more or fewer.
local function identity_of(result)
	return type(result) == "table" and { result.number, result.timestamp, result.hash } or result
end

local function accept_block(number)
	return function(outcomes, server)
		local found, message = parse(outcomes)
		if not found then return nil, message end
		if found.number ~= number then return nil, "another block than was asked for" end
		if type(outcomes[2].result.hash) ~= "string" then return nil, "a block without hash" end
		found.server = server
		return found
	end
end

-- The block of a number, as two servers have it: neither height nor time are one server's word.
local function call_agreed(self)
	local newest, message = call_all(self, 2)
	if not newest then return nil, message end
	local agreed
	-- A server may not have reached the newest one, or lose it again.
	for _, number in ipairs({ newest.number, math.max(newest.number - self.confirmations, 0) }) do
		agreed, message = self.rpc:call({ { "eth_chainId" }, { "eth_getBlockByNumber", quantity.format(number), false } }, {
			compare = identity_of, accept = accept_block(number),
		})
		if agreed then break end
	end
	if not agreed then return nil, message end
	if agreed.chain_id ~= newest.chain_id then return nil, "the RPC servers are on different chains" end
	local ok
	ok, message = check_age(self, agreed)
	if not ok then return nil, message end
	return agreed
end

local function call(self)
	if self.rpc.agree then return call_agreed(self) end
	-- There is nothing yet to compare a height with but another server's.
	if self.height:is_unknown() and #self.rpc.servers > 1 then return call_all(self, 1) end
	return self.rpc:call(CALLS, { accept = accept_with(self) })
end

local function view_of(self, found)
	self.chain_id = self.chain_id or found.chain_id
	self.height:used(found)
	local read_at = math.max(found.number - self.confirmations, 0)
	-- By the word of one server alone: no longer than the others are silent.
	if self.by_one_server and not self.rpc:has_one_pruned_server() then self.latest_until = 0 end
	local behind = self.mono_ms() >= self.latest_until
	return {
		chain_id = found.chain_id, number = found.number, time_ms = found.time_ms, read_at = read_at,
		tag = behind and quantity.format(read_at) or "latest",
	}
end

local function fetch(self)
	local found, message = call(self)
	if not found then return nil, message, "ERR_CHAIN" end
	self.view, self.view_ms = view_of(self, found), self.mono_ms()
	return self.view
end

local function try_fetch(self)
	local ok, view, message, code = loop.try(fetch, self)
	if ok then return view, message, code end
	return nil, "reading the head failed", "ERR_CHAIN"
end

--- Reads the head from the servers; callers at the same time share one read. Needs a coroutine.
-- @return view { chain_id, number and time_ms of the head, read_at (number of the block to read at), tag (the
--   same as eth_call takes it) } | nil, message, "ERR_CHAIN"
function Head:read()
	return self.reads:with("head", try_fetch, self)
end

--- The head read at most a second ago, or a new one. Needs a coroutine.
-- @return as read
function Head:recent()
	if self.view and self.mono_ms() - self.view_ms < RECENT_MS then return self.view end
	return self:read()
end

--- Reads at the newest block for a minute: the servers lack the state of the block to read at.
-- @param cause for the log
function Head:use_latest(cause)
	local now = self.mono_ms()
	-- Calls that were on their way at the same time found out the same.
	if now < self.latest_until then return end
	self.latest_until, self.unconfirmed = now + FALLBACK_MS, true
	self.by_one_server = self.rpc:has_one_pruned_server()
	local who = self.by_one_server and "the only RPC server that answers keeps" or "the RPC servers keep"
	self.log:warn(who .. " no old state: reading the newest block, without confirmations", {
		cause = cause, seconds = FALLBACK_MS // 1000,
	})
end

--- Notes that the state of the block to read at was there.
function Head:use_confirmed()
	self.latest_until, self.by_one_server = 0, false
	if not self.unconfirmed then return end
	self.unconfirmed = false
	self.log:info("reading with confirmations again", { confirmations = self.confirmations })
end

--- Whether the newest block is read although CHAIN_CONFIRMATIONS says otherwise.
function Head:is_unconfirmed()
	return self.unconfirmed and self.confirmations > 0
end

--- @param deps rpc (kms.chain.rpc), log, wall_ms, mono_ms; config (CHAIN_ID, CHAIN_CONFIRMATIONS,
-- MAX_HEAD_AGE_SECONDS)
function M.new(deps)
	local self = needs.take(deps, "rpc log wall_ms mono_ms config")
	local config = self.config
	self.chain_id = config.CHAIN_ID ~= 0 and config.CHAIN_ID or nil
	self.confirmations, self.max_age_ms = config.CHAIN_CONFIRMATIONS, config.MAX_HEAD_AGE_SECONDS * 1000
	self.reads = single_flight.new()
	self.height = height.new({
		confirmations = self.confirmations, max_age_ms = self.max_age_ms, log = self.log, mono_ms = self.mono_ms,
		wall_ms = self.wall_ms, any_alone = not self.rpc.agree and #self.rpc.servers > 1,
	})
	self.latest_until, self.unconfirmed, self.by_one_server = 0, false, false
	return setmetatable(self, Head)
end

return M
