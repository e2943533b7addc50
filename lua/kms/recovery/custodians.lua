--- The sets of custodians that RECOVERY names (docs/protocol.md section 16): any `threshold` of a set restore the
-- master secret together. A data file, as allow lists are (kms.base.data_file):
--
--     return {
--         threshold = 3,
--         custodians = {                      -- 2 to 16
--             { name = "alice", key = "age1..." },
--         },
--         earlier = {},                       -- whole older sets, whose shares are still taken
--     }

local data_file = require("kms.base.data_file")
local json = require("kms.base.json")
local native = require("kms_native")

local M = {}

local LEAST, MOST, MAX_EARLIER = 2, 16, 16
local SHORT_ID_BYTES = 16 -- of a set's id in a share

-- Returns { name, key (text), recipient (32 bytes) } | nil, message.
local function read_custodian(entry, where)
	if type(entry) ~= "table" then return nil, where .. " must be a table" end
	local ok, message = data_file.refuse_unknown(entry, { "name", "key" }, where)
	if not ok then return nil, message end
	local name, key = entry.name, entry.key
	if type(name) ~= "string" or #name > 64 or not name:find("^%l[%l%d_.-]*$") then
		return nil, where .. ": name must be 1 to 64 of a-z, 0-9, _ . - and begin with a letter"
	end
	local recipient = type(key) == "string" and native.age_recipient(key)
	if not recipient then return nil, ("%s (%s): key must be what age-keygen prints, 'age1...'"):format(where, name) end
	return { name = name, key = key, recipient = recipient }
end

-- Returns list | nil, message.
local function read_list(list, where)
	if not data_file.is_list(list, LEAST, MOST) then
		return nil, ("%scustodians must be a list of %d to %d"):format(where, LEAST, MOST)
	end
	local custodians, seen = {}, {}
	for i, entry in ipairs(list) do
		local place = ("%scustodians[%d]"):format(where, i)
		local custodian, message = read_custodian(entry, place)
		if not custodian then return nil, message end
		for _, text in ipairs({ custodian.name, custodian.key }) do
			if seen[text] then return nil, ("%s: '%s' occurs twice"):format(place, text) end
			seen[text] = true
		end
		custodians[i] = custodian
	end
	return custodians
end

local function id_of(threshold, custodians)
	local list = {}
	for i, custodian in ipairs(custodians) do list[i] = { key = custodian.key, name = custodian.name } end
	return native.sha256(json.encode({ custodians = list, threshold = threshold }))
end

-- Returns set | nil, message.
local function read_set(t, where, known)
	if type(t) ~= "table" then return nil, where .. "must be a table" end
	local ok, message = data_file.refuse_unknown(t, known, where == "" and "custodians' file" or where)
	if not ok then return nil, message end
	local custodians
	custodians, message = read_list(t.custodians, where)
	if not custodians then return nil, message end
	local threshold = t.threshold
	if math.type(threshold) ~= "integer" or threshold < LEAST or threshold > #custodians then
		return nil, ("%sthreshold must be a whole number of %d to the number of custodians"):format(where, LEAST)
	end
	local id = id_of(threshold, custodians)
	return {
		id = native.hex_encode(id), short_id = id:sub(1, SHORT_ID_BYTES), threshold = threshold, custodians = custodians,
		native = { id = id, threshold = threshold, count = #custodians },
	}
end

--- Checks the content of a custodians' file.
-- @return sets as load | nil, message
function M.check(content)
	local current, message = read_set(content, "", { "threshold", "custodians", "earlier" })
	if not current then return nil, message end
	local earlier = content.earlier or {}
	if not data_file.is_list(earlier, 0, MAX_EARLIER) then
		return nil, ("earlier must be a list of at most %d sets"):format(MAX_EARLIER)
	end
	local sets, seen = { current }, { [current.short_id] = true }
	for i, t in ipairs(earlier) do
		local set
		set, message = read_set(t, ("earlier[%d]: "):format(i), { "threshold", "custodians" })
		if not set then return nil, message end
		if seen[set.short_id] then return nil, ("earlier[%d]: the same set occurs twice"):format(i) end
		seen[set.short_id], sets[#sets + 1] = true, set
	end
	return sets
end

--- Reads the file that RECOVERY names.
-- @param path  or nil
-- @return list of sets, the one in force first, then earlier ones: { id (64 digits), short_id (16 bytes), threshold,
--   custodians (list of { name, key, recipient (32 bytes) }; a custodian's x is its index), native (as
--   native.recovery_files takes it) } | false: RECOVERY is not set | nil, message
function M.load(path)
	if not path then return false end
	local content, message = data_file.read(path)
	if not content then return nil, "variable RECOVERY: " .. message end
	local sets
	sets, message = M.check(content)
	if not sets then return nil, ("variable RECOVERY: %s: %s"):format(path, message) end
	return sets
end

return M
