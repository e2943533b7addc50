--- Faults that the simulation must find: FAULT=name plants one. Nothing in the node knows of them: those of the store's
-- rules are linked in the place of its functions (spec/simulate/faults.c), the others wrap the node's modules here.

local loop = require("spec.simulate.virtual_loop")

local M = {}

-- Faults of spec/simulate/faults.c.
local IN_STORE = { counter = true, stub = true, tie = true }

-- A function that runs before a module's new() returns what it has made.
local function after_new(name, change)
	local module = require(name)
	local new = module.new
	function module.new(...)
		local made = new(...)
		change(made)
		return made
	end
end

local IN_NODE = {
	-- A member that is asked by another one with sessions does not ask back.
	asked = function()
		local contact = require("kms.sync.contact")
		local is_due = contact.is_due
		function contact.is_due(exchange, peer, ...)
			local asks = peer.asks_first and peer.called_ms and exchange:uses_session(peer)
			return not asks and is_due(exchange, peer, ...)
		end
	end,
	-- A member that calls this node counts as one that this node's calls reach, though they do not.
	called = function()
		after_new("kms.peers", function(peers)
			local has_called = peers.has_called
			function peers:has_called(peer)
				has_called(self, peer)
				peer.call_failed = nil
			end
		end)
	end,
	-- Members with sessions get no contact, but what repair asks them.
	contact = function()
		local contact = require("kms.sync.contact")
		local is_due = contact.is_due
		function contact.is_due(exchange, peer, ...)
			return not exchange:uses_session(peer) and is_due(exchange, peer, ...)
		end
	end,
	-- A peer's cursor moves when a push is sent, though it may fail.
	cursor = function()
		after_new("kms.sync.push_pages", function(pages)
			local send = pages.send
			function pages:send(...)
				loop.spawn(send, self, ...)
				return { through = self.store:sequence(), later = 0, refused = false }
			end
		end)
	end,
	-- A page begins two changes behind the end of the one before it.
	page = function()
		local writer = getmetatable(require("kms.sync.message").writer({}, "", nil)).__index
		local page_request = writer.page_request
		function writer:page_request(pop, since, max_bytes)
			return page_request(self, pop, since < math.maxinteger and since + 2 or since, max_bytes)
		end
	end,
	-- Dead records are forgotten at once.
	retention = function()
		local core = require("kms.node.core")
		local new_store = core.new_store
		function core.new_store(config)
			return new_store(setmetatable({ TOMBSTONE_RETENTION_MS = 0 }, { __index = config }))
		end
	end,
}

--- Loads the store with the faults of its rules. To be called before anything requires kms_native.
function M.load_store(build)
	local open = assert(package.loadlib(build .. "/spec/faulty/kms_native.so", "luaopen_kms_native"))
	package.loaded.kms_native = open("kms_native")
end

--- Plants a fault in the node's modules; those of the store are there already. To be called before a node starts.
-- @param name asked, called, contact, counter, cursor, page, retention, stub or tie
function M.plant(name)
	assert(IN_STORE[name] or IN_NODE[name], "FAULT: " .. name .. " is none")
	if IN_NODE[name] then IN_NODE[name]() end
end

return M
