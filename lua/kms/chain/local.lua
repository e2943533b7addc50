--- Chain backend `local`: the registries as a Lua table in a file, for a node without a chain. Its methods are those
-- of kms.chain.
--
-- The first start makes the file (`introduce`), with the node itself and a demo application in it. An operator may
-- edit it: it is read again when it has changed. Refused in an enclave.

local data_file = require("kms.base.data_file")
local files = require("kms.base.files")
local native = require("kms_native")
local needs = require("kms.base.needs")

local M = {}

local Chain = {}
Chain.__index = Chain

local HEADER = [[
-- Chain backend `local`: what NovaAppRegistry and KMSRegistry would say.
-- Statuses: app 0 active, 1 inactive, 2 revoked; version 0 enrolled, 1 deprecated, 2 revoked;
-- instance 0 active, 1 stopped, 2 failed. Ids are decimal texts. Read again when changed.
]]

local function not_found(what)
	return nil, what .. " is not registered", "ERR_NOT_FOUND"
end

local function broken(message)
	return nil, message, "ERR_CHAIN"
end

-- An instance from its row of the file. Returns instance | nil, message, code.
local function decode_instance(wallet, row)
	local address = native.address(tostring(row.wallet or ""))
	local key = native.hex_decode(tostring(row.tee_pubkey or ""))
	if address ~= wallet or not key or key == "" then
		return broken("the local chain's instance of " .. wallet .. " is malformed")
	end
	return {
		id = tostring(row.id), app_id = tostring(row.app_id), version_id = tostring(row.version_id),
		operator = row.operator or wallet, wallet = wallet, url = row.url or "", tee_pubkey = key,
		zk_verified = row.zk_verified == true, status = row.status, registered_at = row.registered_at or 0,
	}
end

-- Checks the form of the file, which an operator may have edited. Returns true | nil, message, code.
local function check(data)
	for _, part in ipairs({ "apps", "versions", "instances" }) do
		if type(data[part]) ~= "table" then return broken("the local chain has no table '" .. part .. "'") end
		for _, row in pairs(data[part]) do
			if type(row) ~= "table" then return broken("the local chain has a malformed row in '" .. part .. "'") end
		end
	end
	local hash = data.master_secret_hash
	if type(hash) ~= "string" or not hash:find("^0x%x+$") or #hash ~= 66 then
		return broken("the local chain's master_secret_hash is malformed")
	end
	return true
end

-- The file's content, read again when it was replaced or edited. Returns table | nil, message, code.
local function state(self)
	local version = files.version(self.path)
	if version and version == self.file_version then return self.data end
	local data, message = data_file.read(self.path)
	if not data then return broken(message) end
	local ok, why, code = check(data)
	if not ok then return nil, why, code end
	self.data, self.file_version = data, version
	return data
end

Chain.contents = state -- another table where the file has changed

-- Returns true | nil, message, code.
local function save(self, data)
	local ok, message = data_file.write(self.path, HEADER, data)
	-- After a failure the file is not what is in memory, and is read again.
	self.data, self.file_version = data, ok and files.version(self.path)
	if not ok then return broken(message) end
	return true
end

--- The file needs no confirmations.
function Chain:describe() -- luacheck: no self
	return { confirmations = 0, unconfirmed = false }
end

--- No calls, no failures: there is no server.
function Chain:counts() -- luacheck: no self
	return 0, 0
end

--- Does nothing: the file has one state only.
function Chain:begin_tick() -- luacheck: no self
	return true
end

--- The chain itself: a snapshot is the file as it is.
function Chain:snapshot()
	return self
end

--- Do nothing: nothing needs to be read ahead, and nothing runs in the background.
Chain.prefetch, Chain.prefetch_apps, Chain.close = Chain.begin_tick, Chain.begin_tick, Chain.begin_tick

--- Number and time of the head, made up from the machine's clock: there is no other time, so that it confirms a jump
-- of that clock.
function Chain:head()
	local now = self.machine_ms()
	return { number = now // 1000, time_ms = now }
end

--- The instance of a wallet (canonical text).
function Chain:instance_by_wallet(wallet)
	local data, message, code = state(self)
	if not data then return nil, message, code end
	local row = data.instances[wallet]
	if not row then return not_found("wallet") end
	return decode_instance(wallet, row)
end

--- An application by id (decimal text).
function Chain:app(app_id)
	local data, message, code = state(self)
	if not data then return nil, message, code end
	local row = data.apps[app_id]
	if not row then return not_found("app") end
	return { id = app_id, status = row.status }
end

--- A version of an application.
function Chain:version(app_id, version_id)
	local data, message, code = state(self)
	if not data then return nil, message, code end
	local row = data.versions[app_id .. "/" .. version_id]
	if not row then return not_found("version") end
	return { id = version_id, status = row.status }
end

--- Wallets of an application's active instances, sorted.
function Chain:active_instances(app_id)
	local data, message, code = state(self)
	if not data then return nil, message, code end
	local wallets = {}
	for wallet, row in pairs(data.instances) do
		if tostring(row.app_id) == app_id and row.status == 0 then wallets[#wallets + 1] = wallet end
	end
	table.sort(wallets)
	return wallets
end

--- The hash of the cluster's master secret.
function Chain:master_secret_hash()
	local data, message, code = state(self)
	if not data then return nil, message, code end
	return data.master_secret_hash
end

--- Sets the hash while it is zero, as the contract would.
function Chain:set_master_secret_hash(hash)
	local data, message, code = state(self)
	if not data then return nil, message, code end
	if data.master_secret_hash:find("[^0x]") then return broken("MasterSecretHashAlreadySet") end
	data.master_secret_hash = hash
	return save(self, data)
end

local function instance(id, app_id, identity, url, now_s)
	return {
		id = id, app_id = app_id, version_id = "1", wallet = identity.wallet, operator = identity.wallet,
		url = url, made_url = url, tee_pubkey = native.hex_encode(identity.tee_pubkey), zk_verified = true, status = 0,
		registered_at = now_s,
	}
end

-- The content of a new file: the node, and an application to try it with.
local function genesis(self, identity, now_s)
	local kms_app, demo = self.kms_app, self.demo
	return {
		apps = { [kms_app] = { status = 0 }, [demo.app_id] = { status = 0 } },
		versions = { [kms_app .. "/1"] = { status = 0 }, [demo.app_id .. "/1"] = { status = 0 } },
		instances = {
			[identity.wallet] = instance("1", kms_app, identity, identity.url, now_s),
			[demo.wallet] = instance("2", demo.app_id, demo, "", now_s),
		},
		master_secret_hash = "0x" .. ("0"):rep(64),
	}
end

--- Makes the file, with the node in it, unless there is one. In one that is there only this node's own URL changes,
-- where its settings name another one by now and nobody has edited it. Returns true | nil, message, code.
function Chain:introduce(identity)
	if not files.version(self.path) then return save(self, genesis(self, identity, self.wall_ms() // 1000)) end
	local data, message, code = state(self)
	if not data then return nil, message, code end
	local own = data.instances[identity.wallet]
	if not own or own.url == identity.url or own.url ~= own.made_url then return true end
	own.url, own.made_url = identity.url, identity.url
	return save(self, data)
end

-- An id that no application has, beyond that of the demo application.
local function free_app_id(data)
	local id = 1001
	while data.apps[tostring(id)] do id = id + 1 end
	return tostring(id)
end

local function free_instance_id(data)
	local last = 0
	for _, row in pairs(data.instances) do last = math.max(last, math.tointeger(tonumber(row.id)) or 0) end
	return tostring(last + 1)
end

--- Registers an instance of an application in the file of a local chain.
-- @param dir  DATA_DIR; @param keys  { wallet, tee_pubkey (DER) }
-- @param app_id  decimal text, or nil: a new one; @param now_s  Unix seconds
-- @return id of the application | nil, message, code
function M.add_app(dir, keys, app_id, now_s)
	local self = setmetatable({ path = dir .. "/chain.lua" }, Chain)
	if not files.version(self.path) then
		return nil, self.path .. " does not exist: a node with CHAIN=local makes it when it starts", "ERR_FILE_MISSING"
	end
	local data, message, code = state(self)
	if not data then return nil, message, code end
	if data.instances[keys.wallet] then return nil, "wallet " .. keys.wallet .. " is registered already", "ERR_REFUSED" end
	app_id = app_id or free_app_id(data)
	data.apps[app_id] = data.apps[app_id] or { status = 0 }
	data.versions[app_id .. "/1"] = data.versions[app_id .. "/1"] or { status = 0 }
	data.instances[keys.wallet] = instance(free_instance_id(data), app_id, keys, "", now_s)
	local saved, why, what = save(self, data)
	return saved and app_id, why, what
end

--- Opens the file where there is one; `introduce` makes it.
-- @param deps config (DATA_DIR, KMS_APP_ID), wall_ms, machine_ms (clock of the machine; nil: wall_ms), demo { wallet,
-- tee_pubkey, app_id }; log is for the backend `evm`
-- @return chain | nil, message
function M.open(deps)
	deps = needs.take(deps, "config wall_ms demo", "log machine_ms")
	local self = setmetatable({
		path = deps.config.DATA_DIR .. "/chain.lua", kms_app = deps.config.KMS_APP_ID, demo = deps.demo,
		wall_ms = deps.wall_ms, machine_ms = deps.machine_ms or deps.wall_ms,
	}, Chain)
	if not files.version(self.path) then return self end
	local data, message = state(self)
	return data and self, message
end

return M
