--- Rules between configuration keys: forbidden combinations, warnings, and values that follow from
-- others.

local limits = require("kms.config.limits")
local types = require("kms.config.types")
local url = require("kms.config.url")

local M = {}

-- Of MAX_APP_TOTAL_BYTES where it is not set.
local APP_TOTAL_FACTOR = 4
local MIN_APP_TOTAL = 1 << 20

--- Raises limits that nobody set to what the largest record needs (kms.config.limits), and a quarter of that more:
-- clients may escape more than JSON requires.
-- @param origins  name -> where a value is from
function M.derive(values, origins)
	for name, least in pairs(limits.needed(values)) do
		if origins[name] == "default" then values[name] = math.max(values[name], least + least // 4) end
	end
end

-- Limits under which what may be written could not be sent, read back or replicated.
local function check_sizes(values, refuse)
	local needed = limits.needed(values)
	for _, name in ipairs({
		"MAX_REQUEST_BODY_BYTES", "MAX_SYNC_PAYLOAD_BYTES", "MAX_SNAPSHOT_BYTES", "MAX_BODY_MEMORY_BYTES",
		"MAX_APP_BODY_MEMORY_BYTES", "MAX_SESSION_ANSWER_BYTES",
	}) do
		if values[name] < needed[name] then
			refuse("variable %s: value '%d' is not valid with MAX_KV_VALUE_SIZE_BYTES=%d and MAX_KEY_BYTES=%d: allowed is "
				.. "at least %d, which the largest record takes", name, values[name], values.MAX_KV_VALUE_SIZE_BYTES,
				values.MAX_KEY_BYTES, needed[name])
		end
	end
end

-- What sealed snapshots need.
local function check_snapshots(values, refuse)
	if values.SNAPSHOT == "odyn" and values.TEE ~= "odyn" then
		refuse("variable SNAPSHOT: value 'odyn' is not valid with TEE=%s: allowed is with TEE=odyn, whose service has the "
			.. "storage", values.TEE)
	end
	if values.SNAPSHOT_ANCHOR and (values.SNAPSHOT == "off" or values.CHAIN ~= "evm") then
		refuse("variable SNAPSHOT_ANCHOR: value 'true' is not valid with SNAPSHOT=%s and CHAIN=%s: allowed is with a place "
			.. "for snapshots and CHAIN=evm", values.SNAPSHOT, values.CHAIN)
	end
end

--- Appends a line to `errors` for each forbidden combination.
-- @param values  by name; @param origins  name -> where a value is from
function M.check(values, origins, errors)
	local function refuse(text, ...) errors[#errors + 1] = text:format(...) end
	check_sizes(values, refuse)
	check_snapshots(values, refuse)
	if not values.IN_ENCLAVE then return end
	if values.TEE == "sim" then
		refuse("variable TEE: value 'sim' is not valid with IN_ENCLAVE=true: allowed is odyn or nitro")
	end
	if values.CHAIN == "local" then
		refuse("variable CHAIN: value 'local' is not valid with IN_ENCLAVE=true: allowed is evm")
	end
	-- The file decides who can put the secret together: it must be part of what is measured, as the configuration is.
	if values.RECOVERY and origins.RECOVERY ~= "file" then
		refuse("variable RECOVERY: not valid in the environment with IN_ENCLAVE=true: allowed is in the configuration file")
	end
	local urls = values.HELIOS_RPC_URL
	if values.CHAIN == "evm" and #urls < 2 and not (#urls == 1 and url.all_loopback(urls)) then
		refuse("variable HELIOS_RPC_URL: value '%s' is not valid with IN_ENCLAVE=true: allowed is "
			.. "a light client on loopback, or at least two URLs", types.urls.show(urls))
	end
end

--- Appends a line to `errors` for each key that a node needs and that is not set.
function M.check_start(values, errors)
	if values.CHAIN ~= "evm" then return end
	for _, name in ipairs({ "NOVA_APP_REGISTRY_ADDRESS", "KMS_REGISTRY_ADDRESS" }) do
		if not values[name] then
			errors[#errors + 1] = ("variable %s: not set, CHAIN=evm needs the contract's address"):format(name)
		end
	end
end

--- Appends a line to `errors` for each secret that must not be set.
-- @param is_set  function(name) -> whether the environment had that secret
function M.check_secrets(values, is_set, errors)
	if is_set("MASTER_SECRET_HEX") and values.IN_ENCLAVE and not values.ALLOW_OPERATOR_SECRET then
		errors[#errors + 1] = "variable MASTER_SECRET_HEX: not valid with IN_ENCLAVE=true, since the operator then "
			.. "knows the secret: allowed is together with ALLOW_OPERATOR_SECRET=true"
	end
end

--- Warnings about valid values that are probably mistakes.
-- @return list of lines
function M.notes(values)
	local notes = {}
	local function note(when, text, ...)
		if when then notes[#notes + 1] = text:format(...) end
	end
	note(values.MAX_BODY_MEMORY_BYTES < values.MAX_REQUEST_BODY_BYTES,
		"MAX_BODY_MEMORY_BYTES=%d is less than MAX_REQUEST_BODY_BYTES=%d: bodies beyond what any record takes "
			.. "will get 503",
		values.MAX_BODY_MEMORY_BYTES, values.MAX_REQUEST_BODY_BYTES)
	note(values.MAX_APP_BODY_MEMORY_BYTES < values.MAX_REQUEST_BODY_BYTES,
		"MAX_APP_BODY_MEMORY_BYTES=%d is less than MAX_REQUEST_BODY_BYTES=%d: bodies beyond what any record takes "
			.. "will get 429",
		values.MAX_APP_BODY_MEMORY_BYTES, values.MAX_REQUEST_BODY_BYTES)
	note(values.MAX_APP_STORAGE_BYTES < values.MAX_KV_VALUE_SIZE_BYTES,
		"MAX_APP_STORAGE_BYTES=%d is less than MAX_KV_VALUE_SIZE_BYTES=%d: large values will be refused",
		values.MAX_APP_STORAGE_BYTES, values.MAX_KV_VALUE_SIZE_BYTES)
	note(values.MAX_APP_TOTAL_BYTES ~= 0 and values.MAX_APP_TOTAL_BYTES < values.MAX_APP_STORAGE_BYTES,
		"MAX_APP_TOTAL_BYTES=%d is less than MAX_APP_STORAGE_BYTES=%d: no application can fill its quota",
		values.MAX_APP_TOTAL_BYTES, values.MAX_APP_STORAGE_BYTES)
	note(values.MAX_TOTAL_STORAGE_BYTES < values.MAX_APP_STORAGE_BYTES,
		"MAX_TOTAL_STORAGE_BYTES=%d is less than MAX_APP_STORAGE_BYTES=%d: no application can fill its share",
		values.MAX_TOTAL_STORAGE_BYTES, values.MAX_APP_STORAGE_BYTES)
	note(values.IN_ENCLAVE and values.ALLOW_DEV_IDENTITY,
		"ALLOW_DEV_IDENTITY=true has no effect with IN_ENCLAVE=true")
	note(not values.IN_ENCLAVE and values.ALLOW_DEV_IDENTITY,
		"ALLOW_DEV_IDENTITY=true: requests may name any wallet without proving it")
	note(values.IN_ENCLAVE and values.ALLOW_PRIVATE_PEERS,
		"ALLOW_PRIVATE_PEERS=true: URLs from the chain can lead into the private network of this node")
	note(values.IN_ENCLAVE and (values.NODE_INSTANCE_URL or ""):find("^http://") ~= nil,
		"NODE_INSTANCE_URL is not https: nodes in enclaves will not talk to this one")
	note(values.IN_ENCLAVE and values.AUDIT:find("^/") ~= nil,
		"AUDIT=%s: a file in an enclave ends with it; allowed is stdout, too, which the host can keep", values.AUDIT)
	note(values.METRICS_ADDR ~= "off" and not types.is_loopback_bind(values.METRICS_ADDR),
		"METRICS_ADDR=%s: other machines can read the metrics, over plain HTTP", values.METRICS_ADDR)
	return notes
end

--- MAX_APP_TOTAL_BYTES as set, or what follows from MAX_APP_STORAGE_BYTES.
function M.app_total(values)
	if values.MAX_APP_TOTAL_BYTES ~= 0 then return values.MAX_APP_TOTAL_BYTES end
	return math.max(APP_TOTAL_FACTOR * values.MAX_APP_STORAGE_BYTES, MIN_APP_TOTAL)
end

--- Sets the values that follow from others; call it after check() and notes().
function M.settle(values)
	if values.ALLOW_PRIVATE_PEERS == nil then values.ALLOW_PRIVATE_PEERS = not values.IN_ENCLAVE end
	if values.IN_ENCLAVE then values.ALLOW_DEV_IDENTITY = false end
end

return M
