--- The node: its parts in the order in which they need each other, and how a request goes
-- through them. Nothing here decides; each part is a module of its own.

local uv = require("luv")
local admin = require("kms.admin")
local app_routes = require("kms.routes.app")
local attestation_routes = require("kms.routes.attestation")
local auth = require("kms.auth.authenticate")
local chain = require("kms.chain")
local client_address = require("kms.http.client_address")
local clock = require("kms.base.clock")
local cluster = require("kms.node.assemble")
local err = require("kms.base.err")
local files = require("kms.base.files")
local http = require("kms.http.server")
local loop = require("kms.base.loop")
local native = require("kms_native")
local operator = require("kms.policy.gateway")
local public_routes = require("kms.routes.public")
local registry = require("kms.auth.authorize")
local sim = require("kms.tee.sim")
local sync_routes = require("kms.sync.route")
local tee = require("kms.tee")

local M = {}

local Node = {}
Node.__index = Node

-- The application that a local chain has registered, to try the node with.
local DEMO_APP_ID, OTHER_DEMO_APP_ID = "1000", "1001"
local MAX_ADDRESSES = 65536
local NEW_CHANNELS_PER_MINUTE = 60
local SECOND_MS = 1000
local EXPIRE_AT_ONCE = 1000

-- A per-minute limit whose whole minute may come at once; nil where the operator set 0.
local function limiter(per_minute, max_keys)
	if per_minute == 0 then return nil end
	return assert(native.limiter(per_minute, per_minute, max_keys))
end

-- Whether an address may go on.
function Node:within_address_limit(bucket, request, mono_ms)
	if not bucket then return true end
	local forwarded = self.trusted and request:header("x-forwarded-for")
	local address = client_address.limited(request.remote, forwarded, self.trusted, self.config.IN_ENCLAVE)
	if not address then return true end
	return bucket:take_address(address, mono_ms)
end

local function not_routed(why, allow)
	if why == "not_found" then return err.reply("ERR_NO_ROUTE") end
	if why == "options" then return { status = 204, headers = { Allow = allow }, body = "" } end
	return err.reply("ERR_METHOD", "use one of: " .. allow, { Allow = allow })
end

local function dispatch(self, request)
	local route, rest, allow = self.operator.routes.router:match(request.method, request.path)
	if not route then return not_routed(rest, allow) end
	request.route = route.name
	if not route.unlimited then
		local ok, wait_s = self:within_address_limit(self.address_limiter, request, self.mono_ms())
		if not ok then
			return err.reply("ERR_RATE", "too many requests from this address", { ["Retry-After"] = wait_s })
		end
	end
	return self.operator:admit(request, route) or route.handler(self, request, route, rest)
end

--- Answers one request; runs in a coroutine of its own.
-- @return status, headers, body
function Node:handle(request)
	local started = uv.hrtime()
	local reply = dispatch(self, request)
	local taken_ns = uv.hrtime() - started
	self.requests:observe(request.route, reply, taken_ns)
	local level = reply.status >= 500 and "warn" or request.wallet and "info" or "debug"
	if self.log:enabled(level) then
		self.log:log(level, "request", {
			request = request:id(), method = request.method, route = request.route, status = reply.status,
			ms = taken_ns // 1000000, remote = request.remote, wallet = request.wallet, app = request.app_id,
			name = self.log:name(request.name), code = reply.code,
			rule = request.rule, reason = request.reason,
		})
	end
	return reply.status, reply.headers, reply.body
end

local function store_of(config, wallet)
	return native.store({
		self = wallet, max_key = config.MAX_KEY_BYTES, max_value = config.MAX_KV_VALUE_SIZE_BYTES,
		max_app_bytes = config.MAX_APP_STORAGE_BYTES, max_total_bytes = config.MAX_TOTAL_STORAGE_BYTES,
		max_namespaces = config.MAX_NAMESPACES, max_tombstones = config.MAX_TOMBSTONES_PER_APP,
		tombstone_retention_ms = config.TOMBSTONE_RETENTION_MS, max_clock_skew_ms = config.MAX_CLOCK_SKEW_MS,
	})
end

-- Keys, store and the object that carries requests out.
local function open_core(self)
	local config = self.config
	local message
	self.channels = assert(native.channels(config.MAX_CHANNELS))
	self.tee, message = loop.complete(tee.open, { config = config, log = self.log, channels = self.channels })
	if not self.tee then return nil, message end
	self.store = assert(store_of(config, self.tee.address))
	self.nonces = assert(native.nonces(config.POP_TIMEOUT_SECONDS))
	local own_keys = self.tee.wallet ~= nil
	self.service = assert(native.service({
		wallet = self.tee.wallet, p384 = self.tee.p384, self = not own_keys and self.tee.address or nil,
		nonces = self.nonces, channels = self.channels, store = self.store,
		max_value = config.MAX_KV_VALUE_SIZE_BYTES, max_key = config.MAX_KEY_BYTES,
		pop_window_s = config.POP_TIMEOUT_SECONDS,
	}))
	return true
end

-- The identity of the demo application of a local chain.
local function demo_identity(config)
	local seed, message = sim.seed(config.DATA_DIR .. "/demo-app.seed")
	if not seed then return nil, message end
	local wallet, p384 = native.identity(seed)
	if not wallet then return nil, p384 end
	local app_id = config.KMS_APP_ID == DEMO_APP_ID and OTHER_DEMO_APP_ID or DEMO_APP_ID
	return { wallet = wallet:address(), tee_pubkey = p384:public_der(), app_id = app_id }
end

local function open_chain(self)
	local config = self.config
	local demo, message
	if config.CHAIN == "local" then
		demo, message = demo_identity(config)
		if not demo then return nil, message end
	end
	self.url = config.NODE_INSTANCE_URL or ("http://" .. config.BIND_ADDR)
	self.chain, message = chain.open({
		config = config, log = self.log, demo = demo, wall_ms = self.wall_ms,
		identity = { wallet = self.tee.address, tee_pubkey = self.tee.public_der, url = self.url },
	})
	if not self.chain then return nil, message end
	self.registry = registry.new(self.chain, config.REGISTRY_CACHE_TTL_SECONDS * 1000, self.log)
	return true
end

local function open_routes(self)
	local config = self.config
	self.address_limiter = limiter(config.RATE_LIMIT_PER_MINUTE, MAX_ADDRESSES)
	self.nonce_limiter = limiter(config.NONCE_RATE_LIMIT_PER_MINUTE, MAX_ADDRESSES)
	self.channel_limiter = limiter(NEW_CHANNELS_PER_MINUTE, config.MAX_NAMESPACES)
	self.trusted = #config.TRUSTED_PROXIES > 0 and config.TRUSTED_PROXIES or nil
	self.auth = auth.new({
		service = self.service, registry = self.registry, config = config,
		limiter = limiter(config.APP_RATE_LIMIT_PER_MINUTE, 2 * config.MAX_NAMESPACES),
	})
	local routes = public_routes.routes()
	for _, group in ipairs({ app_routes, attestation_routes, sync_routes }) do
		local more = group.routes()
		table.move(more, 1, #more, #routes + 1, routes)
		group.setup(self)
	end
	self.operator:take_routes(routes)
	admin.measure(self, routes)
end

local function listen(self)
	local config = self.config
	self.server = http.new({
		handler = function(request) return self:handle(request) end,
		log = self.log, config = config, exempt_loopback = config.IN_ENCLAVE,
	})
	local host, port = config.BIND_ADDR:match("^%[?(.-)%]?:(%d+)$")
	local ok, message = self.server:listen(host, tonumber(port))
	if not ok then return nil, ("cannot listen on %s: %s"):format(config.BIND_ADDR, message) end
	self.log:info("listening", {
		address = config.BIND_ADDR, version = native.version, tee = config.TEE, chain = config.CHAIN,
		wallet = self.tee.address, locked_bytes = (native.guarded()),
	})
	return true
end

local function run_ticks(self)
	loop.spawn(function()
		while not self.stopping do
			self.readiness:tick()
			loop.sleep(self.readiness:interval_ms())
		end
	end)
	loop.every(SECOND_MS, function()
		self.readiness:watch()
		self.store:expire(self.wall_ms(), EXPIRE_AT_ONCE)
	end)
	self.operator:push_every(function() self.pusher:tick() end)
	self.operator:watch()
end

--- Makes every part and opens the port. native.init has run.
-- @param deps config, log, given (master secret of the environment, or nil), shipped (folder of the
--   shipped policies)
-- @return node, whose on_drain is called where its operator wants the process to end | nil, message,
--   or a list of what is wrong with the policies
function M.start(deps)
	local self = setmetatable({
		config = deps.config, log = deps.log, given = deps.given, mono_ms = native.mono_ms, stopping = false,
		clock = clock.new({
			wall_ms = native.wall_ms, mono_ms = native.mono_ms, max_skew_ms = deps.config.MAX_CLOCK_SKEW_MS,
		}),
	}, Node)
	-- Nothing in the node reads the machine's clock past this one.
	self.wall_ms = function() return self.clock:now() end
	local ok, message = files.make_dir(self.config.DATA_DIR)
	-- Whoever can put a file there decides which applications get keys.
	if ok then ok, message = files.check_dir(self.config.DATA_DIR) end
	if ok then ok, message = open_core(self) end
	if ok then ok, message = operator.open(self, deps.shipped, native) end
	if ok then ok, message = open_chain(self) end
	if ok then ok, message = cluster.join(self, os.getenv) end
	if not ok then return nil, message end
	open_routes(self)
	ok, message = listen(self)
	if ok then ok, message = admin.open(self) end
	if not ok then return nil, message end
	run_ticks(self)
	return self
end

--- Stops accepting, lets running requests finish, then calls `done`.
function Node:stop(done)
	self.stopping = true
	self.chain:close()
	self.server:stop(function() admin.close(self, done) end)
end

--- Threads for native work: THREADS, or one a core. Before the first job runs.
function M.set_threads(threads)
	local count = threads > 0 and threads or uv.available_parallelism()
	uv.os_setenv("UV_THREADPOOL_SIZE", tostring(count))
end

return M
