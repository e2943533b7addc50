--- Sends setMasterSecretHash and watches it (docs/protocol.md section 14): one transaction in flight, sent
-- again with higher fees when it is stuck, given up when it reverted, which means that another
-- node was first. What counts in the end is the hash that the chain shows, not a receipt.

local loop = require("kms.base.loop")
local native = require("kms_native")
local quantity = require("kms.chain.quantity")

local M = {}

local Sender = {}
Sender.__index = Sender

local POLL_MS = 2000
local STUCK_MS = 30000 -- without a receipt for this long: higher fees
local MAX_SENT = 12 -- versions of one transaction
local GAS_LIMIT_MAX = 1000000 -- a server that says more is wrong or hostile
local FEE_MAX = 1000000000000 -- wei a gas, 1000 gwei: the same
local ERRORS = { "MasterSecretHashAlreadySet()", "NotAuthorizedToSetHash()" }

local function failed(message)
	return nil, message, "ERR_CHAIN"
end

-- Name of the contract's error, else the server's words.
local function error_name(outcome)
	for _, signature in ipairs(ERRORS) do
		local selector = native.abi_selector(signature)
		if outcome.data and outcome.data:lower():sub(1, #selector) == selector then return signature:match("^%w+") end
	end
	return outcome.revert
end

local function bounded(value, max)
	local number = quantity.parse(value)
	return number and number <= max and number or nil
end

-- Nonce, fees and gas from one server. An estimate that reverts is an answer: { revert = name }.
local function read_terms(outcomes)
	if outcomes[4].revert then return { revert = error_name(outcomes[4]) } end
	local block = outcomes[3].result
	local base = type(block) == "table" and bounded(block.baseFeePerGas, FEE_MAX)
	local terms = {
		nonce = quantity.parse(outcomes[1].result), priority = bounded(outcomes[2].result, FEE_MAX),
		gas = bounded(outcomes[4].result, GAS_LIMIT_MAX),
	}
	if not terms.nonce or not terms.priority or not base or not terms.gas or terms.gas == 0 then
		return nil, "nonce, fees or gas are missing or beyond all measure"
	end
	terms.max = 2 * base + terms.priority
	return terms
end

local function ask_terms(self, data, from)
	local call = { from = from, to = self.contract, data = data, value = "0x0" }
	return self.rpc:ask({
		{ "eth_getTransactionCount", from, "latest" },
		{ "eth_maxPriorityFeePerGas" },
		{ "eth_getBlockByNumber", "latest", false },
		{ "eth_estimateGas", call, "latest" },
	}, { single = true, accept = read_terms })
end

-- At least an eighth more than before, which is what servers ask of a replacement.
local function raised(fee)
	return fee + fee // 4 + 1
end

local function sign(self, flight)
	local raw, hash = flight.tee:sign_transaction({
		chain_id = quantity.format(flight.chain_id), nonce = quantity.format(flight.nonce),
		max_priority_fee_per_gas = quantity.format(flight.priority), max_fee_per_gas = quantity.format(flight.max),
		gas_limit = quantity.format(flight.gas), to = self.contract, value = "0x0", data = flight.data,
	})
	if not raw then return nil, "the TEE did not sign: " .. tostring(hash) end
	flight.raw, flight.sent_ms = raw, self.mono_ms()
	flight.hashes[#flight.hashes + 1] = hash
	return true
end

-- Hands the signed transaction to a server. A failure does not say that nobody took it.
local function submit(self, flight)
	local refusal, message = self.rpc:ask({ { "eth_sendRawTransaction", flight.raw } }, {
		single = true, errors = true,
		accept = function(outcomes)
			if type(outcomes[1].result) == "string" then return "" end
			return outcomes[1].failure or outcomes[1].revert or "no transaction hash"
		end,
	})
	if not refusal then return nil, message end
	if refusal == "" or refusal:lower():find("already known", 1, true) then return true end
	return nil, refusal
end

-- Signs again under the same nonce with higher fees.
local function replace(self, flight)
	local priority, max = raised(flight.priority), raised(flight.max)
	if #flight.hashes >= MAX_SENT or max > FEE_MAX then return end
	flight.priority, flight.max = priority, max
	local ok, message = sign(self, flight)
	if ok then ok, message = submit(self, flight) end
	self.log:warn("setMasterSecretHash is stuck: sent again with higher fees", {
		nonce = flight.nonce, max_fee_per_gas = max, cause = not ok and message or nil,
	})
end

-- What has become of a flight: the receipt of any of its versions, and the account's nonce.
local function look(self, flight)
	local requests = { { "eth_getTransactionCount", flight.from, "latest" } }
	for i, hash in ipairs(flight.hashes) do requests[i + 1] = { "eth_getTransactionReceipt", hash } end
	return self.rpc:ask(requests, { single = true, accept = function(outcomes)
		local seen = { nonce = quantity.parse(outcomes[1].result) }
		if not seen.nonce then return nil, "eth_getTransactionCount gave no number" end
		for i = 2, #outcomes do
			local receipt = outcomes[i].result
			if type(receipt) == "table" then
				seen.status, seen.block = quantity.parse(receipt.status), quantity.parse(receipt.blockNumber)
				if not seen.status or not seen.block then return nil, "a malformed receipt" end
			end
		end
		return seen
	end })
end

local function conclude(self, flight, level, event, fields)
	if self.flight == flight then self.flight = nil end
	self.log:log(level, event, fields)
end

-- One look at the flight, and what follows from it.
local function step(self, flight)
	local seen, message = look(self, flight)
	if not seen then
		self.log:limited("watch", 60, "warn", "cannot watch setMasterSecretHash", { cause = message })
		return
	end
	if seen.status == 0 then
		return conclude(self, flight, "warn", "setMasterSecretHash reverted: another node was first", { block = seen.block })
	end
	if seen.status then
		-- Until the block that decisions are read at has it, there is nothing to do.
		local view = self.head:recent()
		if not view or view.read_at < seen.block then return end
		return conclude(self, flight, "info", "setMasterSecretHash is on chain", { block = seen.block })
	end
	if seen.nonce > flight.nonce then
		return conclude(self, flight, "warn", "setMasterSecretHash was replaced by another transaction", {
			nonce = flight.nonce,
		})
	end
	if self.mono_ms() - flight.sent_ms >= self.stuck_ms then return replace(self, flight) end
	submit(self, flight) -- a server may have lost it
end

local function watch(self, flight)
	while self.flight == flight and not self.closed do
		loop.sleep(self.poll_ms)
		if self.flight == flight and not self.closed then loop.try(step, self, flight) end
	end
end

local function prepare(self, hash, tee)
	local data = assert(native.abi_call("setMasterSecretHash", hash))
	local view, message = self.head:recent()
	if not view then return nil, message end
	local terms
	terms, message = ask_terms(self, data, tee.address)
	if not terms then return nil, message end
	if terms.revert then return nil, "setMasterSecretHash would revert: " .. terms.revert end
	local flight = {
		hash = hash, tee = tee, from = tee.address, data = data, chain_id = view.chain_id, nonce = terms.nonce,
		priority = terms.priority, max = terms.max, gas = terms.gas + terms.gas // 4, hashes = {},
	}
	-- Something of an earlier process waits under this nonce: outbid it.
	for _ = 1, self.outbid do flight.priority, flight.max = raised(flight.priority), raised(flight.max) end
	if flight.max > FEE_MAX then return nil, "fees are beyond all measure" end
	local ok
	ok, message = sign(self, flight)
	if not ok then return nil, message end
	return flight
end

local function start(self, hash, tee)
	local flight, message = prepare(self, hash, tee)
	if not flight then return failed(message) end
	local ok
	ok, message = submit(self, flight)
	if not ok then
		-- Where a server refused it for its fees, another waits; all else is tried anew.
		self.outbid = message:lower():find("underpriced", 1, true) and math.min(self.outbid + 1, MAX_SENT) or 0
		return failed("eth_sendRawTransaction: " .. message)
	end
	self.outbid, self.flight = 0, flight
	self.log:info("setMasterSecretHash sent", { transaction = flight.hashes[1], nonce = flight.nonce })
	loop.spawn(watch, self, flight)
	return true
end

--- Sends setMasterSecretHash(hash), unless it is under way. Needs a coroutine.
-- @param hash "0x" + 64 digits
-- @param tee address, sign_transaction(fields) -> raw, hash
-- @return true: sent, the chain will tell what came of it | nil, message, "ERR_CHAIN"
function Sender:send(hash, tee)
	if self.starting then return failed("setMasterSecretHash is being sent") end
	if self.flight then
		if self.flight.hash == hash then return true end
		return failed("setMasterSecretHash with another hash is under way")
	end
	self.starting = true
	local ok, sent, message, code = loop.try(start, self, hash, tee)
	self.starting = false
	if not ok then return failed("sending setMasterSecretHash broke down") end
	return sent, message, code
end

--- Stops watching.
function Sender:close()
	self.closed = true
end

--- @param deps rpc, head, contract (address of KMSRegistry), log, mono_ms; poll_ms and
-- stuck_ms for specs
function M.new(deps)
	return setmetatable({
		rpc = deps.rpc, head = deps.head, contract = deps.contract, log = deps.log, mono_ms = deps.mono_ms,
		poll_ms = deps.poll_ms or POLL_MS, stuck_ms = deps.stuck_ms or STUCK_MS, outbid = 0, closed = false,
	}, Sender)
end

return M
