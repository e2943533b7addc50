--- Calls of the registries' functions: what they are sent as, and what their outcomes mean.

local native = require("kms_native")

local M = {}

--- @param contract "registry" or "kms"; @param name of the function; @param ... its arguments as texts
-- @return query; its fields for others: key (queries of one key ask the same), name
function M.new(contract, name, ...)
	return { contract = contract, name = name, key = table.concat({ name, ... }, " "), ... }
end

--- Queries of one entry of a registry.
function M.instance(wallet) return M.new("registry", "getInstanceByWallet", wallet) end
function M.app(app_id) return M.new("registry", "getApp", app_id) end
function M.version(app_id, version_id) return M.new("registry", "getVersion", app_id, version_id) end

--- The call of an RPC server. A query that is asked again keeps what it is sent as.
-- @param contracts addresses { registry, kms }; @param tag the block, as eth_call takes it
function M.call(query, contracts, tag)
	query.message = query.message or {
		to = contracts[query.contract], data = assert(native.abi_call(query.name, table.unpack(query))),
	}
	return { "eth_call", query.message, tag }
end

--- The result of a query.
-- @param outcome of kms.chain.rpc_server, without failures
-- @param former an earlier result of the query, which is returned where it is the same; or nil
-- @return { value, bytes (of which value was decoded) } or { reverted = message } | nil, message
function M.result(query, outcome, former)
	if outcome.revert then
		return former and former.reverted == outcome.revert and former or { reverted = outcome.revert }
	end
	local bytes = outcome.result
	if former and former.bytes == bytes then return former end
	if bytes == "0x" then return nil, "there is no contract at " .. query.message.to end
	if type(bytes) ~= "string" then return nil, query.name .. " gave no data" end
	local value, message = native.abi_decode(query.name, bytes)
	if value == nil then return nil, query.name .. ": " .. message end
	return { value = value, bytes = bytes }
end

return M
