--- Which snapshot files are not needed any more.

local M = {}

-- The sequences of the newest full sets, of which `keep` stay: set.
local function kept_sets(manifests, keep)
	local kept, count = {}, 0
	for i = #manifests, 1, -1 do
		local full = manifests[i].full
		if not kept[full] then
			if count == keep then break end
			kept[full], count = true, count + 1
		end
	end
	return kept
end

--- What of a node's own files may go.
-- @param listed of place:list(), this wallet's part
-- @param manifests those of them that open, oldest first: { sequence, full, files }
-- @param keep how many full sets stay, with the changes that belong to them
-- @return list of { sequence, kind }, manifests first, so that none is left that names a file which is gone
function M.own(listed, manifests, keep)
	local gone, kept, needed, opens = {}, kept_sets(manifests, keep), {}, {}
	local newest = manifests[#manifests]
	if not newest then return gone end
	local oldest
	for _, manifest in ipairs(manifests) do
		opens[manifest.sequence] = true
		if kept[manifest.full] then
			oldest = oldest or manifest.sequence
			for _, file in ipairs(manifest.files) do needed[file.sequence] = true end
		else
			gone[#gone + 1] = { sequence = manifest.sequence, kind = "manifest" }
		end
	end
	for _, sequence in ipairs(listed.manifests) do
		if not opens[sequence] and sequence < oldest then gone[#gone + 1] = { sequence = sequence, kind = "manifest" } end
	end
	local records = {}
	for sequence in pairs(listed.records) do
		if not needed[sequence] and sequence < newest.sequence then records[#records + 1] = sequence end
	end
	table.sort(records)
	for _, sequence in ipairs(records) do gone[#gone + 1] = { sequence = sequence, kind = "records" } end
	return gone
end

--- All files of a wallet, manifests first.
function M.all(listed)
	local gone = {}
	for _, sequence in ipairs(listed.manifests) do gone[#gone + 1] = { sequence = sequence, kind = "manifest" } end
	for sequence in pairs(listed.records) do gone[#gone + 1] = { sequence = sequence, kind = "records" } end
	return gone
end

return M
