-- Which paths each application may derive keys for. Applications that are not listed may use any path except
-- data_key, which gives the key of an application's stored records.
local PATHS = {
	["1000"] = { "wallet/*", "session/*" },
	["1001"] = { "backup" },
}

local function listed(r)
	local globs = PATHS[r.app_id]
	if not globs then return true end
	for _, glob in ipairs(globs) do
		if kms.match(glob, r.path) then return true end
	end
	return false, "this application has no such path"
end

local function no_data_key(r)
	if r.path == "data_key" and r.context == "" then return false, "data_key is not derived for applications" end
end

return {
	derive = {
		{ name = "no-data-key", description = "the key of stored records stays in the node", decide = no_data_key },
		{ name = "listed-paths", description = "paths by application", decide = listed },
	},
}
