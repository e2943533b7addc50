-- Proof of possession, authorisation, next nonces (docs/protocol.md sections 3 to 5).

local apps = require("spec.support.app")
local crypto = require("spec.support.crypto")
local expect = require("spec.support.expect")
local files = require("spec.support.files")
local http = require("spec.support.http")
local nodes = require("spec.support.node")
local uv = require("luv")
local wait = require("spec.support.wait")

local function flip_last_bit(text)
	-- Base64 of 16 bytes has four unused bits: "w==", "x==", ... decode alike.
	local alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	local place = alphabet:find(text:sub(22, 22), 1, true)
	return text:sub(1, 21) .. alphabet:sub(place + 1, place + 1) .. text:sub(23)
end

describe("proof of possession", function()
	local node, app

	setup(function()
		node = nodes.start()
		app = apps.new(node, "200", "auth")
		node:register({ app })
	end)
	teardown(function() node:stop() end)

	local function unauthorized(o)
		return expect.refused(app:derive({ path = "p" }, o), 403, "unauthorized")
	end

	local function accepted(o)
		return expect.ok(app:derive({ path = "p" }, o))
	end

	it("lets an honest application in", function()
		accepted()
		expect.ok(app:list())
	end)

	it("needs all three headers", function()
		unauthorized({ no_pop = true })
		unauthorized({ signature = false })
		unauthorized({ nonce = false })
		unauthorized({ timestamp = false })
	end)

	it("refuses a header that is sent twice", function()
		for _, name in ipairs({ "X-App-Signature", "X-App-Nonce", "X-App-Timestamp", "X-App-Wallet" }) do
			unauthorized({ headers = { { name, "x" } } })
		end
	end)

	it("guards every application route", function()
		local nonce = crypto.base64(("\7"):rep(16))
		for _, response in ipairs({
			app:derive({ path = "p" }, { nonce = nonce }), app:list({ nonce = nonce }), app:get("k", { nonce = nonce }),
			app:call({ method = "GET", target = "/kms/data?key=k", nonce = nonce }),
			app:put("k", "v", { nonce = nonce }), app:delete("k", { nonce = nonce }),
		}) do expect.refused(response, 403, "unauthorized") end
	end)

	it("takes timestamps up to the edges of the window", function()
		for _, edge in ipairs({ -120, 120 }) do
			expect.within_a_second(function(now) accepted({ timestamp = now + edge }) end)
		end
		for _, beyond in ipairs({ -121, 121 }) do
			expect.within_a_second(function(now) unauthorized({ timestamp = now + beyond }) end)
		end
	end)

	it("takes timestamps of plain decimal digits only", function()
		local now = os.time()
		for _, text in ipairs({
			"", "+" .. now, "-1", now .. ".0", now .. "a", ("0x%x"):format(now), "1e9", now .. "000000000000",
			("9"):rep(40), "18446744073709551616",
		}) do unauthorized({ timestamp = text }) end
		accepted({ timestamp = "0" .. now }) -- the signed text is the header's own
	end)

	it("takes only nonces that it issued, as it wrote them", function()
		unauthorized({ nonce = "" })
		unauthorized({ nonce = "%%%not-base64%%%" })
		unauthorized({ nonce = crypto.base64(crypto.random(16)) })
		unauthorized({ nonce = crypto.base64(crypto.random(15)) })
		unauthorized({ nonce = app:nonce():gsub("=", "") })
		unauthorized({ nonce = app:nonce() .. "=" })
		unauthorized({ nonce = (" "):rep(3) .. crypto.base64(crypto.random(16)) })
	end)

	it("takes a nonce once", function()
		local nonce = app:nonce()
		accepted({ nonce = nonce })
		unauthorized({ nonce = nonce })
		unauthorized({ nonce = flip_last_bit(nonce) })
		unauthorized({ nonce = nonce:gsub("+", "-"):gsub("/", "_") })
	end)

	it("refuses an alias of a nonce that was never used", function()
		local nonce = app:nonce()
		unauthorized({ nonce = flip_last_bit(nonce) })
		accepted({ nonce = nonce })
	end)

	it("uses a nonce up when a later check fails", function()
		local nonce = app:nonce()
		unauthorized({ nonce = nonce, signature = "0x1234" })
		unauthorized({ nonce = nonce })
		nonce = app:nonce()
		unauthorized({ nonce = nonce, wallet = crypto.made_up("other").wallet })
		unauthorized({ nonce = nonce })
		nonce = app:nonce()
		expect.refused(app:derive({ path = "p" }, { nonce = nonce, body = "{}" }), 400, "bad_request")
		unauthorized({ nonce = nonce })
	end)

	it("refuses a whole request that is sent again", function()
		local nonce, timestamp = app:nonce(), os.time()
		local body = require("cjson").encode(crypto.seal(app:channel_key(), app.identity.der, '{"path":"p"}'))
		accepted({ nonce = nonce, timestamp = timestamp, body = body })
		unauthorized({ nonce = nonce, timestamp = timestamp, body = body })
	end)

	it("accepts v as 0, 1, 27 or 28 and hex in any form, and signs the text as sent", function()
		local seen = {}
		for _ = 1, 64 do
			local nonce, timestamp = app:nonce(), os.time()
			local message = ("NovaKMS:AppAuth:%s:%s:%d"):format(nonce, node.wallet, timestamp)
			local v = seen.high and 0 or 27
			local signature = crypto.sign(app.identity.wallet_key, message, { v = v })
			accepted({ nonce = nonce, timestamp = timestamp, signature = signature })
			seen[signature:sub(-2)] = true
			seen.high = seen["1b"] and seen["1c"]
			if seen["00"] and seen["01"] then break end
		end
		assert.same({ ["00"] = true, ["01"] = true, ["1b"] = true, ["1c"] = true, high = true }, seen)
		accepted({ sign = { prefix = "" } })
		local nonce, timestamp = app:nonce(), os.time()
		local message = ("NovaKMS:AppAuth:%s:%s:%d"):format(nonce, node.wallet, timestamp)
		local signature = "0x" .. crypto.sign(app.identity.wallet_key, message, { prefix = "" }):upper()
		accepted({ nonce = nonce, timestamp = timestamp, signature = signature })
	end)

	it("refuses the malleable twin of a signature", function()
		unauthorized({ sign = { high_s = true } })
		unauthorized({ sign = { high_s = true, v = 0 } })
	end)

	it("refuses what is no signature", function()
		local zeros = ("0"):rep(64)
		for _, text in ipairs({
			"", "0x", "0x1234", "hello", ("0"):rep(130), "0x" .. zeros .. zeros .. "1b",
			"0x" .. ("f"):rep(128) .. "1b", "0x" .. ("1"):rep(132), "0x" .. ("1"):rep(128), "0x" .. ("g"):rep(130),
		}) do unauthorized({ signature = text }) end
		for _, v in ipairs({ 2, 3, 4, 26, 29, 35, 254 }) do unauthorized({ sign = { v = v } }) end
	end)

	it("refuses a signature over anything else", function()
		unauthorized({ recipient = crypto.made_up("another node").wallet })
		unauthorized({ recipient = node.wallet:upper() })
		local nonce, timestamp = app:nonce(), os.time()
		local function over(format)
			return {
				nonce = nonce, timestamp = timestamp, message = format:format(nonce, node.wallet, timestamp),
			}
		end
		unauthorized(over("NovaKMS:Auth:%s:%s:%d"))
		nonce = app:nonce()
		unauthorized(over("NovaKMS:AppAuth:%s:%s:0%d"))
		nonce = app:nonce()
		unauthorized(over("NovaKMS:AppAuth:%s:%s:%d\n"))
		unauthorized({ signer = crypto.made_up("stranger").wallet_key })
	end)

	it("takes the wallet header in any case, with or without 0x, or none", function()
		accepted({ wallet = app.wallet:upper():gsub("^0X", "0x") })
		accepted({ wallet = app.wallet:upper() })
		accepted({ wallet = app.wallet:sub(3) })
		accepted({ wallet = false })
	end)

	it("refuses a wallet header that names another wallet or none", function()
		unauthorized({ wallet = crypto.made_up("other").wallet })
		for _, text in ipairs({ "", "0x", app.wallet .. "0", app.wallet:sub(1, -2), "0x" .. ("z"):rep(40) }) do
			unauthorized({ wallet = text })
		end
	end)

	it("refuses from the headers alone, before the body is there", function()
		local conn = assert(http.connect(node.port))
		local sent = app:send({
			method = "POST", target = "/kms/derive", signature = "0x00", conn = conn,
			headers = { { "Content-Length", "1000" } },
		})
		expect.refused(app:receive(sent), 403, "unauthorized")
		conn:close()
	end)

	it("does not know X-Tee-Wallet unless an operator allowed it", function()
		unauthorized({ no_pop = true, headers = { { "X-Tee-Wallet", app.wallet } } })
	end)

	describe("next nonce", function()
		it("comes with every authenticated answer and works once", function()
			for _, response in ipairs({
				accepted(), expect.ok(app:list()),
				expect.refused(app:derive({ path = "" }), 400, "bad_request"),
				expect.refused(app:derive({ path = "p" }, { sender_der = crypto.made_up("x").der }), 403, "forbidden"),
				expect.refused(app:get("no such key"), 404, "not_found"),
			}) do
				local nonce = response.headers["x-kms-next-nonce"]
				assert.equal(16, #crypto.unbase64(nonce))
			end
			local first = accepted().headers["x-kms-next-nonce"]
			accepted({ nonce = first })
			unauthorized({ nonce = first })
		end)

		it("is not given to who did not show who it is", function()
			app.next_nonce = nil
			assert.is_nil(unauthorized({ signature = "0x1234" }).headers["x-kms-next-nonce"])
			assert.is_nil(unauthorized({ no_pop = true }).headers["x-kms-next-nonce"])
		end)
	end)
end)

describe("authorisation", function()
	local node

	setup(function() node = nodes.start() end)
	teardown(function() node:stop() end)

	local function with(name, state)
		local app = apps.new(node, state.app_id or "300", name)
		for key, value in pairs(state) do app[key] = value end
		node:register({ app })
		return app
	end

	local function refused(app, code)
		return expect.refused(app:derive({ path = "p" }), 403, code or "unauthorized")
	end

	it("refuses a wallet that the registry does not know", function()
		refused(apps.new(node, "300", "unknown"))
	end)

	it("refuses instances that are stopped, failed or not verified", function()
		refused(with("stopped", { status = 1 }))
		refused(with("failed", { status = 2 }))
		refused(with("not verified", { zk_verified = false }))
	end)

	it("refuses apps that are inactive, revoked or unknown", function()
		refused(with("inactive", { app_id = "301", app_status = 1 }))
		refused(with("revoked", { app_id = "302", app_status = 2 }))
		local app = with("no app", { app_id = "303" })
		node:edit_chain(function(chain) chain.apps["303"] = nil end)
		refused(app)
	end)

	it("refuses a revoked or unknown version, and serves a deprecated one", function()
		refused(with("version revoked", { app_id = "304", version_status = 2 }))
		expect.ok(with("version deprecated", { app_id = "305", version_status = 1 }):derive({ path = "p" }))
		local app = with("no version", { app_id = "306" })
		node:edit_chain(function(chain) chain.versions["306/1"] = nil end)
		refused(app)
	end)

	it("refuses an instance whose registered key is no P-384 key", function()
		refused(with("short key", { app_id = "307", tee_pubkey = "04" .. ("00"):rep(10) }))
		refused(with("off curve", { app_id = "307", tee_pubkey = "04" .. ("01"):rep(96) }))
	end)

	it("takes a registered key that is a bare point", function()
		local app = apps.new(node, "308", "point")
		app.tee_pubkey = crypto.hex(app.identity.point)
		node:register({ app })
		expect.ok(app:derive({ path = "p" }))
	end)

	it("refuses app id 0 and ids beyond 64 bits", function()
		refused(with("app zero", { app_id = "0" }))
		refused(with("app too large", { app_id = "18446744073709551616" }))
		refused(with("app negative", { app_id = "-1" }))
	end)

	it("takes up a change of the registry when the cached answer has expired", function()
		local app = with("changes", { app_id = "310" })
		expect.ok(app:derive({ path = "p" }))
		local function status_becomes(status)
			wait.until_true("status " .. status, function() return app:derive({ path = "p" }).status == status end)
		end
		node:edit_chain(function(chain) chain.versions["310/1"].status = 2 end)
		status_becomes(403)
		refused(app)
		node:edit_chain(function(chain) chain.versions["310/1"].status = 0 end)
		status_becomes(200)
		node:edit_chain(function(chain) chain.instances[app.wallet].status = 1 end)
		status_becomes(403)
	end)

	it("takes up a wallet that becomes known", function()
		local app = apps.new(node, "311", "late")
		refused(app)
		node:register({ app })
		wait.until_true("known", function() return app:derive({ path = "p" }).status == 200 end)
	end)

	it("answers from the cache within its time", function()
		local cached = nodes.start({ env = { REGISTRY_CACHE_TTL_SECONDS = 3600 } })
		finally(function() cached:stop() end)
		local app = apps.new(cached, "312", "cached")
		cached:register({ app })
		expect.ok(app:derive({ path = "p" }))
		cached:edit_chain(function(chain) chain.instances[app.wallet].status = 1 end)
		for _ = 1, 3 do expect.ok(app:derive({ path = "p" })) end
	end)

	it("refuses with 503 when the registry does not answer and nothing is cached", function()
		local silent = nodes.start({ env = { KMS_NODE_TICK_SECONDS = 3600 } })
		finally(function() silent:stop() end)
		local app, other = apps.new(silent, "313", "silent"), apps.new(silent, "313", "other")
		silent:register({ app, other })
		expect.ok(app:derive({ path = "p" }))
		local text = files.read(silent.dir .. "/chain.lua")
		files.write(silent.dir .. "/chain.lua", "return {{{")
		expect.refused(other:derive({ path = "p" }), 503, "service_unavailable")
		wait.until_true("the cached answer expires", function() return app:derive({ path = "p" }).status == 503 end)
		files.write(silent.dir .. "/chain.lua", text)
		expect.ok(app:derive({ path = "p" }))
	end)
end)

describe("a node with a short window", function()
	local node, app

	setup(function()
		node = nodes.start({ env = { POP_TIMEOUT_SECONDS = 6, ALLOW_DEV_IDENTITY = "true" } })
		app = apps.new(node, "320", "short window")
		node:register({ app })
	end)
	teardown(function() node:stop() end)

	it("forgets a nonce after POP_TIMEOUT_SECONDS", function()
		local late, timely = app:nonce(), app:nonce()
		expect.ok(app:derive({ path = "p" }, { nonce = timely }))
		wait.sleep(7100) -- more than the lifetime, counted in whole seconds
		expect.refused(app:derive({ path = "p" }, { nonce = late }), 403, "unauthorized")
	end)

	it("does not take the nonce of another node", function()
		local other = nodes.start()
		finally(function() other:stop() end)
		local nonce = apps.new(other, "320", "short window"):nonce()
		expect.refused(app:derive({ path = "p" }, { nonce = nonce }), 403, "unauthorized")
	end)

	it("takes X-Tee-Wallet instead of a proof where ALLOW_DEV_IDENTITY is set", function()
		local named = { no_pop = true, headers = { { "X-Tee-Wallet", app.wallet } } }
		expect.ok(app:derive({ path = "p" }, named))
		expect.refused(app:derive({ path = "p" }, {
			no_pop = true, headers = { { "X-Tee-Wallet", crypto.made_up("nobody").wallet } },
		}), 403, "unauthorized")
		expect.refused(app:derive({ path = "p" }, {
			no_pop = true, headers = { { "X-Tee-Wallet", "0x12" } },
		}), 403, "unauthorized")
		expect.refused(app:call({
			method = "POST", target = "/kms/derive", body = '{"path":"p"}', no_pop = true, headers = named.headers,
		}), 400, "bad_request")
	end)

	it("wants a whole proof where any header of one is sent", function()
		expect.refused(app:derive({ path = "p" }, {
			no_pop = true, headers = { { "X-Tee-Wallet", app.wallet }, { "X-App-Nonce", "AAAA" } },
		}), 403, "unauthorized")
	end)
end)

describe("authorised wallets", function()
	it("are remembered in DATA_DIR for the time after a restart", function()
		local node = nodes.start()
		finally(function() node:stop() end)
		local app = apps.new(node, "330", "remembered")
		node:register({ app })
		expect.ok(app:derive({ path = "p" }))
		local path = node.dir .. "/authorised-wallets"
		wait.until_true("the file", function() return uv.fs_stat(path) ~= nil end)
		assert.equal(384, uv.fs_stat(path).mode & 511)
		assert.is_nil(files.read(path):lower():find(app.wallet:sub(3):lower(), 1, true))
	end)
end)
