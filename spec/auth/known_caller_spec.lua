-- Callers whose answers are signed as they authenticate (service:know).

local crypto = require("spec.support.crypto")
local native = require("spec.support.native")

local NOW_MS = 1700000000000

describe("authentication", function()
	local service, nonces, node, caller

	before_each(function()
		local wallet, p384 = native.identity(native.secret_random(32))
		nonces, node = native.nonces(120), wallet:address()
		service = native.service({
			wallet = wallet, p384 = p384, nonces = nonces, channels = native.channels(8),
			store = native.store({ self = node }),
		})
		caller = crypto.made_up("known caller")
	end)

	-- What a request of the caller gives: wallet, signature, response signature.
	local function authenticate(domain, prefix, text)
		local nonce = nonces:issue(0)
		local timestamp = ("%d"):format(NOW_MS // 1000)
		local signature = crypto.sign(caller.wallet_key, ("%s:%s:%s:%s"):format(text, nonce, node, timestamp))
		local head = native.http_parser(16384)
		assert.equal("request", (head:feed(("GET / HTTP/1.1\r\nHost: x\r\n%s-Signature: %s\r\n%s-Nonce: %s\r\n"
			.. "%s-Timestamp: %s\r\n\r\n"):format(prefix, signature, prefix, nonce, prefix, timestamp))))
		return service:authenticate(head, domain, NOW_MS, 0)
	end

	it("signs the answer only to who is known", function()
		local wallet, _, response = authenticate("app", "X-App", "NovaKMS:AppAuth")
		assert.same({ caller.wallet }, { wallet, response })
		service:know(crypto.made_up("another").wallet)
		assert.is_nil((select(3, authenticate("app", "X-App", "NovaKMS:AppAuth"))))
		service:know(wallet)
		local again, signature
		again, signature, response = authenticate("app", "X-App", "NovaKMS:AppAuth")
		assert.equal(caller.wallet, again)
		assert.equal(node, crypto.recover(("NovaKMS:Response:%s:%s"):format(signature, node), response))
	end)

	it("signs no answer to a peer, nor to who proves nothing", function()
		service:know(caller.wallet)
		assert.is_nil((select(3, authenticate("peer", "X-KMS", "NovaKMS:Auth"))))
		local wallet, _, code = authenticate("app", "X-App", "NovaKMS:Auth") -- signed for another purpose: by nobody
		assert.not_equal(caller.wallet, wallet)
		assert.is_nil(code)
	end)
end)
