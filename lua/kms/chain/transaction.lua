--- One transaction of the TEE's account: its terms from a server, signing, sending, higher fees, and its state on
-- chain. All versions of it have the same nonce, so at most one of them is executed.

local native = require("kms_native")
local needs = require("kms.base.needs")
local quantity = require("kms.chain.quantity")

local M = {}

local Transaction = {}
Transaction.__index = Transaction

local MAX_SENT = 12 -- versions
-- A server that gives more is wrong or hostile.
local GAS_LIMIT_MAX = 1000000
local FEE_MAX = 1000000000000 -- wei for a gas: 1000 gwei
local ERRORS = {
	"MasterSecretHashAlreadySet()", "NotAuthorizedToSetHash()", "NotAuthorizedToAnchor()", "AnchorTimeNotRising()",
	"AnchorTimeTooFarAhead()",
}

-- The name of the contract's error, or the server's message.
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

-- The terms from one server: { nonce, priority and max (fees), gas }, or { revert = name } when the estimate
-- reverts | nil, message.
local function read_terms(outcomes)
	if outcomes[4].revert then return { revert = error_name(outcomes[4]) } end
	local block = outcomes[3].result
	local base = type(block) == "table" and bounded(block.baseFeePerGas, FEE_MAX)
	local terms = {
		nonce = quantity.parse(outcomes[1].result), priority = bounded(outcomes[2].result, FEE_MAX),
		gas = bounded(outcomes[4].result, GAS_LIMIT_MAX),
	}
	if not terms.nonce or not terms.priority or not base or not terms.gas or terms.gas == 0 then
		return nil, "nonce, fees or gas are missing or too high"
	end
	terms.max = 2 * base + terms.priority
	return terms
end

local function fetch_terms(self)
	local from = self.tee.address
	return self.rpc:call({
		{ "eth_getTransactionCount", from, "latest" },
		{ "eth_maxPriorityFeePerGas" },
		{ "eth_getBlockByNumber", "latest", false },
		{ "eth_estimateGas", { from = from, to = self.contract, data = self.data, value = "0x0" }, "latest" },
	}, { single = true, accept = read_terms })
end

-- A quarter more: servers demand at least an eighth more of a replacement.
local function raised(fee)
	return fee + fee // 4 + 1
end

-- Signs with the present fees. Returns true | nil, message.
local function sign(self)
	local raw, hash = self.tee:sign_transaction({
		chain_id = quantity.format(self.chain_id), nonce = quantity.format(self.nonce),
		max_priority_fee_per_gas = quantity.format(self.priority), max_fee_per_gas = quantity.format(self.max),
		gas_limit = quantity.format(self.gas), to = self.contract, value = "0x0", data = self.data,
	})
	if not raw then
		local message = hash
		return nil, "the TEE did not sign: " .. tostring(message)
	end
	self.raw, self.sent_ms = raw, self.mono_ms()
	self.hashes[#self.hashes + 1] = hash
	return true
end

-- How servers of different kinds say the same, in lower case.
local KNOWN = { "already ?known", "%f[%a]known transaction", "already imported" }
local UNDERPRICED = { "underpriced", "replacement ?not ?allowed", "fee ?too ?low", "transaction with same nonce" }

local function says(message, patterns)
	local lower = message:lower()
	for _, pattern in ipairs(patterns) do
		if lower:find(pattern) then return true end
	end
	return false
end

-- Whether a server has taken it | nil: it has not said; then message.
local function read_answer(outcome)
	if type(outcome.result) == "string" then return true end
	local message = outcome.failure or outcome.revert or "no transaction hash"
	if says(message, KNOWN) then return true end
	if outcome.busy then return nil, message end
	return false, message
end

--- Sends the newest version to a server, and to the others as long as none has taken it: one that is late, or that
-- has it from another one, refuses what is in flight. After a failure it may still be in flight.
-- @return true | nil, message, whether a server wants higher fees: it has another transaction with this nonce
function Transaction:submit()
	local refusals, underpriced = {}, false
	local taken, message = self.rpc:call({ { "eth_sendRawTransaction", self.raw } }, {
		single = true, errors = true,
		accept = function(outcomes)
			local taken, refusal = read_answer(outcomes[1])
			if taken == false then
				refusals[#refusals + 1], underpriced = refusal, underpriced or says(refusal, UNDERPRICED)
			end
			return taken, refusal
		end,
		decides = function(taken) return taken end,
	})
	if taken then return true end
	return nil, refusals[1] and table.concat(refusals, "; ") or message, underpriced
end

--- Makes a version with higher fees and sends it.
-- @return true | nil, message | nil: there are too many versions, or the fees are too high
function Transaction:replace()
	local priority, max = raised(self.priority), raised(self.max)
	if #self.hashes >= MAX_SENT or max > FEE_MAX then return nil end
	self.priority, self.max = priority, max
	local ok, message = sign(self)
	if ok then ok, message = self:submit() end
	if not ok then return nil, message end
	return true
end

--- The state on chain.
-- @return { nonce (the account's next), status and block (of the receipt of any version, if there is one) } |
--   nil, message
function Transaction:fetch_state()
	local calls = { { "eth_getTransactionCount", self.tee.address, "latest" } }
	for i, hash in ipairs(self.hashes) do calls[i + 1] = { "eth_getTransactionReceipt", hash } end
	return self.rpc:call(calls, { single = true, accept = function(outcomes)
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

--- Prepares and signs a transaction, to be sent with submit. Needs a coroutine.
-- @param deps rpc (kms.chain.rpc), contract (address), data (hex), name (of the function, for messages), chain_id, tee
--   (address, sign_transaction), mono_ms; outbid: how often to raise the fees, since a transaction of an earlier
--   process may have the same nonce
-- @return transaction; its fields for others: name, data, hashes (of each version), nonce, max (fee), sent_ms (of the
--   newest version) | nil, message
function M.prepare(deps)
	local self = setmetatable(needs.take(deps, "rpc contract data name chain_id tee mono_ms outbid"), Transaction)
	local terms, message = fetch_terms(self)
	if not terms then return nil, message end
	if terms.revert then return nil, ("%s would revert: %s"):format(self.name, terms.revert) end
	self.nonce, self.priority, self.max, self.gas = terms.nonce, terms.priority, terms.max, terms.gas + terms.gas // 4
	self.hashes = {}
	for _ = 1, self.outbid do self.priority, self.max = raised(self.priority), raised(self.max) end
	if self.max > FEE_MAX then return nil, "the fees are too high" end
	local ok
	ok, message = sign(self)
	if not ok then return nil, message end
	return self
end

return M
