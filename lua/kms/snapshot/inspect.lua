--- Looks at the sealed snapshots of a place for the operator of a node, which has the key: what there is, and whether
-- every file of it opens.

local loop = require("kms.base.loop")
local manifests = require("kms.snapshot.manifest")
local native = require("kms_native")

local M = {}

local PAUSE_MS = 2 -- after each file: requests have the pool in between

-- Opens one file. Returns nothing | the reason why it is not usable.
local function check_file(place, master, wallet, file)
	local body, message = place:read(wallet, file.sequence, "records")
	if not body then return message end
	local opened, hash = native.snapshot_open(master, "records", wallet, file.sequence, body)
	if not opened then return hash end
	opened:close()
	if hash ~= file.sha256 then return "is another file than the one that its manifest names" end
	return nil
end

-- Opens all files of a manifest that have not been opened yet.
local function check_files(place, master, manifest, found, done)
	for _, file in ipairs(manifest.files) do
		if not done[file.sequence] then
			done[file.sequence] = true
			local reason = check_file(place, master, manifest.wallet, file)
			found.files, found.bytes = found.files + 1, found.bytes + file.bytes
			if reason then found.bad[#found.bad + 1] = { sequence = file.sequence, kind = "records", reason = reason } end
			loop.sleep(PAUSE_MS)
		end
	end
end

-- Opens all that a wallet has.
local function check_wallet(place, master, wallet, listed)
	local found, done = { wallet = wallet, manifests = #listed.manifests, files = 0, bytes = 0, bad = {}, opened = {} }, {}
	for i = #listed.manifests, 1, -1 do
		local sequence = listed.manifests[i]
		local manifest, message = manifests.read(place, master, wallet, sequence)
		if manifest then
			found.newest_time = found.newest_time or manifest.time
			table.insert(found.opened, { sequence = sequence, time = manifest.time, sha256 = manifest.sha256 })
			check_files(place, master, manifest, found, done)
		else
			found.bad[#found.bad + 1] = { sequence = sequence, kind = "manifest", reason = message }
		end
	end
	return found
end

--- Opens every file that a manifest names; yields.
-- @return list of { wallet, manifests (how many), files, bytes, newest_time (Unix ms, nil: no manifest opens), opened:
--   list of manifests that open, newest first, { sequence, time (Unix ms), sha256 (of the file) }, bad: list of
--   { sequence, kind, reason } }, by wallet | nil, message
function M.verify(place, master)
	local listing, message = place:list()
	if not listing then return nil, message end
	local found = {}
	for wallet, listed in pairs(listing) do found[#found + 1] = check_wallet(place, master, wallet, listed) end
	table.sort(found, function(a, b) return a.wallet < b.wallet end)
	return found
end

return M
