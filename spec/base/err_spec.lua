--- Errors on the wire, against the table of docs/protocol.md section 2 and the statuses of the
-- core's header.

local cjson = require("cjson")
local err = require("kms.base.err")
local http_reply = require("kms.http.reply")

-- What each category of include/kms/kms.h becomes where the status has no rule of its own.
local CATEGORIES = {
	"internal_error", -- 1: usage
	"bad_request", "unauthorized", "not_found", "payload_too_large", "rate_limited", "service_unavailable",
	"internal_error", -- 8: system
	"service_unavailable", -- 9: remote
}
local EXCEPTIONS = { ERR_SENDER_KEY = "forbidden", ERR_POP_BINDING = "forbidden", ERR_OPERATION = "forbidden",
	ERR_POLICY = "forbidden" }

-- Statuses of the core by name, with their category.
local function native_statuses()
	local file <close> = assert(io.open("include/kms/kms.h"))
	local categories = {}
	for name, number in file:read("a"):gmatch("X%((ERR_[A-Z0-9_]+), 0x(%x+),") do
		categories[name] = tonumber(number, 16) >> 8
	end
	return categories
end

describe("kms.base.err", function()
	it("gives each native status the code of its category", function()
		local count = 0
		for name, category in pairs(native_statuses()) do
			assert.equal(EXCEPTIONS[name] or CATEGORIES[category], (err.wire(name)), name)
			count = count + 1
		end
		assert.is_true(count >= 60)
	end)

	it("has the statuses of the protocol", function()
		local expected = {
			ERR_JSON = { "bad_request", 400 }, ERR_SIGNATURE = { "unauthorized", 403 },
			ERR_OPERATION = { "forbidden", 403 }, ERR_FIELD_UNKNOWN = { "bad_request", 400 },
			ERR_POP_BINDING = { "forbidden", 403 }, ERR_SENDER_KEY = { "forbidden", 403 },
			ERR_NOT_FOUND = { "not_found", 404 }, ERR_NO_ROUTE = { "not_found", 404 },
			ERR_METHOD = { "method_not_allowed", 405 }, ERR_TOO_LARGE = { "payload_too_large", 413 },
			ERR_VALUE_SIZE = { "bad_request", 400 }, ERR_STORAGE_SIZE = { "payload_too_large", 413 },
			ERR_RATE = { "rate_limited", 429 }, ERR_NONCES_OUT = { "rate_limited", 429 },
			ERR_CRYPTO = { "internal_error", 500 }, ERR_BUSY = { "service_unavailable", 503 },
			ERR_NOT_READY = { "service_unavailable", 503 }, ERR_CHAIN = { "service_unavailable", 503 },
			ERR_UNAUTHORIZED = { "unauthorized", 403 }, ERR_REQUEST_TIMEOUT = { "bad_request", 408 },
			ERR_BAD_REQUEST = { "bad_request", 400 }, ERR_NO_SUCH_THING = { "internal_error", 500 },
		}
		for name, wire in pairs(expected) do assert.same(wire, { err.wire(name) }, name) end
		assert.same({ "internal_error", 500 }, { err.wire(nil) })
	end)

	it("knows every name that the node's Lua gives (the client's are no answers of a node)", function()
		local native = native_statuses()
		local find = "grep -rhoE '\"ERR_[A-Z0-9_]+\"' lua/kms --include=*.lua --exclude-dir=client --exclude-dir=cli"
		local pipe <close> = assert(io.popen(find))
		for line in pipe:lines() do
			local name = line:match("ERR_[A-Z0-9_]+")
			assert.is_true(native[name] ~= nil or err.wire(name) ~= "internal_error", name .. " has no entry in kms.err")
		end
	end)

	it("has a reason for each name, which docs/protocol.md lists", function()
		local file <close> = assert(io.open("docs/protocol.md"))
		local documented = file:read("a")
		for _, name in ipairs(err.names()) do
			local reason = err.reason(name)
			assert.truthy(reason:find("^[a-z][a-z0-9_]+$"), name)
			local internal = err.wire(name) == "internal_error"
			assert.equal(internal, reason == "internal_error", name)
			assert.truthy(documented:find("`" .. reason .. "`", 1, true), reason .. " is not documented")
		end
		assert.equal("nonce_used", err.reason("ERR_POP_NONCE_USED"))
		assert.equal("app_inactive", err.reason("ERR_APP_INACTIVE"))
		assert.equal("internal_error", err.reason("ERR_NO_SUCH_THING"))
	end)

	it("makes JSON that holds code, reason and message", function()
		local reply = err.reply("ERR_RATE", 'slow "down"\n\0/', { ["Retry-After"] = "3" })
		assert.equal(429, reply.status)
		assert.equal("ERR_RATE", reply.code)
		assert.same({ ["Content-Type"] = "application/json", ["Retry-After"] = "3" }, reply.headers)
		assert.same({ code = "rate_limited", reason = "rate_limited", message = 'slow "down"\n\0/' },
			cjson.decode(reply.body))
	end)

	it("takes a number of seconds for Retry-After, and gives what a head can be made of", function()
		local reply = err.reply("ERR_RATE", nil, { ["Retry-After"] = 3 })
		assert.equal("3", reply.headers["Retry-After"])
		assert.truthy(http_reply.head(reply.status, reply.headers, #reply.body, false):find("Retry-After: 3\r\n", 1, true))
	end)

	it("has a text where none is given", function()
		assert.same({ code = "not_found", reason = "not_found", message = "not found" },
			cjson.decode(err.reply("ERR_NOT_FOUND").body))
	end)

	it("keeps texts of internal errors and of other servers inside", function()
		for _, name in ipairs({ "ERR_SYSTEM", "ERR_FILE_MODE", "ERR_STATE", "ERR_CONNECT", "ERR_X" }) do
			assert.is_nil(err.reply(name, "/etc/secret at 10.0.0.1").body:find("secret", 1, true), name)
		end
		assert.is_truthy(err.reply("ERR_NOT_READY", "clock").body:find("clock", 1, true))
	end)

	it("bounds the message and keeps it valid UTF-8", function()
		local body = err.reply("ERR_JSON", ("é"):rep(600)).body
		assert.is_truthy(utf8.len(body))
		assert.is_true(#cjson.decode(body).message <= 512)
		assert.is_truthy(utf8.len(err.reply("ERR_JSON", "\255\254").body))
	end)
end)
