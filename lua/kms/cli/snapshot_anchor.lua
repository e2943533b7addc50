--- Compares what a node found in its place for sealed snapshots with the newest anchor on chain, as RPC servers that
-- the operator names show it.

local rpc_chain = require("kms.cli.rpc_chain")
local session = require("kms.cli.session")
local mask = require("kms.config.url").mask

local M = {}

local shown, table_of = session.shown, session.table_of

-- What one RPC server shows. Returns anchor | false: there is none | nil, message.
local function ask(native, contract, url)
	local chain, view, anchor, message
	chain, message = rpc_chain.open(native, { id = 0, kms_registry = contract }, url)
	if chain then view, message = chain:snapshot() end
	if view then anchor, message = view:newest_snapshot_anchor() end
	if chain then chain:close() end
	if anchor == nil then return nil, ("%s: %s"):format(mask(url), message) end
	return anchor
end

local function is_same(a, b)
	if not a or not b then return a == b end
	return a.manifest == b.manifest and a.time == b.time and a.member == b.member
end

--- The newest anchor; all servers must show the same. Yields.
-- @param contract  address of KMSRegistry, or nil: it was not given; @param urls  of RPC servers
-- @return anchor { manifest, time, member } | false: there is none | nil, message, code
function M.newest(native, contract, urls)
	if not contract then return nil, "--kms-registry: the contract's address is missing", "ERR_USAGE" end
	local first
	for i, url in ipairs(urls) do
		local anchor, message = ask(native, contract, url)
		if anchor == nil then return nil, message, "ERR_CONNECT" end
		if i > 1 and not is_same(first, anchor) then
			return nil, "the RPC servers do not show the same anchor", "ERR_UNVERIFIED"
		end
		first = anchor
	end
	return first
end

--- Looks for an anchor's manifest.
-- @param wallets  as the control socket gives them (kms.snapshot.inspect)
-- @param anchor  of M.newest; @param time  function(Unix ms) -> text
-- @return whether nothing older than the anchor is all there is, line
function M.compare(wallets, anchor, time)
	if not anchor then return true, "anchor: nothing is anchored under the present master secret" end
	local text, newest = ("anchor: %s of %s: "):format(time(anchor.time * 1000), anchor.member), 0
	for _, value in ipairs(table_of(wallets)) do
		local wallet = table_of(value)
		for _, opened in ipairs(table_of(wallet.opened)) do
			local manifest = table_of(opened)
			if wallet.wallet == anchor.member and "0x" .. shown(manifest.sha256) == anchor.manifest then
				return true, text .. "is manifest " .. shown(manifest.sequence)
			end
			newest = math.max(newest, tonumber(manifest.time) or 0)
		end
	end
	if newest // 1000 >= anchor.time then return true, text .. "that manifest is gone, and newer ones are here" end
	return false, text .. "newer than everything here: an older state is stored"
end

return M
