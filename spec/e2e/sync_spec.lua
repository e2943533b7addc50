-- POST /sync of a running node, as peers see it that exist today, that are ours, and that are neither.

local apps = require("spec.support.app")
local cjson = require("cjson")
local crypto = require("spec.support.crypto")
local expect = require("spec.support.expect")
local http = require("spec.support.http")
local nodes = require("spec.support.node")
local peers = require("spec.support.peer")
local wait = require("spec.support.wait")

describe("POST /sync", function()
	local node, peer, app

	-- A peer with a name of its own that the node has in its cache and that knows the secret.
	local function member(name)
		local made = peers.new(node, name)
		node:register({ made })
		wait.until_true("the node to know " .. name, function() return made:ask_secret().status ~= 403 end)
		return made:join()
	end

	setup(function()
		-- Some bodies wait for what the node does meanwhile.
		node = nodes.start({ env = {
			MAX_SYNC_PAYLOAD_BYTES = 5500000, ALLOW_PARTIAL_REPLICATION = "true", MIN_BODY_BYTES_PER_SECOND = "0",
		} })
		peer = member("peer")
		app = apps.new(node, "700", "sync app")
		node:register({ app })
	end)

	teardown(function() node:stop() end)

	local function merged(response, count)
		assert.equal(200, response.status, response.body)
		assert.equal("ok", response.inner.status)
		assert.equal(count, response.inner.merged, cjson.encode(response.inner))
	end

	it("hands out the secret that keys are derived from, sealed", function()
		local derived = app:derive({ path = "p" })
		assert.equal(crypto.base64(crypto.derive(peer.master, "700", "p")), derived.inner.key)
		assert.is_nil(peer:ask_secret().plain:find(crypto.hex(peer.master), 1, true))
	end)

	it("merges records, and gives them back in a snapshot", function()
		merged(peer:delta({ ["700"] = { peer:record("700", "a/1", "one"), peer:record("700", "a/2", "two") } }), 2)
		assert.equal("one", app:value("a/1"))
		assert.equal(200, app:put("a/3", "three").status)
		local response = peer:snapshot()
		assert.equal(200, response.status)
		assert.is_true(response.inner.complete)
		local held = {}
		for _, record in ipairs(response.inner.data["700"]) do held[record.key] = record end
		assert.same({ [peer.wallet] = 1 }, held["a/1"].version)
		-- No member is an existing node: the counter is the node's clock in milliseconds, as the stamp is.
		assert.same({ [node.wallet] = held["a/3"].updated_at_ms }, held["a/3"].version)
		assert.is_false(held["a/3"].tombstone)
	end)

	it("counts what it rejects and applies the rest", function()
		local good, future = peer:record("700", "b/1", "v"), peer:record("700", "b/2", "v")
		future.updated_at_ms = future.updated_at_ms + 3600000
		local other_key = peer:record("701", "b/3", "v")
		local response = peer:delta({ ["700"] = { future, other_key, { key = 5 }, good }, ["0"] = { good } })
		assert.same({ 5, 1, 4, 1 }, {
			response.inner.total, response.inner.merged, response.inner.rejected, response.inner.future,
		})
		assert.equal("v", app:value("b/1"))
		assert.is_nil(app:value("b/2"))
		assert.same({ ignored_equal_version = 1 }, peer:delta({ ["700"] = { good } }).inner.skip_reasons)
	end)

	it("announces what it understands, and binds its answers to their exchange", function()
		local response = peer:snapshot()
		assert.same({ "brief", "complete", "digest", "fingerprint", "pages", "pop", "session", "store", "stub",
			"time" },
			response.inner.features)
		assert.equal(response.signature, response.inner.pop)
		assert.equal(32, #response.inner.store)
		assert.truthy(response.headers["x-kms-next-nonce"])
	end)

	describe("refuses and changes nothing:", function()
		local function record() return { ["700"] = { peer:record("700", "hostile", "evil") } } end

		local function refused(response, status, code)
			expect.refused(response, status, code)
			assert.is_nil(app:value("hostile"))
		end

		local key = string.rep("0", 64)
		for name, case in pairs({
			["no HMAC"] = { { mac = false }, 403, "unauthorized" },
			["a wrong HMAC"] = { { mac = key }, 403, "unauthorized" },
			["a malformed HMAC"] = { { mac = "zz" }, 403, "unauthorized" },
			["no signature"] = { { signature = false }, 403, "unauthorized" },
			["an old timestamp"] = { { timestamp = os.time() - 130 }, 403, "unauthorized" },
			["a signature for another node"] = { { recipient = "0x" .. ("1"):rep(40) }, 403, "unauthorized" },
			["an app's signature"] = { { message = "NovaKMS:AppAuth:x" }, 403, "unauthorized" },
			["the wallet of another"] = { { wallet = "0x" .. ("1"):rep(40) }, 403, "unauthorized" },
			["another sender's key"] = { { sender_der = crypto.made_up("nobody").der }, 403, "forbidden" },
			["plaintext"] = { { body = '{"type":"delta","data":{}}' }, 400, "bad_request" },
			["no JSON"] = { { body = "}" }, 400, "bad_request" },
			["an inner text that is no JSON"] = { { plain = "{" }, 400, "bad_request" },
			["duplicate members"] = { { plain = '{"type":"delta","type":"delta","data":{}}' }, 400, "bad_request" },
			["an unknown type"] = { { plain = '{"type":"digest"}' }, 400, "bad_request" },
			["no type"] = { { plain = '{"data":{}}' }, 400, "bad_request" },
			["app_id inside"] = { { plain = '{"type":"delta","data":{},"app_id":700}' }, 400, "bad_request" },
			["another sender inside"] = { { plain = '{"type":"snapshot_request","sender_wallet":"0x1"}' }, 403, "unauthorized" },
			["pop of another exchange"] = { { plain = '{"type":"snapshot_request","pop":"0x00"}' }, 403, "forbidden" },
			["a malformed key for the secret"] = {
				{ plain = '{"type":"master_secret_request","ecdh_pubkey":"00"}' }, 400, "bad_request",
			},
			["no key for the secret"] = { { plain = '{"type":"master_secret_request"}' }, 400, "bad_request" },
		}) do
			it(name, function() refused(peer:delta(record(), case[1]), case[2], case[3]) end)
		end

		it("a nonce that was used", function()
			local nonce = peer:nonce()
			assert.equal(200, peer:snapshot({ nonce = nonce }).status)
			refused(peer:delta(record(), { nonce = nonce }), 403, "unauthorized")
		end)

		it("a caller that is no member", function()
			local stranger = peers.new(node, "stranger")
			stranger.master = peer.master
			refused(stranger:delta(record()), 403, "forbidden")
			refused(stranger:ask_secret(), 403, "forbidden")
		end)

		it("a member of another application, and one that was stopped", function()
			local other = peers.new(node, "other app")
			other.app_id, other.master = "51", peer.master
			node:register({ other })
			refused(other:delta(record()), 403, "forbidden")
			local stopped = member("stopped")
			node:edit_chain(function(chain) chain.instances[stopped.wallet].status = 1 end)
			-- Only a member by the newest block gets the secret.
			refused(stopped:ask_secret(), 403, "forbidden")
			wait.until_true("its end", function() return stopped:snapshot().status == 403 end)
		end)

		it("a body beyond its limit, before it is read, and takes one at the limit", function()
			local envelope = cjson.encode({
				encrypted_data = ("0"):rep(200000), nonce = ("0"):rep(64), sender_tee_pubkey = crypto.hex(peer.identity.der),
			})
			for extra, status in pairs({ [0] = 403, [1] = 413 }) do
				local response = peer:delta({}, { body = envelope .. (" "):rep(5500000 + extra - #envelope), mac = false })
				assert.equal(status, response.status, response.body)
			end
		end)
	end)

	it("demands pop of a wallet that has sent it", function()
		local ours = member("ours")
		assert.equal(200, ours:sync({ type = "snapshot_request", features = { "pop" } }, { pop = true }).status)
		expect.refused(ours:snapshot(), 403, "forbidden")
		assert.equal(200, ours:sync({ type = "snapshot_request" }, { pop = true }).status)
	end)

	-- Both ends share one channel key: an attacker between them can send this node its own request back.
	it("does not blame a peer for this node's own request sent back", function()
		local mirrored = member("mirrored")
		local function noted()
			for line in node:log():gmatch("[^\n]+") do
				if line:find("identity_mismatch", 1, true) and line:find(mirrored.wallet, 1, true) then return true end
			end
			return false
		end
		local request = { type = "master_secret_request", sender_wallet = node.wallet, ecdh_pubkey = "00" }
		expect.refused(mirrored:sync(request, { mac = false, pop = "0x" .. ("1"):rep(130) }), 403, "forbidden")
		expect.refused(mirrored:sync(request, { mac = false }), 403, "unauthorized")
		assert.is_false(noted())
		expect.refused(mirrored:sync({ type = "delta", sender_wallet = node.wallet, data = {} }), 403, "unauthorized")
		wait.until_true("its own words to count", noted)
	end)

	it("hands the secret out at most six times a minute to one peer, and others none the less", function()
		local greedy = member("greedy")
		local refusals = 0
		for _ = 1, 7 do
			local response = greedy:ask_secret()
			if response.status == 429 then refusals = refusals + 1 end
		end
		assert.is_true(refusals >= 1)
		assert.equal(200, greedy:snapshot().status)
		member("modest")
	end)

	it("ignores a peer that goes on sending what does not decrypt", function()
		local poisoner = member("poisoner")
		for _ = 1, 3 do poisoner:delta({ ["700"] = { poisoner:record("701", "x", "v") } }) end
		expect.refused(poisoner:snapshot(), 403, "forbidden")
		assert.equal(200, peer:snapshot().status)
	end)

	-- Sends a request but for its last byte, does something meanwhile, and sends that.
	local function with_late_body(from, request, meanwhile)
		local conn = assert(http.connect(node.port))
		local text, write = nil, conn.write
		function conn.write(_, bytes) text = bytes end
		request.method, request.conn = "POST", conn
		local sent = from:send(request)
		conn.write = write
		conn:write(text:sub(1, -2))
		meanwhile()
		conn:write(text:sub(-1))
		return from:receive(sent)
	end

	describe("looks again once the body is there:", function()
		local function stop_it(wallet)
			node:edit_chain(function(chain) chain.instances[wallet].status = 1 end)
		end

		local function is_available(wanted)
			wait.until_true("the node to notice", function() return node:status().node.service_available == wanted end)
		end

		it("a member whose end came meanwhile gets no records, and brings none", function()
			for i, inner in ipairs({
				{ type = "snapshot_request" }, { type = "delta", data = { ["700"] = { peer:record("700", "late", "v") } } },
			}) do
				local slow = member("slow " .. i)
				local response = with_late_body(slow, { target = "/sync", inner = inner }, function()
					local before = node:status().cluster.total_instances
					stop_it(slow.wallet)
					wait.until_true("its end", function() return node:status().cluster.total_instances < before end)
				end)
				expect.refused(response, 403, "forbidden")
			end
			assert.is_nil(app:value("late"))
		end)

		for name, begin in pairs({
			["hands out nothing"] = function()
				return member("slow"), { target = "/sync", inner = { type = "snapshot_request" } }
			end,
			["derives nothing"] = function() return app, { target = "/kms/derive", inner = { path = "p" } } end,
		}) do
			it("a node that is no member any more " .. name, function()
				local from, request = begin()
				local response = with_late_body(from, request, function()
					stop_it(node.wallet)
					is_available(false)
				end)
				node:edit_chain(function(chain) chain.instances[node.wallet].status = 0 end)
				is_available(true)
				expect.refused(response, 503, "service_unavailable")
			end)
		end
	end)

	it("keeps a record's ciphertext as it came", function()
		node:edit_chain(function(chain) chain.apps["702"] = { status = 0 } end)
		local record = peer:record("702", "k", "v", { ttl_ms = 3600000, clock = { [peer.wallet] = 3, [node.wallet] = 2 } })
		merged(peer:delta({ ["702"] = { record } }), 1)
		assert.same(record, peer:snapshot().inner.data["702"][1])
	end)

	-- Stores what makes a snapshot larger than the buffers of a connection, and no larger: a TEE service seals it in 3 s.
	local function fill()
		for i = 1, 3 do assert.equal(200, app:put("large/" .. i, ("v"):rep(900000)).status) end
	end

	it("sends a peer that does not read one snapshot at a time, and the others theirs", function()
		fill()
		local greedy, conns = member("reads nothing"), {}
		for i = 1, 4 do
			conns[i] = assert(http.connect(node.port))
			conns[i].tcp:recv_buffer_size(4096)
			conns[i].tcp:read_stop()
			greedy:send({
				method = "POST", target = "/sync", inner = { type = "snapshot_request" }, conn = conns[i], nonce = greedy:nonce(),
			})
		end
		wait.until_true("the node to refuse a second one", function() return greedy:snapshot().status == 503 end)
		local own = peer:snapshot()
		assert.equal(200, own.status, own.body)
		for _, conn in ipairs(conns) do conn:close() end
		wait.until_true("its turn to come again", function() return greedy:snapshot().status == 200 end)
	end)

	it("takes the slots of snapshots from peers that do not read, for the next one", function()
		fill()
		local conns = {}
		for i = 1, 2 do
			local slow = member("slow reader " .. i)
			conns[i] = assert(http.connect(node.port))
			conns[i].tcp:recv_buffer_size(4096)
			conns[i].tcp:read_stop()
			slow:send({
				method = "POST", target = "/sync", inner = { type = "snapshot_request" }, conn = conns[i], nonce = slow:nonce(),
			})
		end
		wait.until_true("the slot of a slow reader", function() return peer:snapshot().status == 200 end)
		for _, conn in ipairs(conns) do conn:close() end
	end)

	it("gives what it holds in pages, resumable at each", function()
		for i = 1, 3 do assert.equal(200, app:put("paged/" .. i, "v").status) end
		local function page(since, max_bytes)
			return expect.ok(peer:sync({ type = "snapshot_request", since = since, max_bytes = max_bytes })).inner
		end
		local keys, since, first, count = {}, 0, nil, 0
		repeat
			local inner = page(since, 1)
			first = first or inner
			assert.is_true(inner.complete and inner["until"] > since and inner["until"] <= inner.sequence)
			for _, records in pairs(inner.data) do
				for _, record in ipairs(records) do keys[record.key], count = true, count + 1 end
			end
			since = inner["until"]
		until since >= first.sequence
		for i = 1, 3 do assert.is_true(keys["paged/" .. i]) end
		assert.same({}, page(since).data)
		assert.equal(since, page(1 << 40).sequence)
		expect.refused(peer:sync({ type = "snapshot_request", since = -1 }), 400, "bad_request")
		expect.refused(peer:sync({ type = "snapshot_request", since = 0, max_bytes = "x" }), 400, "bad_request")
	end)
end)
