--- The registries at one block. Each result is read once and kept, and an application's members are read together,
-- so that a whole tick takes a few round trips.

local native = require("kms_native")
local needs = require("kms.base.needs")

local M = {}

local Snapshot = {}
Snapshot.__index = Snapshot

local MAX_MEMBERS = 1000
local MAX_KEPT = 10000
local MAX_EXPECTED = 48 -- queries: with one more in one call of a server (kms.chain.rpc_server)
local NO_ID = "0" -- the id of an entry that a registry does not have

local function not_found(what)
	return nil, what .. " is not registered", "ERR_NOT_FOUND"
end

-- A query is { contract, function, arguments as texts... }.
local function key_of(query)
	return table.concat(query, " ", 2)
end

local function call_of(self, query)
	local data = assert(native.abi_call(table.unpack(query, 2)))
	return { "eth_call", { to = self.contracts[query[1]], data = data }, self.tag }
end

-- The result of a query: { value } or { reverted = message } | nil, message.
local function read_outcome(self, query, outcome)
	if outcome.revert then return { reverted = outcome.revert } end
	if outcome.result == "0x" then return nil, "there is no contract at " .. self.contracts[query[1]] end
	if type(outcome.result) ~= "string" then return nil, query[2] .. " gave no data" end
	local value, message = native.abi_decode(query[2], outcome.result)
	if value == nil then return nil, query[2] .. ": " .. message end
	return { value = value }
end

-- Returns the results in the order of the queries | nil, message, code.
local function call(self, queries)
	local calls = {}
	for i, query in ipairs(queries) do calls[i] = call_of(self, query) end
	return self.rpc:call(calls, { old = self.tag ~= "latest", accept = function(outcomes)
		local results = {}
		for i, query in ipairs(queries) do
			local result, message = read_outcome(self, query, outcomes[i])
			if not result then return nil, message end
			results[i] = result
		end
		return results
	end })
end

local function keep(self, queries, results)
	for i, query in ipairs(queries) do self.results[key_of(query)] = results[i] end
	self.kept = self.kept + #queries
end

-- Which of the queries, and with the first ones of those that are expected, are to be read.
local function missing_of(self, queries)
	local missing, listed = {}, {}
	local function add(query)
		local key = key_of(query)
		if not self.results[key] and not listed[key] then missing[#missing + 1], listed[key] = query, true end
	end
	for _, query in ipairs(queries) do
		add(query)
		self.asked[key_of(query)] = query
	end
	if #missing == 0 then return missing end
	for _, query in ipairs(self.expected) do add(query) end
	self.expected = {}
	return missing
end

-- Reads the queries whose results are not kept yet, together. Returns true | nil, message, code.
local function load(self, queries)
	if self.kept > MAX_KEPT then self.results, self.asked, self.kept = {}, {}, 0 end
	local missing = missing_of(self, queries)
	if #missing == 0 then return true end
	local results, message, code = call(self, missing)
	if not results and code == "ERR_OLD_STATE" and self.tag ~= "latest" then
		self.head:use_latest(message)
		self.tag = "latest"
		results, message = call(self, missing)
	end
	if not results then return nil, message, "ERR_CHAIN" end
	if self.tag ~= "latest" then self.head:use_confirmed() end
	keep(self, missing, results)
	return true
end

-- Returns the result of one query | nil, message, code.
local function read(self, query)
	local ok, message, code = load(self, { query })
	if not ok then return nil, message, code end
	return self.results[key_of(query)]
end

local function instance_query(wallet) return { "registry", "getInstanceByWallet", wallet } end
local function app_query(app_id) return { "registry", "getApp", app_id } end
local function version_query(app_id, version_id) return { "registry", "getVersion", app_id, version_id } end

--- The instance of a wallet (canonical text).
-- @return instance (kms.chain) | nil, message, code: ERR_NOT_FOUND, ERR_CHAIN; so do the other methods
function Snapshot:instance_by_wallet(wallet)
	local result, message, code = read(self, instance_query(wallet))
	if not result then return nil, message, code end
	local instance = result.value
	-- A registry may still map the wallet to an instance that has another one now.
	if not instance or instance.id == NO_ID or instance.wallet ~= wallet then return not_found("wallet") end
	return instance
end

local function with_id(result, id, what)
	if not result.value or result.value.id == NO_ID then return not_found(what) end
	if result.value.id ~= id then return nil, ("the registry gave another %s"):format(what), "ERR_CHAIN" end
	return result.value
end

--- An application by id (decimal text).
function Snapshot:app(app_id)
	local result, message, code = read(self, app_query(app_id))
	if not result then return nil, message, code end
	return with_id(result, app_id, "app")
end

--- A version of an application.
function Snapshot:version(app_id, version_id)
	local result, message, code = read(self, version_query(app_id, version_id))
	if not result then return nil, message, code end
	return with_id(result, version_id, "version")
end

-- Reads the instances and versions of all members together, before they are looked at one by one.
-- Returns true | nil, message, code.
local function load_members(self, app_id, wallets)
	local queries = {}
	for i, wallet in ipairs(wallets) do queries[i] = instance_query(wallet) end
	local ok, message, code = load(self, queries)
	if not ok then return nil, message, code end
	local versions, seen = {}, {}
	for _, query in ipairs(queries) do
		local instance = self.results[key_of(query)].value
		if instance and instance.app_id == app_id and not seen[instance.version_id] then
			seen[instance.version_id] = true
			versions[#versions + 1] = version_query(app_id, instance.version_id)
		end
	end
	return load(self, versions)
end

--- Wallets of an application's active instances, in the registry's order. An unknown application has none.
function Snapshot:active_instances(app_id)
	local result, message, code = read(self, { "registry", "getActiveInstances", app_id })
	if not result then return nil, message, code end
	local wallets = result.value or {}
	if #wallets > MAX_MEMBERS then return nil, ("more than %d active instances"):format(MAX_MEMBERS), "ERR_CHAIN" end
	local ok
	ok, message, code = load_members(self, app_id, wallets)
	if not ok then return nil, message, code end
	return wallets
end

--- The hash of the cluster's master secret.
function Snapshot:master_secret_hash()
	local result, message, code = read(self, { "kms", "masterSecretHash" })
	if not result then return nil, message, code end
	if not result.value then return nil, "masterSecretHash reverts: " .. result.reverted, "ERR_CHAIN" end
	return result.value
end

-- Returns anchor { manifest, time (Unix seconds), member } | false: there is none | nil, message, code.
local function read_anchor(self, query)
	local result, message, code = read(self, query)
	if not result then return nil, message, code end
	local anchor = result.value
	if not anchor then return nil, "KMSRegistry has no anchors of snapshots", "ERR_NOT_FOUND" end
	return anchor.time > 0 and anchor
end

--- What a wallet anchored last under the present master secret.
-- @return anchor { manifest ("0x" + 64 digits), time (Unix seconds), member (wallet) } | false: nothing | nil, message,
--   code: ERR_NOT_FOUND (the contract has no such function), ERR_CHAIN
function Snapshot:snapshot_anchor(wallet)
	return read_anchor(self, { "kms", "snapshotAnchor", wallet })
end

--- The newest anchor of all. @return as snapshot_anchor
function Snapshot:newest_snapshot_anchor()
	return read_anchor(self, { "kms", "newestSnapshotAnchor" })
end

--- Reads together what authorizing a caller needs: its instance, app and version.
-- @param hint the app and version that it had when it was last seen { app_id, version_id }, or nil
-- @return true | nil, message, code
function Snapshot:prefetch(wallet, hint)
	local queries = { instance_query(wallet) }
	if hint then
		queries[2], queries[3] = app_query(hint.app_id), version_query(hint.app_id, hint.version_id)
	end
	local ok, message, code = load(self, queries)
	if not ok then return nil, message, code end
	local instance = self.results[key_of(queries[1])].value
	if not instance or instance.id == NO_ID then return true end
	return load(self, { app_query(instance.app_id), version_query(instance.app_id, instance.version_id) })
end

--- Reads applications together, for calls of app().
-- @param ids list of decimal texts
-- @return true | nil, message, code
function Snapshot:prefetch_apps(ids)
	local queries = {}
	for i, id in ipairs(ids) do queries[i] = app_query(id) end
	return load(self, queries)
end

-- What was asked of a snapshot, in an order that is the same each time.
local function asked_of(before)
	local keys, list = {}, {}
	for key in pairs(before and before.asked or {}) do keys[#keys + 1] = key end
	if #keys > MAX_EXPECTED then return list end
	table.sort(keys)
	for i, key in ipairs(keys) do list[i] = before.asked[key] end
	return list
end

--- @param deps rpc (kms.chain.rpc), head (kms.chain.head); contracts: addresses { registry, kms }; view: the block, as
-- head gives it; optional: before (a snapshot: the few things that were asked of it are expected to be asked again, and
-- read together in the first round trip)
-- @return snapshot; its field `view` is the block's
function M.new(deps)
	local self = needs.take(deps, "rpc head contracts view", "before")
	self.tag, self.results, self.asked, self.kept = self.view.tag, {}, {}, 0
	self.expected, self.before = asked_of(self.before), nil
	return setmetatable(self, Snapshot)
end

return M
