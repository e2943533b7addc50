--- The hooks: the facts that each one gets, the kind of its result, what happens when it fails, and sample facts
-- that a new policy is tried with.

local M = {}

local WALLET = "0x00000000000000000000000000000000000000a1"
local OTHER = "0x00000000000000000000000000000000000000b2"

local REQUEST = { "route", "app_id", "version_id", "instance_id", "wallet", "remote", "now" }
local PEER = {
	"wallet", "url", "app_id", "version_id", "instance_id", "operator", "zk_verified", "rtt_ms", "failures", "last_ok_ms",
	"features",
}

local function names(...)
	local list = {}
	for _, part in ipairs({ ... }) do table.move(part, 1, #part, #list + 1, list) end
	return list
end

local function request(route, more)
	local facts = {
		route = route, app_id = "1000", version_id = "1", instance_id = "7", wallet = WALLET, remote = "192.0.2.1",
		now = 1700000000000,
	}
	for name, value in pairs(more or {}) do facts[name] = value end
	return { facts }
end

local function peer(more)
	local facts = {
		wallet = WALLET, url = "https://a.example", app_id = "49", version_id = "1", instance_id = "1",
		operator = OTHER, zk_verified = true, rtt_ms = 12, failures = 0, last_ok_ms = 1700000000000,
	}
	for name, value in pairs(more or {}) do facts[name] = value end
	return facts
end

-- Facts of a verified document (docs/protocol.md section 13). pcrs: number of a register -> value in hexadecimal.
local function attestation()
	local zero = ("00"):rep(48)
	return {
		pcrs = { [0] = ("ab"):rep(48), [1] = zero, [2] = zero, [8] = zero }, policy = ("cd"):rep(32),
		timestamp_ms = 1700000000000, module_id = "i-0", simulated = false,
	}
end

local function record(more)
	local facts = {
		app_id = "1000", key = "config/db", size = 120, updated_at_ms = 1700000000000, tombstone = false, ttl_ms = 0,
		from = WALLET, now = 1700000000000,
	}
	for name, value in pairs(more or {}) do facts[name] = value end
	return facts
end

local function event(name)
	return { event = name, wallet = WALLET, url = "https://a.example", count = 1, now = 1700000000000 }
end

--- The hooks by path, each with:
--   kind     of the result, as policy_vm's call names it
--   closed   whether a failure refuses; if not, the shipped hook decides
--   facts    names; reading any other one is an error
--   samples  lists of arguments
--   about    when it is called, for people
M.HOOKS = {
	["access.request"] = {
		kind = "verdict", closed = true, facts = REQUEST, about = "every authorized request",
		-- Without the opening of a session: a policy that does not know that route must not keep a node from its start.
		samples = { request("derive"), request("get"), request("list"), request("put"), request("delete") },
	},
	["access.derive"] = {
		kind = "verdict", closed = true, facts = names(REQUEST, { "path", "context", "length" }),
		about = "a key is to be derived",
		samples = {
			request("derive", { path = "wallet/root", context = "", length = 32 }),
			request("derive", { path = "data_key", context = "", length = 32 }),
			request("derive", { path = "p", context = "c", length = 1024 }),
		},
	},
	["access.data"] = {
		kind = "verdict", closed = true, facts = names(REQUEST, { "key", "size", "ttl_ms" }),
		about = "a record is to be read, listed, written or deleted",
		samples = {
			request("get", { key = "config/db" }), request("list"), request("delete", { key = "config/db" }),
			request("put", { key = "config/db", size = 1024, ttl_ms = 0 }),
		},
	},
	["sync.backoff"] = {
		kind = "number", facts = PEER, about = "seconds until a peer is tried again",
		samples = { { peer(), 1 }, { peer({ failures = 50 }), 50 } },
	},
	["sync.peers"] = {
		kind = "list", facts = PEER, about = "to whom changes are pushed, in this order",
		samples = { { {} }, { { peer(), peer({ wallet = OTHER }) } },
			{ { { wallet = WALLET, url = "https://a.example" }, { wallet = OTHER, url = "https://b.example" } } } },
	},
	["sync.accept"] = {
		kind = "verdict", about = "a record comes in from a peer",
		facts = { "app_id", "key", "size", "updated_at_ms", "tombstone", "ttl_ms", "from", "now" },
		samples = { { record() }, { record({ tombstone = true, size = 0 }) } },
	},
	["sync.release_secret"] = {
		kind = "verdict", closed = true, about = "a verified peer asks for the master secret",
		facts = names(PEER, { "pcrs", "policy", "timestamp_ms", "module_id", "simulated" }),
		samples = { { peer() }, { peer(), attestation() } },
	},
	["blacklist.decide"] = {
		kind = "ban", facts = { "event", "wallet", "url", "count", "now" }, about = "an event counts against a peer",
		samples = { { event("bad_response_signature") }, { event("wrong_master_secret") }, { event("unreachable") } },
	},
}

--- The handler of an extra route, described in the same way.
M.EXTRA = {
	kind = "data", about = "an extra route",
	samples = { { {
		service = "nova-kms", version = "0", wallet = WALLET, url = "https://a.example", ready = true, app_id = "49",
		nodes = 3, policy = ("cd"):rep(32), now = 1700000000000,
	} } },
}

--- The paths of the hooks, sorted.
function M.paths()
	local list = {}
	for path in pairs(M.HOOKS) do list[#list + 1] = path end
	table.sort(list)
	return list
end

--- The names of facts for policy_vm.
-- @return table: path of a hook -> set of names
function M.facts()
	local facts = {}
	for path, hook in pairs(M.HOOKS) do
		facts[path] = {}
		for _, name in ipairs(hook.facts) do facts[path][name] = true end
	end
	return facts
end

return M
