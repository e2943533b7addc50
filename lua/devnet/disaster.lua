--- The disaster for a devnet with custodians: while values are written, all nodes are killed and lose all their files;
-- fresh nodes get the master secret from custodians, and the records from sealed snapshots. A table shows it, and it
-- fails where a key differs, or a value is missing that was acknowledged before the last snapshot.

local commands = require("devnet.commands")
local drill = require("devnet.drill")
local load = require("devnet.load")
local loop = require("kms.base.loop")
local loss = require("devnet.loss")
local uv = require("luv")
local wakeup = require("kms.async.wakeup")

local M = {}

--- Fewest nodes of a disaster: a write counts when two hold it.
M.MIN_NODES = 2
--- Settings of its nodes: snapshots are written when it says so, and it knows which writes came before.
M.SETTINGS = { SNAPSHOT_INTERVAL_SECONDS = "86400" }

local LIMIT_MS = 600000 -- of the whole disaster
local COMMAND_MS, WAIT_MS, READY_MS, POLL_MS = 60000, 60000, 120000, 100
local FIRST, BEFORE, AFTER = 100, 200, 30 -- acknowledged writes: before a snapshot, before the last one, after it
local SAVING = "a sealed snapshot is being written"

-- Runs nova-kms until it succeeds; again while it says `meanwhile`.
local function run(self, words, meanwhile)
	local deadline = uv.hrtime() + WAIT_MS * 1000000
	while true do
		local code, text = commands.run({ program = self.net.program, args = words, log = self.log, timeout_ms = COMMAND_MS })
		if code == 0 then return end
		local again = meanwhile and text:find(meanwhile, 1, true) and uv.hrtime() < deadline
		if not again then error(("nova-kms %s: %s"):format(table.concat(words, " "), text), 0) end
		loop.sleep(POLL_MS)
	end
end

local function save_all(self)
	for _, node in ipairs(self.net.nodes) do
		run(self, { "snapshot", "save", "--socket", node.dir .. "/control.sock" }, SAVING)
	end
end

-- Waits until a node says that it has so many shares.
local function wait_for_custodians(self, node, have)
	local reason = ("waiting for custodians (%d of %d)"):format(have, self.net.custodians.threshold)
	local deadline = uv.hrtime() + WAIT_MS * 1000000
	while true do
		local ready, why = node:ready()
		if not ready and why == reason then return end
		if uv.hrtime() > deadline then error(("node %d: %s, not %s"):format(node.index, why or "serves", reason), 0) end
		loop.sleep(POLL_MS)
	end
end

-- ---- the table ------------------------------------------------------------------------------------------

local function say(self, ...)
	self.out:write(...)
	self.out:flush()
end

local function row(self, text, ...)
	local cells = {}
	for i, node in ipairs(self.net.nodes) do
		local held = "down"
		if node.process:alive() then held = node:ready() and self.load:held(i) or "no key" end
		cells[i] = ("%8s"):format(held)
	end
	say(self, ("%5.1f s%s   %s\n"):format((uv.hrtime() - self.begun) / 1e9, table.concat(cells), text:format(...)))
end

local function head(self)
	local cells = {}
	for i in ipairs(self.net.nodes) do cells[i] = ("%8s"):format("node " .. i) end
	say(self, "\n", ("%7s%s   what happened before\n"):format("time", table.concat(cells)))
end

local function names_of(people, first, last)
	local names = {}
	for i = first, last do names[#names + 1] = people[i].name end
	return table.concat(names, ", ")
end

-- ---- what happens ---------------------------------------------------------------------------------------

local function prepare(self)
	local net, custodians = self.net, self.net.custodians
	row(self, "%d nodes serve; nothing is written yet", #net.nodes)
	run(self, custodians:words("shares", net.nodes[1], "--out", custodians.shares))
	for _, person in ipairs(custodians.people) do run(self, custodians:own_words("check", net.nodes[1], person)) end
	row(self, "%d custodians got their shares, and showed that their keys open them", #custodians.people)
	self.keys = self.load:derive("before", 1)
	self.load:start()
	self.load:reach(FIRST)
	save_all(self)
	row(self, "%d keys were derived; values are being written, a first snapshot is in %s", self.keys, self.place)
	self.load:reach(BEFORE)
	self.promised, self.before = self.load:acknowledged()
	save_all(self)
	row(self, "the last snapshot: %d values were acknowledged before it began, and writing goes on", self.before)
	self.load:reach(self.load.count + AFTER)
end

local function strike(self)
	loss.strike(self.net)
	self.load:stop()
	self.acknowledged, self.all = self.load:acknowledged()
	row(self, "all nodes were killed (SIGKILL) under load, at %d values, and all their files were deleted", self.all)
	loss.replace(self.net)
	for _, node in ipairs(self.net.nodes) do wait_for_custodians(self, node, 0) end
	row(self, "fresh nodes with new wallets were registered on the chain; they have no secret and no records")
end

local function give(self, index)
	local custodians = self.net.custodians
	run(self, custodians:own_words("give", self.net.nodes[1], custodians.people[index], self.net.chain.url))
end

local function recover(self)
	local people, threshold = self.net.custodians.people, self.net.custodians.threshold
	for i = 1, threshold - 1 do give(self, i) end
	wait_for_custodians(self, self.net.nodes[1], threshold - 1)
	row(self, "%s gave node 1 their shares: %d of the %d that it needs, and nothing happens",
		names_of(people, 1, threshold - 1), threshold - 1, threshold)
	give(self, threshold)
	self.net:wait_ready(READY_MS)
	self.load:connect()
	row(self, "so did %s: node 1 has the secret again, and gave it to the others; the records are restored",
		people[threshold].name)
end

-- ---- what is compared -----------------------------------------------------------------------------------

local function fail(self, text, ...)
	table.insert(self.failures, text:format(...))
end

local function compare_keys(self)
	for i in ipairs(self.net.nodes) do
		local name = "node-" .. i
		self.load:derive(name, i)
		local different = self.load:different_keys("before", name)
		if different > 0 then fail(self, "node %d: %d of %d keys differ", i, different, self.keys) end
		say(self, ("keys     node %d derives %d of %d bit by bit as before\n"):format(i, self.keys - different, self.keys))
	end
end

local function compare_values(self)
	for i in ipairs(self.net.nodes) do
		local good, wrong = self.load:compare(i, self.promised)
		for _, text in ipairs(wrong) do fail(self, "%s", text) end
		say(self, ("values   node %d has %d of the %d that were acknowledged before the last snapshot\n"):format(i, good,
			self.before))
	end
	local later = {}
	for key, stamp in pairs(self.acknowledged) do later[key] = not self.promised[key] and stamp or nil end
	say(self, ("         of %d that were acknowledged later, %d were in it, too: the others are lost with the last node\n")
		:format(self.all - self.before, (self.load:compare(1, later))))
end

local function play(self)
	self.load:connect()
	head(self)
	prepare(self)
	strike(self)
	recover(self)
	say(self, "\n")
	compare_keys(self)
	compare_values(self)
	drill.compare(self)
end

--- Runs the disaster on a devnet with custodians that serves.
-- @param world  stdout, program
-- @return true | nil, message: what is lost, or which step was not possible
function M.run(net, world)
	local self = {
		net = net, out = world.stdout, program = world.program, load = load.new(net, net.dir .. "/keys"), failures = {},
		begun = uv.hrtime(), log = net.custodians.dir .. "/commands.log",
		place = net.s3 and net.s3.place or net.custodians.snapshots,
	}
	local ended = wakeup.new()
	loop.spawn(function()
		local ok, message = pcall(play, self)
		if not ok then fail(self, "%s", tostring(message)) end
		ended:wake()
	end)
	if not ended:wait(LIMIT_MS) then fail(self, "it did not end within %d s", LIMIT_MS // 1000) end
	if #self.failures > 0 then return nil, "the drill failed:\n  " .. table.concat(self.failures, "\n  ") end
	say(self, "\nNumbers are values that a node has. ", self.log, " shows what the custodians ran.\n")
	return true
end

return M
