--- What a node knows of its own snapshots under one secret: the full set in use, the changes after it, and all its
-- manifests. States are values: a set that could not be written leaves the one before it.

local M = {}

local MAX_CHANGES = 128 -- sets of changes to one full set: each manifest lists them all

--- The state before the first set of this process.
-- @param own manifests of earlier runs, oldest first
-- @return { secret, own, since (number of the last change of the store that is saved), full (sequence of the full set's
--   first file; nil: there is none yet), files (of the set and its changes), full_bytes, changed_bytes, changes }
function M.new(secret, own)
	return { secret = secret, own = own, since = 0, files = {}, full_bytes = 0, changed_bytes = 0, changes = 0 }
end

--- Whether all that the store holds is to be written, and not just what changed.
function M.wants_full(state)
	return not state.full or 2 * state.changed_bytes > state.full_bytes or state.changes >= MAX_CHANGES
end

-- Whether all files are still there of what this process saved last.
local function is_whole(state, listed, manifests)
	for _, file in ipairs(state.files) do
		if not listed.records[file.sequence] then return false end
	end
	return manifests[state.own[#state.own].sequence] == true
end

--- Looks whether somebody took files of what this process saved last, and forgets manifests that are gone.
-- @param listed of place:list(), this wallet's part
-- @return whether a full set is needed because of that
function M.has_lost(state, listed)
	if not state.full then return false end
	local manifests = {}
	for _, sequence in ipairs(listed.manifests) do manifests[sequence] = true end
	if is_whole(state, listed, manifests) then return false end
	for i = #state.own, 1, -1 do
		if not manifests[state.own[i].sequence] then table.remove(state.own, i) end
	end
	return true
end

--- The state after a set was written.
-- @param set of kms.snapshot.writer
function M.added(state, set, is_full)
	local files = is_full and {} or table.move(state.files, 1, #state.files, 1, {})
	table.move(set.files, 1, #set.files, #files + 1, files)
	return {
		secret = state.secret, own = state.own, since = set.since, files = files,
		full = is_full and set.files[1].sequence or state.full, full_bytes = is_full and set.bytes or state.full_bytes,
		changed_bytes = is_full and 0 or state.changed_bytes + set.bytes, changes = is_full and 0 or state.changes + 1,
	}
end

--- Forgets a manifest that was removed.
function M.forget(state, sequence)
	for i, manifest in ipairs(state.own) do
		if manifest.sequence == sequence then return table.remove(state.own, i) end
	end
end

return M
