--- Calls functions of KMSRegistry that change it: sends a transaction and watches it (docs/protocol.md section 14). One
-- is in flight at a time, since they have one account. It is sent again with higher fees when it is stuck, and given up
-- when it reverted. Nothing is decided by a receipt: callers look at what the chain shows.

local loop = require("kms.base.loop")
local native = require("kms_native")
local needs = require("kms.base.needs")
local transaction = require("kms.chain.transaction")

local M = {}

local Publisher = {}
Publisher.__index = Publisher

local POLL_MS = 2000
local STUCK_MS = 30000 -- how long a transaction may be without a receipt before its fees are raised
local MAX_OUTBID = 12

-- What a revert means which the estimate did not show.
local WHY = { setMasterSecretHash = ": another node was first" }

local function failed(message)
	return nil, message, "ERR_CHAIN"
end

local function conclude(self, flight, level, event, fields)
	if self.flight == flight then self.flight = nil end
	self.log:log(level, event, fields)
end

local function replace(self, flight)
	local ok, message = flight:replace()
	if not ok and not message then return end
	self.log:warn(flight.name .. " is stuck: sent again with higher fees", {
		nonce = flight.nonce, max_fee_per_gas = flight.max, cause = message,
	})
end

-- Checks the transaction in flight once: ends it, raises its fees, or sends it again.
local function check(self, flight)
	local seen, message = flight:fetch_state()
	if not seen then
		self.log:limited("watch", 60, "warn", "cannot watch " .. flight.name, { cause = message })
		return
	end
	if seen.status == 0 then
		return conclude(self, flight, "warn", flight.name .. " reverted" .. (WHY[flight.name] or ""), { block = seen.block })
	end
	if seen.status then
		-- Wait until the block that decisions are read at has it.
		local view = self.head:recent()
		if not view or view.read_at < seen.block then return end
		return conclude(self, flight, "info", flight.name .. " is on chain", { block = seen.block })
	end
	if seen.nonce > flight.nonce then
		return conclude(self, flight, "warn", flight.name .. " was replaced by another transaction", {
			nonce = flight.nonce,
		})
	end
	if self.mono_ms() - flight.sent_ms >= self.stuck_ms then return replace(self, flight) end
	flight:submit() -- servers may have dropped it
end

local function watch(self, flight)
	while self.flight == flight and not self.closed do
		loop.sleep(self.poll_ms)
		if self.flight == flight and not self.closed then loop.try(check, self, flight) end
	end
end

-- Returns true | nil, message, code.
local function start(self, call, data, tee)
	local name = call[1]
	local view, message = self.head:recent()
	if not view then return failed(message) end
	local flight
	flight, message = transaction.prepare({
		rpc = self.rpc, contract = self.contract, data = data, name = name,
		chain_id = view.chain_id, tee = tee, mono_ms = self.mono_ms, outbid = self.outbid,
	})
	if not flight then return failed(message) end
	local ok, underpriced
	ok, message, underpriced = flight:submit()
	if not ok then
		-- A transaction of an earlier process may have this nonce: the next one outbids it.
		self.outbid = underpriced and math.min(self.outbid + 1, MAX_OUTBID) or 0
		return failed("eth_sendRawTransaction: " .. message)
	end
	self.outbid, self.flight = 0, flight
	self.log:info(name .. " sent", { transaction = flight.hashes[1], nonce = flight.nonce })
	loop.spawn(watch, self, flight)
	return true
end

--- Calls a function, unless the same call is in flight. Needs a coroutine.
-- @param call { name, arguments as native.abi_call takes them }
-- @param tee address, sign_transaction(fields) -> raw, hash
-- @return true: in flight; the chain shows whether it succeeds | nil, message, "ERR_CHAIN"
function Publisher:publish(call, tee)
	local name, data = call[1], assert(native.abi_call(table.unpack(call)))
	if self.starting then return failed(self.starting .. " is being sent") end
	if self.flight then
		if self.flight.data == data then return true end
		local other = self.flight.name == name and name .. " with other arguments" or self.flight.name
		return failed(other .. " is in flight")
	end
	self.starting = name
	local ok, sent, message, code = loop.try(start, self, call, data, tee)
	self.starting = nil
	if not ok then return failed(("sending %s threw an error"):format(name)) end
	return sent, message, code
end

--- Whether a call of a function is in flight.
function Publisher:has_in_flight(name)
	return self.flight ~= nil and self.flight.name == name
end

--- Stops watching the transaction in flight.
function Publisher:close()
	self.closed = true
end

--- @param deps rpc (kms.chain.rpc), head (kms.chain.head), contract (address of KMSRegistry), log, mono_ms; optional,
-- for specs: poll_ms, stuck_ms
function M.new(deps)
	local self = needs.take(deps, "rpc head contract log mono_ms", "poll_ms stuck_ms")
	self.poll_ms, self.stuck_ms = self.poll_ms or POLL_MS, self.stuck_ms or STUCK_MS
	self.outbid, self.closed = 0, false
	return setmetatable(self, Publisher)
end

return M
