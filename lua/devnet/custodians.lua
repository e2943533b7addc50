--- Custodians of a devnet (docs/recovery.md): their keys, which age-keygen makes; the file for RECOVERY; the allow list
-- by which they know nodes. All in one folder, unlike in life, where each key is on a machine of its own.

local anvil = require("devnet.anvil")
local commands = require("devnet.commands")
local data_file = require("kms.base.data_file")
local files = require("kms.base.files")
local uv = require("luv")

local M = {}

local Custodians = {}
Custodians.__index = Custodians

local NAMES = {
	"alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy", "karl", "lena", "mike", "nina",
	"oscar", "peggy",
}
--- Fewest custodians, and the least threshold; most custodians.
M.LEAST, M.MOST = 2, #NAMES

local KEYGEN_MS = 20000
local NO_KEYGEN = "%s: the custodians' keys are made by age-keygen: install age (Debian: apt install age)"
local NO_PCR = ("0"):rep(96) -- of a simulated document
local SNAPSHOT_SECONDS = "2"
local SET_HEADER = "-- RECOVERY of the nodes of this devnet: who can restore its master secret (docs/recovery.md).\n"
local ALLOWED_HEADER = "-- By this the custodians of this devnet know its nodes (docs/operating.md, Attestation).\n"

-- Makes a custodian's key unless it has one, and reads its public part. Throws.
local function read_key(self, person)
	local function run(...)
		local code, text = commands.run({
			program = "age-keygen", args = { ... }, log = self.dir .. "/age-keygen.log", timeout_ms = KEYGEN_MS,
		})
		if not code then error(NO_KEYGEN:format(text), 0) end
		if code ~= 0 then error("age-keygen failed: " .. text, 0) end
		return text
	end
	if not uv.fs_stat(person.key_file) then run("-o", person.key_file) end
	local text = run("-y", person.key_file)
	person.key = text:match("age1%w+") or error("age-keygen printed no key: " .. text, 0)
end

--- Makes the keys and the file for RECOVERY, as far as they are not there. Yields; throws a text where a step fails.
function Custodians:make()
	assert(files.make_dir(self.dir))
	local list = {}
	for i, person in ipairs(self.people) do
		read_key(self, person)
		list[i] = { name = person.name, key = person.key }
	end
	local ok, message = data_file.write(self.dir .. "/custodians.lua", SET_HEADER, {
		custodians = list, threshold = self.threshold,
	})
	if ok then ok, message = files.make_dir(self.snapshots) end
	if not ok then error(message, 0) end
end

--- What nodes need to outlive the loss of all of them: settings.
function Custodians:settings()
	return {
		RECOVERY = assert(uv.fs_realpath(self.dir)) .. "/custodians.lua", SNAPSHOT = assert(uv.fs_realpath(self.snapshots)),
		SNAPSHOT_INTERVAL_SECONDS = SNAPSHOT_SECONDS,
	}
end

--- Writes the allow list: each node's root, since documents are simulated here, and the chain. Throws.
-- @param net  devnet with its registry
function Custodians:write_allowed(net)
	local roots = {}
	for i, node in ipairs(net.nodes) do roots[i] = node.attest_root end
	local ok, message = data_file.write(self.allowed, ALLOWED_HEADER, {
		allow_debug = true, roots = roots,
		images = { { name = "devnet", pcrs = { [0] = NO_PCR, [1] = NO_PCR, [2] = NO_PCR } } },
		chain = {
			id = anvil.CHAIN_ID, registry = net.registry.apps, kms_registry = net.registry.kms,
			app_id = tostring(net.registry.kms_app_id),
		},
	})
	if not ok then error(message, 0) end
end

--- The words of `nova-kms recovery` that name a node of this devnet.
-- @param command  "shares", "check", "give" or "show"; @param ...  further words
-- @return list
function Custodians:words(command, node, ...)
	local words = { "recovery", command, "--url", node.url }
	if command ~= "show" then
		table.move({ "--pcr", self.allowed, "--allow-simulated" }, 1, 3, #words + 1, words)
	end
	return table.move({ ... }, 1, select("#", ...), #words + 1, words)
end

--- The words by which a custodian rehearses, or gives its share to a node.
-- @param command  "check" or "give"; @param person  of self.people; @param rpc_url  for "give"
function Custodians:own_words(command, node, person, rpc_url)
	local own = { "-i", person.key_file, "--share", person.share_file }
	if command == "give" then table.move({ "--rpc", rpc_url, "--yes" }, 1, 3, #own + 1, own) end
	return self:words(command, node, table.unpack(own))
end

--- The threshold for a number of custodians.
-- @param count  or nil: none; @param threshold  or nil: more than half
-- @return threshold (nil: there are no custodians) | false, message
function M.threshold(count, threshold)
	if not count and not threshold then return nil end
	if not count then return false, "--threshold needs --custodians" end
	if threshold and threshold > count then
		return false, ("--threshold: '%d' is more than the number of custodians (%d)"):format(threshold, count)
	end
	return threshold or count // 2 + 1
end

--- Custodians whose keys are not made yet.
-- @param dir  of the devnet; @param count, threshold  as M.threshold checked them
-- @return custodians { dir, people (list of { name, key_file, share_file }), threshold, allowed (path of the allow
--   list), shares, snapshots (folders) }
function M.new(dir, count, threshold)
	local self = setmetatable({
		dir = dir .. "/custodians", people = {}, threshold = threshold, snapshots = dir .. "/snapshots",
	}, Custodians)
	self.allowed, self.shares = self.dir .. "/allowed.lua", self.dir .. "/shares"
	for i = 1, count do
		self.people[i] = {
			name = NAMES[i], key_file = ("%s/%s.key"):format(self.dir, NAMES[i]),
			share_file = ("%s/%s.age"):format(self.shares, NAMES[i]),
		}
	end
	return self
end

return M
