--- Names of snapshot files: <wallet>/<sequence, 20 digits>.snap with records, or .manifest (docs/snapshots.md).

local M = {}

local ENDINGS = { records = "snap", manifest = "manifest" }
local KINDS = { snap = "records", manifest = "manifest" }

--- Largest sequence: what every part of the node holds exactly.
M.MAX_SEQUENCE = (1 << 53) - 1

--- Most wallets in one place, and what a place with more is called.
M.MAX_WALLETS, M.TOO_MANY_WALLETS = 10000, "%s holds names of more than 10000 wallets"

--- The name of a file in its wallet's folder.
-- @param kind "records" or "manifest"
function M.file(sequence, kind)
	return ("%020d.%s"):format(sequence, ENDINGS[kind])
end

--- What a name says.
-- @return sequence, kind | nil: not a name of such a file
function M.parse(name)
	local digits, ending = name:match("^(%d+)%.(%l+)$")
	if not digits or #digits ~= 20 or not KINDS[ending] then return nil end
	local sequence = math.tointeger(tonumber(digits))
	if not sequence or sequence < 1 or sequence > M.MAX_SEQUENCE then return nil end
	return sequence, KINDS[ending]
end

--- Whether a folder's name is a wallet, as nodes write it.
function M.is_wallet(name)
	return #name == 42 and name:find("^0x[%x]+$") ~= nil and name == name:lower()
end

--- The folder of a master secret's snapshots: 16 digits of its hash.
function M.of_secret(secret)
	return secret:keccak256():match("^0x(%x+)$"):sub(1, 16)
end

return M
