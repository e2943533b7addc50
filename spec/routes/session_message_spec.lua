-- What messages of sessions make of the node around them, without one: waits for copies, listings, failures.

require("spec.support.native")

local loop = require("kms.base.loop")
local session_message = require("kms.routes.session_message")
local uv = require("luv")
local wait = require("spec.support.wait")

local CALLER = { wallet = "0x" .. ("1"):rep(40), app_id = "7", point = "p", wallet_key = "w", app_key = "a" }

-- An opened message of operations by name, and what was done with it.
local function new_message(names, failures)
	local done = { refused = {}, executed = 0 }
	return setmetatable({
		names = names,
		select = function(_, index) return names[index] end, numbers = function() return 0, 3, 0 end,
		key = function() return "k" end, path = function() end, context = function() end,
		failure = function(_, index)
			if done.executed > 0 and failures and failures[index] then return "why", failures[index] end
		end,
		refuse = function(_, index, status, code) done.refused[index] = { status, code } end,
		refuse_all = function(_, status, code) done.all = { status, code } end,
		execute = function()
			done.executed = done.executed + 1
			if done.broken then return nil, "no memory", "ERR_LOCKED_MEMORY" end
			local wrote = false
			for index, name in ipairs(names) do
				wrote = wrote or not done.refused[index] and (name == "put" or name == "delete")
			end
			return wrote, failures ~= nil
		end,
		answer = function(_, _, copies)
			done.copies = copies
			return "sealed"
		end,
	}, { __close = function() done.closed = true end }), done
end

-- Serves one message. more: kind of the session, count (of kms.auth.authenticate); optional.
-- Returns the reply, a list of what was noted of its operations, how often copies were awaited.
local function serve(message, operations, more)
	local noted, waits = {}, 0
	more = more or {}
	local parts = {
		CHANGES = { put = true, delete = true }, not_ready = function() end, admit = function() end,
		refusal = function() end, begin_write = function() return "before" end,
		list_in_turn = function(_, _, fn, ...) return fn(...) end,
		failure = function(_, _, text, code) return require("kms.base.err").reply(code, text) end,
		wrote = function(_, write)
			assert.equal("before", write)
			waits = waits + 1
			return 2
		end,
	}
	for name, fn in pairs(operations or {}) do parts[name] = fn end
	local messages = session_message.new({
		service = { session_message = function() return message, #message.names, 0 end },
		sessions = {
			find = function()
				local session = setmetatable({ is_for = function() return true end }, { __close = function() end })
				return session, more.kind or "app", CALLER.wallet, CALLER.app_id
			end,
		},
		authenticator = { count = more.count or function() return true end },
		authorizer = { authorize = function() return CALLER end },
		operations = parts, mono_ms = function() return 0 end, wall_ms = function() return 0 end,
		config = {
			POP_TIMEOUT_SECONDS = 120, MAX_SESSION_ANSWER_BYTES = 1000000, MAX_APP_BODY_MEMORY_BYTES = 4000,
			MAX_REQUEST_BODY_BYTES = 1000, MAX_SYNC_PAYLOAD_BYTES = 5000,
		},
		admit = more.admit or function() end, members = more.members or { is_serving = function() return true end },
		note = function(inbound, reply) noted[#noted + 1] = inbound.route.name .. " " .. reply.status end,
	})
	local inbound = {
		max_body = 1000, announces_too_much = function() end,
		request = {
			read_body = function() return true end, length = 400, exempt = function() end,
		},
		operation = function(_, name) return { route = { name = name }, max_body = 1000 } end,
	}
	return messages:serve(inbound), noted, function() return waits end
end

describe("kms.routes.session_message", function()
	it("waits for the copies of a message once, and only where it has written", function()
		local message, done = new_message({ "put", "get", "delete", "put", "derive" })
		local reply, noted, waits = serve(message)
		assert.same({ 200, "sealed", 1, 1, 2 }, { reply.status, reply.body, done.executed, waits(), done.copies })
		assert.same({ "put 200", "get 200", "delete 200", "put 200", "derive 200" }, noted)
		message, done = new_message({ "get", "derive" })
		reply, noted, waits = serve(message)
		assert.same({ 200, 0, 2 }, { reply.status, waits(), #noted })
		assert.is_nil(done.copies)
	end)

	it("refuses writes that too few members hold, and nothing else", function()
		local message, done = new_message({ "put", "get", "delete", "derive" }, { [3] = "ERR_NOT_FOUND" })
		local _, noted = serve(message, {
			wrote = function() return nil, "too few hold it", "ERR_NOT_REPLICATED" end,
		})
		assert.same({ [1] = { 503, "service_unavailable" }, [3] = { 404, "not_found" } }, done.refused)
		assert.same({ "put 503", "get 200", "delete 404", "derive 200" }, noted)
	end)

	it("refuses only the listings of a message when too many wait", function()
		local message, done = new_message({ "derive", "list", "put" })
		local _, noted = serve(message, { list_in_turn = function() return nil, "too many", "ERR_RATE" end })
		assert.same({ [2] = { 429, "rate_limited" } }, done.refused)
		assert.same({ 1, 2 }, { done.executed, done.copies })
		assert.same({ "derive 200", "list 429", "put 200" }, noted)
	end)

	it("answers a message that cannot be executed with one refusal, and counts its operations as refused", function()
		local message, done = new_message({ "put", "derive" })
		done.broken = true
		local reply, noted, waits = serve(message)
		assert.same({ 200, { 503, "service_unavailable" }, 0 }, { reply.status, done.all, waits() })
		assert.same({ "put 503", "derive 503" }, noted)
	end)

	it("gives a member's message to kms.sync, with the limits of the route sync, and notes it as one there", function()
		local given
		local members = { is_serving = function() return true end }
		function members.serve(_, inbound)
			given = inbound.max_body
			return { status = 200, body = "sealed", inner_status = 403, code = "ERR_MAC" }
		end
		local message, done = new_message({ "put" })
		local reply, noted = serve(message, nil, { kind = "peer", members = members, admit = function(own)
			assert.equal("sync", own.route.name)
			own.max_body = 5000
		end })
		assert.same({ 200, "sealed", 0, 5000, { "sync 403" } }, { reply.status, reply.body, done.executed, given, noted })
		assert.is_nil(reply.code) -- or the audit log would have two lines for it
		members.serve = function() return nil, "does not decrypt", "ERR_DECRYPT" end
		assert.equal(400, (serve(message, nil, { kind = "peer", members = members })).status)
		members.is_serving = function() return false end
		assert.equal(503, (serve(message, nil, { kind = "peer", members = members })).status)
	end)

	it("has its client not read while its application is beyond a limit, as after a request of its own", function()
		local count = 0
		local function within()
			count = count + 1
			return count < 3, 7
		end
		local message, done = new_message({ "derive", "derive", "derive", "derive" })
		local reply = serve(message, nil, { count = within })
		assert.same({ 200, 7 }, { reply.status, reply.wait_s })
		assert.same({ [3] = { 429, "rate_limited" }, [4] = { 429, "rate_limited" } }, done.refused)
		assert.is_nil((serve(new_message({ "derive" }))).wait_s)
	end)

	it("lets others run between decisions that take long, as with policies", function()
		local names, decided, seen = {}, 0, nil
		for index = 1, 128 do names[index] = "derive" end
		local message = new_message(names)
		local reply
		loop.spawn(function()
			reply = serve(message, {
				admit = function()
					local began = uv.hrtime()
					while uv.hrtime() - began < 200000 do end
					decided = decided + 1
				end,
			})
		end)
		loop.spawn(function() seen = decided end)
		wait.until_true("the answer", function() return reply end)
		assert.same({ 200, 128 }, { reply.status, decided })
		assert.is_true(seen > 0 and seen < 64, seen)
	end)

	it("is closed, which ends its session, when something throws while it is worked on", function()
		for _, broken in ipairs({ "admit", "refusal", "begin_write", "wrote" }) do
			local message, done = new_message({ "derive", "put" })
			local ok, failure = pcall(serve, message, { [broken] = function() error("broken " .. broken) end })
			assert.is_false(ok)
			assert.matches("broken " .. broken, failure)
			assert.is_true(done.closed, broken)
		end
	end)

	it("says 500 when the answer cannot be sealed: the session has ended", function()
		local message = new_message({ "derive" })
		message.answer = function() return nil, "internal error", "ERR_CRYPTO" end
		assert.equal(500, (serve(message)).status)
	end)
end)
