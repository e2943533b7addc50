-- What bindings say of a wrong member of an argument: the argument's number, and the member.

local native = require("spec.support.native")
local wait = require("spec.support.wait")

-- Expects that f(...) throws this text behind the argument's number.
local function expect(number, text, f, ...)
	local ok, failure = pcall(f, ...)
	assert.is_false(ok)
	local got_number, got_text = failure:match("bad argument #(%-?%d+) to '[^']*' (%b())")
	assert.equal(number, tonumber(got_number), failure)
	assert.equal("(" .. text .. ")", got_text)
end

describe("a binding", function()
	local wallet, p384, store, secret

	setup(function()
		wallet, p384 = native.identity(native.secret_random(32))
		store, secret = native.store({ self = wallet:address() }), native.secret_random(32)
	end)

	local function service(options)
		local all = {
			wallet = wallet, p384 = p384, nonces = native.nonces(120), channels = native.channels(8), store = store,
		}
		for name, value in pairs(options) do all[name] = value or nil end
		return native.service(all)
	end

	it("names an option that is no object of its type, or missing", function()
		expect(1, "option 'store' must be a kms.store", service, { store = 5 })
		expect(1, "option 'p384' must be a kms.p384", service, { p384 = wallet })
		expect(1, "option 'nonces' is required", service, { nonces = false })
		expect(1, "option 'buckets' must be a kms.policy_buckets", native.policy_vm, { buckets = store })
		expect(1, "option 'store' must be a kms.store", native.policy_vm, { store = {} })
		expect(1, "option 'facts' must be a table", native.policy_vm, { facts = 5 })
		assert.is_not_nil(native.policy_vm({ store = store, facts = {} }))
	end)

	it("names an option that is closed, or no body", function()
		local body = native.text_body("x")
		body:close()
		coroutine.wrap(function()
			expect(1, "option 'body' is closed", native.fetch, { url = "http://127.0.0.1:1", body = body })
			expect(1, "option 'body' must be a kms.body", native.fetch, { url = "http://127.0.0.1:1", body = store })
			expect(1, "option 'body' must be a string", native.fetch, { url = "http://127.0.0.1:1", body = {} })
		end)()
		local client = assert(native.client(wallet, p384, wallet:address(), native.hex_encode(p384:public_der())))
		expect(3, "option 'value' must be a kms.value", client.begin, client, "put", { key = "k", value = {} }, "n", 0)
	end)

	it("survives an option that is there only once", function()
		local body, ended = native.text_body("x"), nil
		local options = setmetatable({ url = "http://127.0.0.1:1/" }, {
			__index = function(_, name)
				local once = name == "body" and body or nil
				if once then body = nil end
				return once
			end,
		})
		coroutine.wrap(function() ended = table.pack(native.fetch(options)) end)()
		wait.until_true("the call", function() return ended end)
		assert.same({ nil, "ERR_CONNECT" }, { ended[1], ended[3] })
	end)

	it("uses no object that reading its options has closed", function()
		-- Reading the option `name`, which is `value`, closes the object.
		local function closing(options, object, name, value)
			return setmetatable(options, {
				__index = function(_, read)
					if read ~= name then return nil end
					object:close()
					return value
				end,
			})
		end
		local body, master = native.text_body("x"), native.secret_random(32)
		coroutine.wrap(function()
			local options = { url = "http://127.0.0.1:1", method = "POST", body = body }
			expect(1, "option 'body' is closed", native.fetch, closing(options, body, "headers", nil))
		end)()
		local function set() return closing({ id = ("i"):rep(32), threshold = 2 }, master, "count", 2) end
		expect(1, "is closed", native.recovery_files, master, set(), { ("k"):rep(32), ("k"):rep(32) }, 0)
		master = native.secret_random(32)
		expect(1, "is closed", native.recovery_proves, master, set(), 1, "text", ("p"):rep(32))
	end)

	it("takes no field for an argument that is missing", function()
		local client = assert(native.client(wallet, p384, wallet:address(), native.hex_encode(p384:public_der())))
		local fields = { path = "p", context = "5", length = 32 }
		expect(4, "string expected, got nil", client.begin, client, "derive", fields)
		expect(5, "number expected, got nil", client.begin, client, "derive", fields, "n")
	end)

	it("names an option that is no wallet", function()
		expect(1, "option 'self' is not a wallet address", native.store, { self = "0x1" })
		expect(1, "option 'self' is not a wallet address", native.store, { self = 5 })
		expect(1, "option 'self' is not a wallet address", service, { self = {} })
	end)

	it("counts the elements of a list", function()
		local good = wallet:address()
		expect(2, "element 2 is not a wallet address", store.set_members, store, { good, "0x", good })
		expect(2, "element 1 is not a wallet address", store.set_members, store, { 5 })
		expect(1, "element 2 must be 16 bytes", native.session_offer, { ("s"):rep(16), ("s"):rep(17) })
		expect(1, "element 1 must be 16 bytes", native.session_offer, { {} })
		local set = { id = ("i"):rep(32), threshold = 2, count = 2 }
		expect(3, "element 2 must be 32 bytes", native.recovery_files, secret, set, { ("k"):rep(32), ("k"):rep(31) }, 0)
		expect(1, "element 1 must be a kms.share", native.recovery_combine, { secret, secret }, 2, ("h"):rep(32))
	end)

	it("names a member of a page", function()
		local made = service({})
		expect(3, "option 'prefix' must be a string", made.request, made, "list", { prefix = {} })
		expect(3, "option 'limit' must be an integer of -9223372036854775808 to 9223372036854775807", made.request,
			made, "list", { limit = "x" })
		assert.is_nil((made:request("list", { limit = 0 })))
		assert.is_not_nil(made:request("list", { limit = 1, after = "a" }))
	end)
end)
