--- What the registries say at one block. Each answer is read once and kept, and members of an
-- application are read together, so that a whole tick takes a few round trips.

local native = require("kms_native")

local M = {}

local Snapshot = {}
Snapshot.__index = Snapshot

local MAX_MEMBERS = 1000
local MAX_KEPT = 10000
local NO_ID = "0" -- of what a registry does not know

local function not_found(what)
	return nil, what .. " is not registered", "ERR_NOT_FOUND"
end

-- A call: the contract, the function, its arguments as texts.
local function key_of(call)
	return table.concat(call, " ", 2)
end

local function request_of(self, call)
	local data = assert(native.abi_call(table.unpack(call, 2)))
	return { "eth_call", { to = self.contracts[call[1]], data = data }, self.tag }
end

-- What a call's outcome says: { value } or { reverted = message }.
local function read_outcome(self, call, outcome)
	if outcome.revert then return { reverted = outcome.revert } end
	if outcome.result == "0x" then return nil, "there is no contract at " .. self.contracts[call[1]] end
	if type(outcome.result) ~= "string" then return nil, call[2] .. " gave no data" end
	local value, message = native.abi_decode(call[2], outcome.result)
	if value == nil then return nil, call[2] .. ": " .. message end
	return { value = value }
end

local function ask(self, calls)
	local requests = {}
	for i, call in ipairs(calls) do requests[i] = request_of(self, call) end
	return self.rpc:ask(requests, { accept = function(outcomes)
		local answers = {}
		for i, call in ipairs(calls) do
			local answer, message = read_outcome(self, call, outcomes[i])
			if not answer then return nil, message end
			answers[i] = answer
		end
		return answers
	end })
end

local function keep(self, calls, answers)
	for i, call in ipairs(calls) do self.answers[key_of(call)] = answers[i] end
	self.kept = self.kept + #calls
end

-- Reads what of the calls is not known yet, in one round trip where the server allows it.
local function load(self, calls)
	local missing = {}
	if self.kept > MAX_KEPT then self.answers, self.kept = {}, 0 end
	for _, call in ipairs(calls) do
		if not self.answers[key_of(call)] then missing[#missing + 1] = call end
	end
	if #missing == 0 then return true end
	local answers, message, code = ask(self, missing)
	if not answers and code == "ERR_OLD_STATE" and self.tag ~= "latest" then
		self.head:use_latest(message)
		self.tag = "latest"
		answers, message = ask(self, missing)
	end
	if not answers then return nil, message, "ERR_CHAIN" end
	keep(self, missing, answers)
	return true
end

local function read(self, ...)
	local call = { ... }
	local ok, message, code = load(self, { call })
	if not ok then return nil, message, code end
	return self.answers[key_of(call)]
end

local function instance_call(wallet) return { "registry", "getInstanceByWallet", wallet } end
local function app_call(app_id) return { "registry", "getApp", app_id } end
local function version_call(app_id, version_id) return { "registry", "getVersion", app_id, version_id } end

--- The instance of a wallet (canonical text).
function Snapshot:instance_by_wallet(wallet)
	local answer, message, code = read(self, table.unpack(instance_call(wallet)))
	if not answer then return nil, message, code end
	local instance = answer.value
	-- A registry may forget that a wallet has moved to another instance: only its own counts.
	if not instance or instance.id == NO_ID or instance.wallet ~= wallet then return not_found("wallet") end
	return instance
end

local function with_id(answer, id, what)
	if not answer.value or answer.value.id == NO_ID then return not_found(what) end
	if answer.value.id ~= id then return nil, ("the registry gave another %s"):format(what), "ERR_CHAIN" end
	return answer.value
end

--- An application by id (decimal text).
function Snapshot:app(app_id)
	local answer, message, code = read(self, table.unpack(app_call(app_id)))
	if not answer then return nil, message, code end
	return with_id(answer, app_id, "app")
end

--- A version of an application.
function Snapshot:version(app_id, version_id)
	local answer, message, code = read(self, table.unpack(version_call(app_id, version_id)))
	if not answer then return nil, message, code end
	return with_id(answer, version_id, "version")
end

-- Instances and versions of all members, ahead of the questions about each.
local function load_members(self, app_id, wallets)
	local calls = {}
	for i, wallet in ipairs(wallets) do calls[i] = instance_call(wallet) end
	local ok, message, code = load(self, calls)
	if not ok then return nil, message, code end
	local versions, seen = {}, {}
	for _, call in ipairs(calls) do
		local instance = self.answers[key_of(call)].value
		if instance and instance.app_id == app_id and not seen[instance.version_id] then
			seen[instance.version_id] = true
			versions[#versions + 1] = version_call(app_id, instance.version_id)
		end
	end
	return load(self, versions)
end

--- Wallets of an application's active instances, in the registry's order. An unknown
-- application has none.
function Snapshot:active_instances(app_id)
	local answer, message, code = read(self, "registry", "getActiveInstances", app_id)
	if not answer then return nil, message, code end
	local wallets = answer.value or {}
	if #wallets > MAX_MEMBERS then return nil, ("more than %d active instances"):format(MAX_MEMBERS), "ERR_CHAIN" end
	local ok
	ok, message, code = load_members(self, app_id, wallets)
	if not ok then return nil, message, code end
	return wallets
end

--- The hash of the cluster's master secret.
function Snapshot:master_secret_hash()
	local answer, message, code = read(self, "kms", "masterSecretHash")
	if not answer then return nil, message, code end
	if not answer.value then return nil, "masterSecretHash reverts: " .. answer.reverted, "ERR_CHAIN" end
	return answer.value
end

--- Reads what will be asked about a caller ahead: its instance, and the app and version that
-- it had when it was last seen, where that is known.
-- @param hint { app_id, version_id } or nil
-- @return true | nil, message, code
function Snapshot:prefetch(wallet, hint)
	local calls = { instance_call(wallet) }
	if hint then
		calls[2], calls[3] = app_call(hint.app_id), version_call(hint.app_id, hint.version_id)
	end
	local ok, message, code = load(self, calls)
	if not ok then return nil, message, code end
	local instance = self.answers[key_of(calls[1])].value
	if not instance or instance.id == NO_ID then return true end
	return load(self, { app_call(instance.app_id), version_call(instance.app_id, instance.version_id) })
end

--- @param deps rpc, head, contracts { registry, kms (addresses) }
-- @param view the block (kms.chain.head)
function M.new(deps, view)
	return setmetatable({
		rpc = deps.rpc, head = deps.head, contracts = deps.contracts, view = view, tag = view.tag, answers = {}, kept = 0,
	}, Snapshot)
end

return M
