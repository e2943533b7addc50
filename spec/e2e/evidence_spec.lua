-- The master secret for attested peers only: REQUIRE_PEER_ATTESTATION, and what a joining node shows.

local attest = require("kms.attest")
local crypto = require("spec.support.crypto")
local expect = require("spec.support.expect")
local files = require("spec.support.files")
local native = require("spec.support.native")
local nodes = require("spec.support.node")
local peer_sessions = require("spec.support.peer_session")
local peers = require("spec.support.peer")
local wait = require("spec.support.wait")

local IMAGE = { [0] = ("\1"):rep(48), [1] = ("\2"):rep(48), [2] = ("\3"):rep(48) }

local function digits(pcrs)
	local parts = {}
	for i = 0, 2 do parts[#parts + 1] = ("[%d] = %q"):format(i, native.hex_encode(pcrs[i])) end
	return "{ " .. table.concat(parts, ", ") .. " }"
end

local function allow_list(root)
	return ('return { roots = { "%s" }, images = { { name = "spec", pcrs = %s } } }'):format(
		native.hex_encode(native.sha256(root:certificate())), digits(IMAGE))
end

describe("with REQUIRE_PEER_ATTESTATION", function()
	local dir, node, peer, root, other_root

	setup(function()
		dir = files.temp_dir()
		root, other_root = native.attest_root(native.secret_random(32)), native.attest_root(native.secret_random(32))
		files.write(dir .. "/allowed.lua", allow_list(root))
		node = nodes.start({ env = { REQUIRE_PEER_ATTESTATION = dir .. "/allowed.lua" } })
		peer = peers.new(node, "attested peer")
		node:register({ peer })
		wait.until_true("the node to know the peer", function() return peer:ask_secret().message ~= "not a KMS peer" end)
	end)

	teardown(function()
		node:stop()
		files.remove_dir(dir)
	end)

	-- Asks with a document in which `change` is different. The limit is six a minute, so each asks as a
	-- peer of its own.
	local count = 0
	local function ask(change)
		count = count + 1
		local asker = peers.new(node, "asker " .. count)
		node:register({ asker })
		wait.until_true("the node to know it", function() return asker:sync({ type = "x" }).message ~= "not a KMS peer" end)
		local nonce, pubkey = asker:nonce(), crypto.hex(crypto.made_up("ephemeral").der)
		local claims = {
			now_ms = native.wall_ms(), pcrs = IMAGE, public_key = asker.identity.der,
			nonce = attest.secret_nonce(nonce, node.wallet, pubkey),
			user_data = attest.user_data(asker.wallet, "secret", ("ab"):rep(32)),
		}
		local signer = change and change(claims, nonce, pubkey, asker) or root
		local document = type(signer) == "string" and signer or native.base64_encode(assert(signer:make(claims)))
		return asker:sync({
			type = "master_secret_request", sender_wallet = asker.wallet, ecdh_pubkey = pubkey, attestation = document,
		}, { nonce = nonce })
	end

	it("gives the secret to a peer that shows an image of the list for this very request", function()
		local response = ask()
		assert.equal(200, response.status, response.body)
		assert.equal(32, #crypto.unseal(crypto.made_up("ephemeral").scalar, response.inner.sealed))
	end)

	for what, change in pairs({
		["another request's"] = function(claims) claims.nonce = ("n"):rep(32) end,
		["one for another node"] = function(claims, nonce, pubkey)
			claims.nonce = attest.secret_nonce(nonce, "0x" .. ("1"):rep(40), pubkey)
		end,
		["one for another ephemeral key"] = function(claims, nonce)
			claims.nonce = attest.secret_nonce(nonce, node.wallet, crypto.hex(crypto.made_up("nobody").der))
		end,
		["one for the public"] = function(claims, _, _, asker)
			claims.user_data = attest.user_data(asker.wallet, "public")
		end,
		["another wallet's"] = function(claims) claims.user_data = attest.user_data("0x" .. ("1"):rep(40), "secret") end,
		["one of another key"] = function(claims) claims.public_key = crypto.made_up("nobody").der end,
		["one of another image"] = function(claims)
			claims.pcrs = { [0] = IMAGE[0], [1] = IMAGE[1], [2] = ("\4"):rep(48) }
		end,
		["one of an enclave in debug mode"] = function(claims) claims.pcrs = nil end,
		["an old one"] = function(claims) claims.now_ms = claims.now_ms - 601000 end,
		["one of the future"] = function(claims) claims.now_ms = claims.now_ms + 60000 end,
		["one under another root"] = function() return other_root end,
		["no document"] = function() return native.base64_encode("not a document") end,
		["no base64"] = function() return "%%%" end,
	}) do
		it("refuses a peer that shows " .. what, function()
			local response = expect.refused(ask(change), 403, "unauthorized")
			assert.truthy(response.message:find("attestation", 1, true), response.message)
		end)
	end

	it("binds a document in a session to the session and the number of its message", function()
		local asker, pubkey = peers.new(node, "asker in a session"), crypto.hex(crypto.made_up("ephemeral").der)
		node:register({ asker })
		wait.until_true("the node to know it", function() return peer_sessions.request(asker).status == 200 end)
		local session, other = peer_sessions.open(asker), peer_sessions.open(asker)
		local function ask_with(nonce)
			local document = assert(root:make({
				now_ms = native.wall_ms(), pcrs = IMAGE, public_key = asker.identity.der,
				nonce = attest.secret_nonce(nonce, node.wallet, pubkey),
				user_data = attest.user_data(asker.wallet, "secret", ("ab"):rep(32)),
			}))
			return session:sync({
				type = "master_secret_request", ecdh_pubkey = pubkey, attestation = native.base64_encode(document),
			}, { mac = false })
		end
		local function nonce_of(of, ahead)
			return ("%s:%d"):format(crypto.hex(of.opening.salt), session.seq + ahead)
		end
		for _, nonce in ipairs({ nonce_of(other, 1), nonce_of(session, 3), asker:nonce() }) do
			local refused = ask_with(nonce)
			assert.same({ 403, "unauthorized" }, { refused.status, refused.code })
			assert.matches("attestation", refused.message)
		end
		local given = ask_with(nonce_of(session, 1))
		assert.equal(32, #crypto.unseal(crypto.made_up("ephemeral").scalar, given.sealed))
	end)

	it("refuses a peer that shows nothing", function()
		expect.refused(peer:ask_secret(), 403, "unauthorized")
	end)
end)

describe("a list of REQUIRE_PEER_ATTESTATION that is not valid", function()
	it("stops the start with a line that names it", function()
		local dir = files.temp_dir()
		files.write(dir .. "/allowed.lua", "return { images = { {} } }")
		for _, path in ipairs({ dir .. "/allowed.lua", dir .. "/missing.lua" }) do
			local code, _, err = nodes.serve(dir, { env = { REQUIRE_PEER_ATTESTATION = path } })
			assert.equal(1, code)
			assert.truthy(err:find("variable REQUIRE_PEER_ATTESTATION: ", 1, true), err)
		end
		files.remove_dir(dir)
	end)
end)
