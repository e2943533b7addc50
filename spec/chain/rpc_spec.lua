--- JSON-RPC against real servers on loopback that answer well, badly, late, or not at all.

local cjson = require("cjson")
local chain_server = require("spec.support.chain_server")
local json = require("kms.base.json")
local loopback = require("spec.support.loopback")
local native = require("spec.support.native")
local rpc = require("kms.chain.rpc")

local BLOCK = { "eth_getBlockByNumber", "latest", false }
local ID = { "eth_chainId" }

local function new(urls, options)
	options = options or {}
	return rpc.new({
		timeout_ms = options.timeout_ms or 60000, alone_ms = options.alone_ms or 60000,
		urls = urls, agree = options.agree == true, log = options.log or chain_server.log(), mono_ms = native.mono_ms,
	})
end

local function first(outcomes)
	local outcome = outcomes[1]
	return outcome.revert and { revert = outcome.revert, data = outcome.data } or { value = outcome.result }
end

local function ask(client, requests, options)
	options = options or {}
	options.accept = options.accept or first
	return client:call(requests, options)
end

-- What a client makes of a server whose every HTTP answer is `bytes`.
local function answer_to(bytes)
	local value, message, code
	loopback.run(function()
		local server = loopback.serve(function(client, got)
			if not loopback.length_of(got) then return false end
			client:write(type(bytes) == "function" and bytes(got) or bytes)
			return true
		end)
		value, message, code = ask(new({ server.url }), { ID })
	end)
	return value, message, code
end

local function with_id(text)
	return function(got) return loopback.reply((text:gsub("ID", got:match('"id":(%d+)')))) end
end

describe("chain.rpc with one server", function()
	it("gives results, null included", function()
		assert.same({ value = "0x1" }, answer_to(with_id('{"jsonrpc":"2.0","id":ID,"result":"0x1"}')))
		assert.same({ value = cjson.null }, answer_to(with_id('{"jsonrpc":"2.0","id":ID,"result":null}')))
	end)

	it("takes a null beside a result or an error for nothing", function()
		assert.same({ value = "0x1" }, answer_to(with_id('{"jsonrpc":"2.0","id":ID,"result":"0x1","error":null}')))
		assert.same({ value = cjson.null }, answer_to(with_id('{"jsonrpc":"2.0","id":ID,"result":null,"error":null}')))
		local reverted = '{"jsonrpc":"2.0","id":ID,"result":null,"error":{"code":3,"message":"execution reverted"}}'
		assert.same({ revert = "execution reverted" }, answer_to(with_id(reverted)))
	end)

	for name, error_text in pairs({
		["code 3"] = '{"code":3,"message":"execution failed"}',
		["data"] = '{"code":-32000,"message":"VM error","data":"0x12345678"}',
		["the data of Parity"] = '{"code":-32015,"message":"VM execution error.","data":"Reverted 0x"}',
		["the code of Parity"] = '{"code":-32015,"message":"VM execution error.","data":"Bad instruction fe"}',
		["data that says so"] = '{"code":-32000,"message":"VM execution error","data":"revert"}',
		["data of an internal error"] = '{"code":-32603,"message":"Internal error","data":"0x08c379a0"}',
		["an error within an internal error"] =
			'{"code":-32603,"message":"Internal error","data":{"code":3,"message":"execution reverted","data":"0x"}}',
		["data within an internal error"] = '{"code":-32603,"message":"Internal error","data":{"data":"0x08c379a0"}}',
		["the message, as light clients have it"] = '{"code":1,"message":"contract call REVERTed"}',
	}) do
		it("knows a revert by " .. name, function()
			local value = answer_to(with_id('{"jsonrpc":"2.0","id":ID,"error":' .. error_text .. "}"))
			assert.truthy(value and value.revert)
		end)
	end

	it("finds the data of a revert", function()
		for _, data in ipairs({ '"0x12345678"', '"Reverted 0x12345678"', '{"data":"0x12345678"}' }) do
			local value = answer_to(with_id('{"jsonrpc":"2.0","id":ID,"error":{"code":3,"message":"x","data":' .. data .. "}}"))
			assert.equal("0x12345678", value.data)
		end
	end)

	it("takes every other error for a failure", function()
		for _, error_text in ipairs({
			'{"code":1,"message":"proof failed"}', '{"code":-32004,"message":"method not supported"}',
			'{"code":-32603,"message":"Internal error"}', '{"code":-32603,"message":"Internal error","data":{"data":5}}',
			'{"code":-32015,"message":"VM execution error.","data":"OutOfGas"}',
			'{"code":-32000,"message":"x","data":"text"}', '{"code":-32000,"message":"x","data":{"a":1}}',
		}) do
			local value, message, code = answer_to(with_id('{"jsonrpc":"2.0","id":ID,"error":' .. error_text .. "}"))
			assert.is_nil(value)
			assert.equal("ERR_CHAIN", code)
			assert.truthy(message:find("127.0.0.1", 1, true))
		end
	end)

	it("tells when a server does not keep a block's state", function()
		for _, text in ipairs({ "missing trie node 12ab", "header not found", "state not available for block 5",
			"block not available: 5", "BlockOutOfRangeError: block height is 3 but requested was 9",
			"historical state 12 is not available" }) do
			local reply = with_id('{"jsonrpc":"2.0","id":ID,"error":{"code":-32000,"message":"' .. text .. '"}}')
			assert.equal("ERR_OLD_STATE", select(3, answer_to(reply)), text)
		end
	end)

	for name, text in pairs({
		["no JSON"] = "<html>", ["nothing"] = "", ["half an answer"] = '{"jsonrpc":"2.0","id":ID,"resu',
		["another version"] = '{"jsonrpc":"1.0","id":ID,"result":1}', ["no version"] = '{"id":ID,"result":1}',
		["another id"] = '{"jsonrpc":"2.0","id":999999,"result":1}', ["no id"] = '{"jsonrpc":"2.0","result":1}',
		["an id as text"] = '{"jsonrpc":"2.0","id":"ID","result":1}',
		["a null id"] = '{"jsonrpc":"2.0","id":null,"result":1}',
		["neither result nor error"] = '{"jsonrpc":"2.0","id":ID}',
		["result and error"] = '{"jsonrpc":"2.0","id":ID,"result":1,"error":{"code":3,"message":"revert"}}',
		["an error as text"] = '{"jsonrpc":"2.0","id":ID,"error":"revert"}',
		["an error without code"] = '{"jsonrpc":"2.0","id":ID,"error":{"message":"revert"}}',
		["an error whose code is text"] = '{"jsonrpc":"2.0","id":ID,"error":{"code":"3","message":"revert"}}',
		["an error without message"] = '{"jsonrpc":"2.0","id":ID,"error":{"code":3}}',
		["a list for one call"] = '[{"jsonrpc":"2.0","id":ID,"result":1}]', ["a number"] = "7",
		["an id of no number"] = '{"jsonrpc":"2.0","id":NaN,"result":1}',
	}) do
		it("refuses " .. name, function()
			local value, message, code = answer_to(with_id(text))
			assert.is_nil(value)
			assert.is_string(message)
			assert.equal("ERR_CHAIN", code)
		end)
	end

	it("refuses an answer of another HTTP status", function()
		for _, status in ipairs({ "500 Internal Server Error", "429 Too Many Requests", "302 Found", "400 Bad Request" }) do
			local reply = loopback.reply('{"jsonrpc":"2.0","id":1,"result":1}', "Location: /x\r\n", status)
			assert.is_nil((answer_to(reply)))
		end
	end)

	it("refuses an answer beyond the limit", function()
		local function sized(size)
			return function(got)
				local text = '{"jsonrpc":"2.0","id":' .. got:match('"id":(%d+)') .. ',"result":""}'
				return loopback.reply((text:gsub('""', '"' .. ("a"):rep(size - #text) .. '"')))
			end
		end
		assert.truthy(answer_to(sized(1 << 20)))
		local value, message = answer_to(sized((1 << 20) + 1))
		assert.is_nil(value)
		assert.truthy(message:find("larger than allowed", 1, true), message)
	end)

	it("asks a second time after a pause", function()
		loopback.run(function()
			local chain = chain_server.start()
			chain.respond = function() return chain.requests == 1 and loopback.reply("", nil, "503 Busy") or nil end
			assert.same({ value = "0x14a34" }, ask(new({ chain.url }), { ID }))
			assert.equal(2, chain.requests)
		end)
	end)

	it("gives up at its deadline when nothing comes", function()
		loopback.run(function()
			local chain = chain_server.start()
			chain.respond = function() return "hang" end
			-- In two attempts of a second; loopback.run ends a test that waits for more.
			local value, _, code = ask(new({ chain.url }, { timeout_ms = 1000 }), { ID })
			assert.is_nil(value)
			assert.equal("ERR_CHAIN", code)
		end)
	end)
end)

describe("chain.rpc batches", function()
	local function count(outcomes) return { #outcomes, outcomes[1].result, outcomes[#outcomes].result } end

	it("take one round trip, and answers in any order", function()
		loopback.run(function()
			local chain = chain_server.start()
			chain.respond = function(message)
				return loopback.reply(json.encode({
					{ jsonrpc = "2.0", id = message[2].id, result = "second" },
					{ jsonrpc = "2.0", id = message[1].id, result = "first" },
				}))
			end
			assert.same({ 2, "first", "second" }, ask(new({ chain.url }), { ID, BLOCK }, { accept = count }))
			assert.equal(1, chain.requests)
		end)
	end)

	it("are split at fifty calls", function()
		loopback.run(function()
			local chain = chain_server.start()
			local requests = {}
			for i = 1, 50 do requests[i] = ID end
			assert.equal(50, ask(new({ chain.url }), requests, { accept = count })[1])
			assert.equal(1, chain.requests)
			requests[51] = BLOCK
			assert.equal(51, ask(new({ chain.url }), requests, { accept = count })[1])
			assert.equal(3, chain.requests)
		end)
	end)

	for name, refuse in pairs({
		["400"] = function() return loopback.reply("no batches", nil, "400 Bad Request") end,
		["413"] = function() return loopback.reply("{}", nil, "413 Payload Too Large") end,
		["one error"] = function()
			return loopback.reply('{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"batch not supported"}}')
		end,
	}) do
		it("become single calls where a server refuses them by " .. name .. ", told once", function()
			loopback.run(function()
				local chain, log = chain_server.start(), chain_server.log()
				chain.respond = function(message) return not message.method and refuse() or nil end
				local client = new({ chain.url }, { log = log })
				for _ = 1, 2 do
					local value = assert(ask(client, { ID, BLOCK, ID }, { accept = count }))
					assert.same({ 3, "0x14a34", "0x14a34" }, value)
				end
				assert.equal(7, chain.requests) -- the second time without trying a batch
				assert.equal(1, log.count("RPC server takes no batches"))
			end)
		end)
	end

	it("become single calls when they would be too large together", function()
		loopback.run(function()
			local chain, log = chain_server.start(), chain_server.log()
			chain.override = function() return { result = ("a"):rep(600000) } end
			local value = assert(ask(new({ chain.url }, { log = log }), { ID, ID }, { accept = count }))
			assert.equal(600000, #value[2])
			assert.equal(0, log.count("RPC server takes no batches"))
		end)
	end)

	for name, change in pairs({
		["one is missing"] = function(list) list[2] = nil end,
		["one is there twice"] = function(list) list[2] = list[1] end,
		["one is to another call"] = function(list) list[2].id = 999 end,
		["one is too many"] = function(list) list[3] = { jsonrpc = "2.0", id = 5, result = 1 } end,
		["one is no object"] = function(list) list[2] = 5 end,
		["one has no id"] = function(list) list[2].id = nil end,
	}) do
		it("fail whole when of the answers " .. name, function()
			loopback.run(function()
				local chain = chain_server.start()
				chain.respond = function(message)
					local list = {}
					for i, call in ipairs(message) do list[i] = { jsonrpc = "2.0", id = call.id, result = "0x1" } end
					change(list)
					return loopback.reply(json.encode(json.list(list)))
				end
				assert.is_nil((ask(new({ chain.url }), { ID, BLOCK }, { accept = count })))
			end)
		end)
	end
end)

describe("chain.rpc with several servers", function()
	it("goes on with the next one, and begins with it while the first is to be avoided", function()
		loopback.run(function()
			local bad, good = chain_server.start(), chain_server.start()
			bad.respond = function() return loopback.reply("", nil, "500 Oops") end
			local client = new({ bad.url, good.url })
			for _ = 1, 3 do assert.truthy(ask(client, { ID })) end
			assert.same({ 1, 3 }, { bad.requests, good.requests })
		end)
	end)

	it("goes on with the next one where an answer is no good", function()
		loopback.run(function()
			local one, two = chain_server.start(), chain_server.start()
			one.chain_id = 1
			local value = ask(new({ one.url, two.url }), { ID }, { accept = function(outcomes)
				if outcomes[1].result == "0x1" then return nil, "not this one" end
				return outcomes[1].result
			end })
			assert.equal("0x14a34", value)
		end)
	end)

	it("names every server that failed", function()
		loopback.run(function()
			local one, two = chain_server.start(), chain_server.start()
			one.respond = function() return loopback.reply("", nil, "500 Oops") end
			two.respond = function() return loopback.reply("", nil, "502 Oops") end
			local _, message = ask(new({ one.url, two.url .. "/key-of-the-operator" }), { ID })
			assert.truthy(message:find("500", 1, true) and message:find("502", 1, true))
			assert.is_nil(message:find("key-of-the-operator", 1, true))
		end)
	end)
end)

describe("chain.rpc where two servers must agree", function()
	local function start(...)
		local chains, urls = {}, {}
		for i, id in ipairs({ ... }) do
			chains[i] = chain_server.start()
			chains[i].chain_id = id
			urls[i] = chains[i].url
		end
		return new(urls, { agree = true }), chains
	end

	it("takes what both say", function()
		loopback.run(function()
			local client, chains = start(5, 5, 5)
			assert.same({ value = "0x5" }, ask(client, { ID }))
			assert.same({ 1, 1, 0 }, { chains[1].requests, chains[2].requests, chains[3].requests })
		end)
	end)

	it("asks a third one where they differ", function()
		loopback.run(function()
			assert.same({ value = "0x5" }, ask((start(5, 6, 5)), { ID }))
		end)
	end)

	it("takes nothing where all differ", function()
		loopback.run(function()
			local value, message, code = ask((start(5, 6, 7)), { ID })
			assert.is_nil(value)
			assert.equal("ERR_CHAIN", code)
			assert.truthy(message:find("disagree", 1, true))
		end)
	end)

	it("does not take one server's word, unless one is enough", function()
		loopback.run(function()
			local client, chains = start(5, 5)
			chains[1].respond = function() return loopback.reply("", nil, "500 Oops") end
			local value, message = ask(client, { ID })
			assert.is_nil(value)
			assert.truthy(message:find("only one", 1, true))
			assert.same({ value = "0x5" }, ask(client, { ID }, { single = true }))
		end)
	end)

	it("takes reverts with different words for the same answer, but no revert for a result", function()
		loopback.run(function()
			local client, chains = start(5, 5)
			chains[1].override = function() return { error = { code = 3, message = "execution reverted" } } end
			assert.is_nil((ask(client, { ID })))
			chains[2].override = function() return { error = { code = 1, message = "revert: 0x" } } end
			assert.truthy(ask(client, { ID }).revert)
		end)
	end)

	it("is not ended by an answer that cannot be compared", function()
		loopback.run(function()
			local client, chains = start(5, 5, 5)
			local deep = ("["):rep(40) .. ("]"):rep(40)
			chains[1].respond = function(message)
				return loopback.reply(('{"jsonrpc":"2.0","id":%d,"result":%s}'):format(message.id, deep))
			end
			assert.same({ value = "0x5" }, ask(client, { ID }))
		end)
	end)

	it("asks each for its head", function()
		loopback.run(function()
			local client, chains = start(5, 6, 7)
			chains[2].respond = function() return loopback.reply("", nil, "500 Oops") end
			local values, messages = client:call_each({ ID }, first)
			assert.same({ { value = "0x5" }, { value = "0x7" } }, values)
			assert.truthy(messages:find("500", 1, true))
		end)
	end)
end)
