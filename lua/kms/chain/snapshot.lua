--- The registries at one block. Each result is read once and kept, and an application's members are read together,
-- so that a whole tick takes a few round trips. What has the same bytes as in the snapshot before is not decoded again.

local needs = require("kms.base.needs")
local query_of = require("kms.chain.query")

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

-- Returns the results in the order of the queries | nil, message, code.
local function call(self, queries)
	local calls, former = {}, self.before and self.before.results or {}
	for i, query in ipairs(queries) do calls[i] = query_of.call(query, self.contracts, self.tag) end
	return self.rpc:call(calls, { old = self.tag ~= "latest", accept = function(outcomes)
		local results = {}
		for i, query in ipairs(queries) do
			local result, message = query_of.result(query, outcomes[i], former[query.key])
			if not result then return nil, message end
			results[i] = result
		end
		return results
	end })
end

local function keep(self, queries, results)
	for i, query in ipairs(queries) do self.results[query.key] = results[i] end
	self.kept = self.kept + #queries
end

local function note_asked(self, query)
	if self.asked[query.key] then return end
	self.asked[query.key], self.order[#self.order + 1] = true, query
end

-- Which of the queries, and with the first ones of those that are expected, are to be read.
local function missing_of(self, queries)
	local missing, listed = {}, {}
	local function add(query)
		local key = query.key
		if not self.results[key] and not listed[key] then missing[#missing + 1], listed[key] = query, true end
	end
	for _, query in ipairs(queries) do
		add(query)
		note_asked(self, query)
	end
	if #missing == 0 then return missing end
	for _, query in ipairs(self.expected) do add(query) end
	self.expected = {}
	return missing
end

-- Reads queries together, at the newest block where the servers lack the state of another one. Results as call.
local function read_all(self, queries)
	local results, message, code = call(self, queries)
	if not results and code == "ERR_OLD_STATE" and self.tag ~= "latest" then
		self.head:use_latest(message)
		self.tag = "latest"
		results, message = call(self, queries)
	end
	if not results then return nil, message, "ERR_CHAIN" end
	if self.tag ~= "latest" then self.head:use_confirmed() end
	return results
end

-- Reads the queries whose results are not kept yet, together. Returns true | nil, message, code.
local function load(self, queries)
	-- Starts anew. The content as well: the next snapshot cannot tell whether all that was asked of this one is the same.
	if self.kept > MAX_KEPT then self.results, self.asked, self.order, self.kept, self.content = {}, {}, {}, 0, {} end
	local missing = missing_of(self, queries)
	if #missing == 0 then return true end
	local results, message, code = read_all(self, missing)
	if not results then return nil, message, code end
	keep(self, missing, results)
	return true
end

-- Returns the result of one query | nil, message, code.
local function read(self, query)
	local ok, message, code = load(self, { query })
	if not ok then return nil, message, code end
	return self.results[query.key]
end

--- The instance of a wallet (canonical text).
-- @return instance (kms.chain) | nil, message, code: ERR_NOT_FOUND, ERR_CHAIN; so do the other methods
function Snapshot:instance_by_wallet(wallet)
	local result, message, code = read(self, query_of.instance(wallet))
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
	local result, message, code = read(self, query_of.app(app_id))
	if not result then return nil, message, code end
	return with_id(result, app_id, "app")
end

--- A version of an application.
function Snapshot:version(app_id, version_id)
	local result, message, code = read(self, query_of.version(app_id, version_id))
	if not result then return nil, message, code end
	return with_id(result, version_id, "version")
end

-- Reads the instances and versions of all members together, before they are looked at one by one.
-- Returns true | nil, message, code.
local function load_members(self, app_id, wallets)
	local queries = {}
	for i, wallet in ipairs(wallets) do queries[i] = query_of.instance(wallet) end
	local ok, message, code = load(self, queries)
	if not ok then return nil, message, code end
	local versions, seen = {}, {}
	for _, query in ipairs(queries) do
		local instance = self.results[query.key].value
		if instance and instance.app_id == app_id and not seen[instance.version_id] then
			seen[instance.version_id] = true
			versions[#versions + 1] = query_of.version(app_id, instance.version_id)
		end
	end
	return load(self, versions)
end

--- Wallets of an application's active instances, in the registry's order. An unknown application has none.
function Snapshot:active_instances(app_id)
	local result, message, code = read(self, query_of.new("registry", "getActiveInstances", app_id))
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
	local result, message, code = read(self, query_of.new("kms", "masterSecretHash"))
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
	return read_anchor(self, query_of.new("kms", "snapshotAnchor", wallet))
end

--- The newest anchor of all. @return as snapshot_anchor
function Snapshot:newest_snapshot_anchor()
	return read_anchor(self, query_of.new("kms", "newestSnapshotAnchor"))
end

--- Reads together what authorizing a caller needs: its instance, app and version.
-- @param hint the app and version that it had when it was last seen { app_id, version_id }, or nil
-- @return true | nil, message, code
function Snapshot:prefetch(wallet, hint)
	local queries = { query_of.instance(wallet) }
	if hint then
		queries[2], queries[3] = query_of.app(hint.app_id), query_of.version(hint.app_id, hint.version_id)
	end
	local ok, message, code = load(self, queries)
	if not ok then return nil, message, code end
	local instance = self.results[queries[1].key].value
	if not instance or instance.id == NO_ID then return true end
	return load(self, { query_of.app(instance.app_id), query_of.version(instance.app_id, instance.version_id) })
end

--- Reads applications together, for calls of app().
-- @param ids list of decimal texts
-- @return true | nil, message, code
function Snapshot:prefetch_apps(ids)
	local queries = {}
	for i, id in ipairs(ids) do queries[i] = query_of.app(id) end
	return load(self, queries)
end

-- Whether the results are those that the snapshot before has.
local function is_same(before, queries, results)
	for i, query in ipairs(queries) do
		if results[i] ~= before.results[query.key] then return false end
	end
	return true
end

--- Reads what was asked of the snapshot before, if that is little.
-- @return a table: that of the snapshot before where all of it has the same bytes, and then it counts as asked of this
--   one as well; else another one | nil, message, code
function Snapshot:contents()
	if self.content then return self.content end
	local before, queries = self.before, self.expected
	if #queries > 0 then
		local results, message, code = read_all(self, queries)
		if not results then return nil, message, code end
		keep(self, queries, results)
		self.expected = {}
		if is_same(before, queries, results) then
			self.asked, self.order, self.content = before.asked, before.order, before.content
		end
	end
	self.content = self.content or {}
	return self.content
end

--- @param deps rpc (kms.chain.rpc), head (kms.chain.head); contracts: addresses { registry, kms }; view: the block, as
-- head gives it; optional: before (a snapshot: the few things that were asked of it are expected to be asked again, and
-- read together in the first round trip)
-- @return snapshot; its field `view` is the block's
function M.new(deps)
	local self = needs.take(deps, "rpc head contracts view", "before")
	self.tag, self.results, self.asked, self.order, self.kept = self.view.tag, {}, {}, {}, 0
	local before = self.before
	self.expected = before and #before.order <= MAX_EXPECTED and before.order or {}
	if before then before.before = nil end
	return setmetatable(self, Snapshot)
end

return M
