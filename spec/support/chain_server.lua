--- A chain as a node sees it: a JSON-RPC server on loopback with the two registries in tables
-- that a spec edits, and ways to answer badly. Runs on the spec's own loop.

local abi = require("devnet.abi")
local cjson = require("cjson")
local json = require("kms.base.json")
local loopback = require("spec.support.loopback")
local native = require("spec.support.native")
local transactions = require("spec.support.tx")
local wait = require("spec.support.wait")

local M = {}

M.REGISTRY = "0x1000000000000000000000000000000000000a01"
M.KMS = "0x2000000000000000000000000000000000000b02"
M.NO_HASH = "0x" .. ("0"):rep(64)
local ZERO = "0x" .. ("0"):rep(40)
local MAX_ANCHOR_LEAD_S = 300

local word, address = abi.word, abi.address
local function tuple(fields) return "0x" .. word(32) .. abi.fields(fields) end
M.word, M.tuple, M.address_word = word, tuple, address

local function app(row)
	return tuple({ word(row.id), address(ZERO), word(0), address(ZERO), { "ipfs://app" }, word(1), word(0),
		word(row.status), address(ZERO) })
end

local function version(row)
	return tuple({ word(row.id), { "v1" }, word(0), { "image" }, { "" }, { "" }, { "42" }, word(row.status), word(0),
		address(ZERO) })
end

local function instance(row)
	return tuple({ word(row.id), word(row.app_id), word(row.version_id), address(row.operator), { row.url },
		{ row.tee_pubkey }, address(row.wallet), word(row.zk_verified and 1 or 0), word(row.status),
		word(row.registered_at) })
end

local NOBODY = {
	id = "0", app_id = "0", version_id = "0", operator = ZERO, url = "", tee_pubkey = "", wallet = ZERO,
	zk_verified = false, status = 0, registered_at = 0,
}
local NOTHING = { id = "0", status = 0 }

local NAMES = {}
for name, signature in pairs({
	getApp = "getApp(uint256)", getVersion = "getVersion(uint256,uint256)",
	getInstanceByWallet = "getInstanceByWallet(address)", getActiveInstances = "getActiveInstances(uint256)",
	masterSecretHash = "masterSecretHash()", setMasterSecretHash = "setMasterSecretHash(bytes32)",
	anchorSnapshot = "anchorSnapshot(bytes32,uint64)", snapshotAnchor = "snapshotAnchor(address)",
	newestSnapshotAnchor = "newestSnapshotAnchor()",
}) do NAMES[native.abi_selector(signature)] = name end

local function argument(data, index)
	return data:sub(11 + 64 * (index - 1), 10 + 64 * index)
end

local function id_argument(data, index)
	return native.abi_decode("kmsAppId", "0x" .. argument(data, index))
end

local function revert(name)
	return { error = { code = 3, message = "execution reverted: " .. name, data = native.abi_selector(name .. "()") } }
end
M.revert = revert

local function anchor_words(anchor)
	if not anchor then return "0x" .. ("0"):rep(3 * 64) end
	return anchor.manifest .. word(anchor.time) .. address(anchor.member)
end

local Chain = {}
Chain.__index = Chain

local VIEWS = {
	getApp = function(self, data) return app(self.apps[id_argument(data, 1)] or NOTHING) end,
	getVersion = function(self, data)
		return version(self.versions[id_argument(data, 1) .. "/" .. id_argument(data, 2)] or NOTHING)
	end,
	getInstanceByWallet = function(self, data)
		return instance(self.instances["0x" .. argument(data, 1):sub(25)] or NOBODY)
	end,
	getActiveInstances = function(self, data)
		local id, wallets = id_argument(data, 1), {}
		for wallet, row in pairs(self.instances) do
			if row.app_id == id and row.status == 0 then wallets[#wallets + 1] = wallet end
		end
		table.sort(wallets)
		local words = { word(32), word(#wallets) }
		for i, wallet in ipairs(wallets) do words[i + 2] = address(wallet) end
		return "0x" .. table.concat(words)
	end,
	masterSecretHash = function(self) return self.hash end,
	snapshotAnchor = function(self, data) return anchor_words(self.anchors["0x" .. argument(data, 1):sub(25)]) end,
	newestSnapshotAnchor = function(self)
		local newest
		for _, anchor in pairs(self.anchors) do
			if not newest or anchor.time > newest.time then newest = anchor end
		end
		return anchor_words(newest)
	end,
}

--- What a call asks for: the method, and for eth_call the function behind a colon.
local function name_of(call)
	if call.method ~= "eth_call" then return call.method end
	return "eth_call:" .. (NAMES[call.params[1].data:sub(1, 10)] or "?")
end

local function set_hash(self, call)
	local row = self.instances[call.from]
	if self.hash ~= M.NO_HASH then return revert("MasterSecretHashAlreadySet") end
	if not row or row.app_id ~= self.kms_app or row.status ~= 0 or not row.zk_verified then
		return revert("NotAuthorizedToSetHash")
	end
	return nil
end

-- What anchorSnapshot reverts with, as the contract does: { error } | nil.
local function refuse_anchor(self, call)
	local row, time = self.instances[call.from], tonumber(argument(call.data, 2), 16)
	local last = self.anchors[call.from]
	if self.hash == M.NO_HASH or not row or row.app_id ~= self.kms_app or row.status ~= 0 or not row.zk_verified then
		return revert("NotAuthorizedToAnchor")
	end
	if time > (self.time_s or os.time()) + MAX_ANCHOR_LEAD_S then return revert("AnchorTimeTooFarAhead") end
	return last and time <= last.time and revert("AnchorTimeNotRising") or nil
end

local function refuse(self, call)
	return (NAMES[call.data:sub(1, 10)] == "anchorSnapshot" and refuse_anchor or set_hash)(self, call)
end

local function execute(self, tx)
	if NAMES[tx.data:sub(1, 10)] ~= "anchorSnapshot" then
		self.hash = "0x" .. argument(tx.data, 1)
		return
	end
	self.anchors[tx.from] = {
		manifest = "0x" .. argument(tx.data, 1), time = tonumber(argument(tx.data, 2), 16), member = tx.from,
	}
end

--- Mines what waits: each call counts, or reverts.
function Chain:mine()
	for _, tx in ipairs(self.pending) do
		self.nonce = self.nonce + 1
		local refused = refuse(self, tx)
		if not refused then execute(self, tx) end
		self.receipts[tx.hash] = {
			transactionHash = tx.hash, status = refused and "0x0" or "0x1", blockNumber = ("0x%x"):format(self.number),
		}
	end
	self.pending = {}
end

local function send_raw(self, raw)
	local tx = transactions.decode(raw)
	if not tx then return { error = { code = -32000, message = "rlp: expected input" } } end
	if tx.chain_id ~= self.chain_id then return { error = { code = -32000, message = "invalid chain id" } } end
	if self.receipts[tx.hash] then return { error = { code = -32000, message = "nonce too low" } } end
	for i, other in ipairs(self.pending) do
		if other.hash == tx.hash then return { error = { code = -32000, message = "already known" } } end
		if other.nonce == tx.nonce then
			if tx.max < other.max + other.max // 8 then
				return { error = { code = -32000, message = "replacement transaction underpriced" } }
			end
			table.remove(self.pending, i)
			break
		end
	end
	self.sent[#self.sent + 1] = tx
	self.pending[#self.pending + 1] = tx
	if self.mining then self:mine() end
	return { result = tx.hash }
end

-- The time of a block. A still chain's newest block has the time that a spec has set.
local function time_of(self, number)
	if number == self.number and self.still and self.time_s then return self.time_s end
	self.times[number] = self.times[number] or self.time_s or os.time()
	return self.times[number]
end

-- Makes a block when time has passed since the newest one.
local function grow(self)
	local now_s, newest_s = self.time_s or os.time(), time_of(self, self.number)
	if now_s > newest_s then self.number = self.number + 1 end
	self.times[self.number] = now_s
end

local METHODS = {
	eth_chainId = function(self) return { result = ("0x%x"):format(self.chain_id) } end,
	eth_getBlockByNumber = function(self, params)
		if not self.still then grow(self) end
		local number = params[1] == "latest" and self.number or tonumber(params[1])
		if number > self.number then return { result = cjson.null } end
		return { result = {
			number = ("0x%x"):format(number), timestamp = ("0x%x"):format(time_of(self, number)),
			hash = self.hash_of and self.hash_of(number) or ("0x%064x"):format(number), baseFeePerGas = "0x3b9aca00",
			transactions = json.list({}),
		} }
	end,
	eth_getTransactionCount = function(self) return { result = ("0x%x"):format(self.nonce) } end,
	eth_maxPriorityFeePerGas = function() return { result = "0xf4240" } end,
	eth_estimateGas = function(self, params) return refuse(self, params[1]) or { result = "0xea60" } end,
	eth_sendRawTransaction = function(self, params) return send_raw(self, params[1]) end,
	eth_getTransactionReceipt = function(self, params) return { result = self.receipts[params[1]] or cjson.null } end,
	eth_call = function(self, params)
		local name = NAMES[params[1].data:sub(1, 10)]
		if params[1].to ~= M.REGISTRY and params[1].to ~= M.KMS then return { result = "0x" } end
		if self.without_anchors and name:find("Anchor", 1, true) then return revert("") end
		return { result = VIEWS[name](self, params[1].data) }
	end,
}

-- One call's answer, counted by name; `override(name, call)` may give another one.
local function answer(self, call)
	local name = name_of(call)
	self.calls[name] = (self.calls[name] or 0) + 1
	if call.method == "eth_call" then self.tags[#self.tags + 1] = call.params[2] end
	local given = self.override and self.override(name, call)
	if given and given.raw then return given.raw end
	given = given or METHODS[call.method](self, call.params)
	return { jsonrpc = "2.0", id = call.id, result = given.result, error = given.error }
end

local function respond(self, body)
	self.requests = self.requests + 1
	local message = cjson.decode(body)
	local whole = self.respond and self.respond(message)
	if whole then return whole end
	if message.method then return loopback.reply(json.encode(answer(self, message))) end
	local answers = {}
	for i, call in ipairs(message) do answers[i] = answer(self, call) end
	return loopback.reply(json.encode(json.list(answers)))
end

--- Registers an app with version 1, and an instance of it.
function Chain:register(app_id, wallet, tee_pubkey, url)
	self.apps[app_id] = self.apps[app_id] or { id = app_id, status = 0 }
	self.versions[app_id .. "/1"] = self.versions[app_id .. "/1"] or { id = "1", status = 0 }
	self.next_id = self.next_id + 1
	self.instances[wallet] = {
		id = tostring(self.next_id), app_id = app_id, version_id = "1", operator = wallet, wallet = wallet,
		url = url or "http://127.0.0.1:1", tee_pubkey = tee_pubkey, zk_verified = true, status = 0,
		registered_at = 1700000000,
	}
	return self.instances[wallet]
end

--- A TEE that signs with a wallet and keeps the fields that it was given.
function M.signer(wallet)
	local tee = { address = wallet:address(), fields = {} }
	function tee.sign_transaction(_, fields)
		tee.fields[#tee.fields + 1] = fields
		return native.sign_transaction(wallet, fields)
	end
	return tee
end

--- Starts a chain, which ends with loopback.run or loopback.close. It makes blocks, unless it is `still`.
-- @return chain with editable tables; `respond(message)` may give the bytes of a whole HTTP
--   answer, `override(name, call)` one call's { result } or { error } or { raw = table }
function M.start()
	local self = setmetatable({
		apps = {}, versions = {}, instances = {}, hash = M.NO_HASH, chain_id = 84532, number = 1000, kms_app = "49",
		next_id = 0, nonce = 0, receipts = {}, pending = {}, sent = {}, mining = true, calls = {}, tags = {}, anchors = {},
		requests = 0, times = {},
	}, Chain)
	self.server = loopback.serve(function(client, got)
		if not loopback.length_of(got) then return false end
		local reply = respond(self, got:match("\r\n\r\n(.*)$"))
		if reply ~= "hang" then client:write(reply) end
		return true
	end)
	self.url = self.server.url
	return self
end

--- The configuration of a node on these servers, with more time for a call than a busy machine takes.
function M.config(urls, change)
	local config = {
		HELIOS_RPC_URL = urls, NOVA_APP_REGISTRY_ADDRESS = M.REGISTRY, KMS_REGISTRY_ADDRESS = M.KMS, IN_ENCLAVE = false,
		CHAIN = "evm", CHAIN_ID = 0, CHAIN_CONFIRMATIONS = 6, MAX_HEAD_AGE_SECONDS = 300, RPC_TIMEOUT_MS = 60000,
		KMS_NODE_TICK_SECONDS = 60, KMS_APP_ID = "49",
	}
	for name, value in pairs(change or {}) do config[name] = value end
	return config
end

--- A log that keeps its lines.
function M.log()
	local log = { lines = {} }
	local function note(_, event, fields) log.lines[#log.lines + 1] = { event = event, fields = fields } end
	log.debug, log.info, log.warn, log.error = note, note, note, note
	function log.log(_, _, event, fields) note(nil, event, fields) end
	function log.limited(_, _, _, _, event, fields) note(nil, event, fields) end
	--- How many lines begin with a text.
	function log.count(text)
		local count = 0
		for _, line in ipairs(log.lines) do
			if line.event:sub(1, #text) == text then count = count + 1 end
		end
		return count
	end
	--- Waits for a line that begins with a text; throws when none comes, or more than one.
	function log.wait_once(text)
		wait.until_true("the log to say: " .. text, function() return log.count(text) > 0 end)
		if log.count(text) > 1 then error("logged more than once: " .. text, 2) end
	end
	return log
end

return M
