--- kms.chain.rpc with servers that are slow, or have too many calls.

local chain_server = require("spec.support.chain_server")
local fetch = require("kms.http.fetch")
local json = require("kms.base.json")
local loop = require("kms.base.loop")
local loopback = require("spec.support.loopback")
local native = require("spec.support.native")
local rpc = require("kms.chain.rpc")
local wait = require("spec.support.wait")

local ID = { "eth_chainId" }

-- Longer than loopback.run waits: who waits for a server that hangs fails the test.
local LONG_MS = 120000

local function new(urls, options)
	options = options or {}
	return rpc.new({
		urls = urls, agree = options.agree == true, log = options.log or chain_server.log(),
		mono_ms = options.mono_ms or native.mono_ms, timeout_ms = options.timeout_ms or LONG_MS, alone_ms = 60000,
	})
end

local function ask(client)
	return client:call({ ID }, { accept = function(outcomes) return outcomes[1].result end })
end

local function busy(headers)
	return loopback.reply("", headers, "429 Too Many Requests")
end

describe("chain.rpc with a slow server", function()
	it("asks the next one as well, and does not wait for the slow one", function()
		loopback.run(function()
			local slow, good = chain_server.start(), chain_server.start()
			slow.respond = function() return "hang" end
			assert.equal("0x14a34", ask(new({ slow.url, good.url })))
			assert.same({ 1, 1 }, { slow.requests, good.requests })
		end)
	end)

	it("asks it no more until it has ended a call, as long as others answer", function()
		loopback.run(function()
			local slow, good = chain_server.start(), chain_server.start()
			slow.respond = function() return "hang" end
			local client = new({ slow.url, good.url })
			for _ = 1, 3 do assert.equal("0x14a34", ask(client)) end
			assert.same({ 1, 3 }, { slow.requests, good.requests })
			good.respond = function() return loopback.reply("", nil, "500 Oops") end
			slow.respond = nil
			assert.equal("0x14a34", ask(client))
			assert.equal("0x14a34", ask(client))
			assert.equal(3, slow.requests)
		end)
	end)

	it("asks a third one where two must agree", function()
		loopback.run(function()
			local slow, one, two = chain_server.start(), chain_server.start(), chain_server.start()
			slow.respond = function() return "hang" end
			local client = new({ slow.url, one.url, two.url }, { agree = true })
			assert.equal("0x14a34", ask(client))
		end)
	end)

	it("waits a second for a third head where it has two, and for a second one its whole time", function()
		loopback.run(function()
			local slow, one, two = chain_server.start(), chain_server.start(), chain_server.start()
			slow.respond = function() return "hang" end
			local function first(outcomes) return outcomes[1].result end
			-- By the loop's clock, from which timers count.
			local began = loop.now()
			local client = new({ slow.url, one.url, two.url }, { agree = true })
			assert.same({ "0x14a34", "0x14a34" }, (client:call_each({ ID }, first)))
			local took = loop.now() - began
			assert.is_true(took >= 900, took)
			client = new({ slow.url, one.url }, { timeout_ms = 2000, agree = true })
			began = loop.now()
			local values, messages = client:call_each({ ID }, first)
			assert.same({ "0x14a34" }, values)
			assert.truthy(messages ~= "" and loop.now() - began >= 1900)
		end)
	end)

	it("gives each attempt the time that the operator allows", function()
		loopback.run(function()
			local slow = chain_server.start()
			slow.respond = function() return "hang" end
			local request, given = fetch.request, {}
			fetch.request = function(options)
				given[#given + 1] = options.timeout_ms
				return request(options)
			end
			finally(function() fetch.request = request end)
			local began = loop.now()
			assert.is_nil((ask(new({ slow.url }, { timeout_ms = 300 }))))
			assert.is_true(loop.now() - began >= 300)
			assert.equal(300, given[1])
			for _, timeout_ms in ipairs(given) do assert.is_true(timeout_ms <= 300, timeout_ms) end
		end)
	end)
end)

describe("chain.rpc with a server that has too many calls", function()
	it("has an answer to every call where each second one is refused", function()
		loopback.run(function()
			local chain = chain_server.start()
			chain.respond = function() return chain.requests % 2 == 0 and busy() or nil end
			local client, good, ended = new({ chain.url }), 0, 0
			for _ = 1, 20 do
				loop.spawn(function()
					if ask(client) then good = good + 1 end
					ended = ended + 1
				end)
			end
			wait.until_true("all calls to end", function() return ended == 20 end)
			assert.equal(20, good)
		end)
	end)

	it("leaves it alone for as long as it says, and asks another one meanwhile", function()
		loopback.run(function()
			local one, two = chain_server.start(), chain_server.start()
			one.respond = function() return busy("Retry-After: 9\r\n") end
			local now = 1000
			local function mono_ms() return now end
			-- An address is called without libcurl.
			for calls, host in ipairs({ "127.0.0.1", "localhost" }) do
				local client = new({ (one.url:gsub("127%.0%.0%.1", host)), two.url }, { mono_ms = mono_ms })
				for _ = 1, 5 do assert.equal("0x14a34", ask(client)) end
				assert.same({ host, calls, 5 * calls }, { host, one.requests, two.requests })
				assert.equal(now + 9000, client.servers[1].busy_until)
			end
		end)
	end)

	it("leaves it alone until the date that it says", function()
		loopback.run(function()
			local one, two = chain_server.start(), chain_server.start()
			one.respond = function()
				return loopback.reply("", "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nRetry-After: Sun, 06 Nov 1994 08:49:46 GMT\r\n",
					"503 Service Unavailable")
			end
			local client = new({ one.url, two.url }, { mono_ms = function() return 1000 end })
			for _ = 1, 5 do assert.equal("0x14a34", ask(client)) end
			assert.same({ 1, 5 }, { one.requests, two.requests })
			assert.equal(10000, client.servers[1].busy_until)
		end)
	end)

	-- Errors, not HTTP statuses: to one call, to each call of a batch, and one to a batch.
	local LIMIT = { code = -32005, message = "limit exceeded" }

	it("waits and asks again after the JSON-RPC error -32005", function()
		loopback.run(function()
			local chain = chain_server.start()
			chain.override = function() return chain.requests <= 4 and { error = LIMIT } or nil end
			assert.equal("0x14a34", ask(new({ chain.url })))
			assert.equal(5, chain.requests)
			chain.requests = 0
			local value = new({ chain.url }):call({ ID, ID }, {
				accept = function(outcomes) return outcomes[2].result end,
			})
			assert.equal("0x14a34", value)
			assert.equal(5, chain.requests)
		end)
	end)

	it("goes on with batches after one such error to a batch", function()
		loopback.run(function()
			local chain, log = chain_server.start(), chain_server.log()
			chain.respond = function()
				if chain.requests > 4 then return nil end
				return loopback.reply(json.encode({ jsonrpc = "2.0", id = 1, error = LIMIT }))
			end
			local client = new({ chain.url }, { log = log })
			local value = client:call({ ID, ID }, { accept = function(outcomes) return outcomes[2].result end })
			assert.equal("0x14a34", value)
			assert.equal(5, chain.requests)
			assert.equal(0, log.count("RPC server takes no batches"))
		end)
	end)

	it("waits for the only one as long as it says, and gives up at once where there is no time", function()
		loopback.run(function()
			local chain = chain_server.start()
			chain.respond = function() return chain.requests == 1 and busy("Retry-After: 1\r\n") or nil end
			local began = native.mono_ms()
			assert.equal("0x14a34", ask(new({ chain.url })))
			assert.is_true(native.mono_ms() - began >= 950)
			chain.requests = 0
			chain.respond = function() return busy("Retry-After: 9\r\n") end
			local value, message, code = ask(new({ chain.url }, { timeout_ms = 4000 })) -- two of them are less
			assert.same({ nil, "ERR_CHAIN" }, { value, code })
			assert.truthy(message:find("ask to wait", 1, true), message)
			assert.equal(1, chain.requests)
		end)
	end)

	it("believes no more than ten seconds of what it says", function()
		local now = 1000
		loopback.run(function()
			local chain = chain_server.start()
			chain.respond = function() return chain.requests == 1 and busy("Retry-After: 86400\r\n") or nil end
			local client = rpc.new({
				urls = { chain.url }, agree = false, log = chain_server.log(), mono_ms = function() return now end,
				timeout_ms = 2000, alone_ms = 60000,
			})
			assert.is_nil((ask(client)))
			now = now + 5000
			assert.is_nil((ask(client)))
			assert.equal(1, chain.requests)
			now = now + 5000
			assert.equal("0x14a34", ask(client))
		end)
	end)
end)
