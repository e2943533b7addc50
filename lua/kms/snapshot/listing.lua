--- Listings of places that give names page after page. Whoever runs such a place, or fills it, may give no end of them.

local names = require("kms.snapshot.names")
local native = require("kms_native")

local M = {}

local Listing = {}
Listing.__index = Listing

local MAX_PAGES, MAX_MS = 1000, 600000
local MAX_NAMES = 1000000
local TOO_MANY = "ERR_TOO_LARGE"

local function wallet_of(self, wallet)
	local listed = self.wallets[wallet]
	if listed then return listed end
	if not names.is_wallet(wallet) or self.wallet_count >= names.MAX_WALLETS then
		self.too_many = self.too_many or names.is_wallet(wallet)
		return nil
	end
	listed = { manifests = {}, records = {}, unfinished = {} }
	self.wallets[wallet], self.wallet_count = listed, self.wallet_count + 1
	return listed
end

--- Adds a name that begins with the secret's folder; what is no name of a snapshot file is passed over, but counts.
-- @param path what follows that folder: <wallet>/<file>
function Listing:add(path)
	self.count = self.count + 1
	local wallet, file = path:match("^([^/]+)/([^/]+)$")
	local sequence, kind = names.parse(file or "")
	local listed = sequence and wallet_of(self, wallet)
	if not listed then return end
	if kind == "manifest" then
		table.insert(listed.manifests, sequence)
	else
		listed.records[sequence] = true
	end
end

local function finish(self)
	for _, listed in pairs(self.wallets) do table.sort(listed.manifests) end
	return self.wallets
end

--- Collects a listing; yields.
-- @param place what the place is, for messages: "the bucket"
-- @param page function(listing, token): adds names -> the next page's token | false: there is none | nil, message, code
-- @return as Folder:list | nil, message, code (ERR_TOO_LARGE: beyond the limits)
function M.collect(place, page)
	local self = setmetatable({ wallets = {}, wallet_count = 0, count = 0 }, Listing)
	local token, deadline_ms = nil, native.mono_ms() + MAX_MS
	for _ = 1, MAX_PAGES do
		local following, message, code = page(self, token)
		if following == nil then return nil, message, code end
		if self.count > MAX_NAMES then return nil, ("%s holds more than %d names"):format(place, MAX_NAMES), TOO_MANY end
		if self.too_many then return nil, names.TOO_MANY_WALLETS:format(place), TOO_MANY end
		if not following then return finish(self) end
		if following == token then return nil, place .. " gives the same page of its listing again", "ERR_HTTP" end
		if native.mono_ms() > deadline_ms then return nil, ("%s takes too long to list"):format(place), "ERR_TIMEOUT" end
		token = following
	end
	return nil, ("%s gives more than %d pages of its listing"):format(place, MAX_PAGES), TOO_MANY
end

return M
