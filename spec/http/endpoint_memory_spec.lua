-- What an endpoint (csrc/bind/endpoint.c) keeps of a response whose body nobody gets: nothing.

require("spec.support.native") -- libcurl may use OpenSSL: memory comes first
local crypto = require("spec.support.crypto")
local loopback = require("spec.support.loopback")
local memory = require("spec.support.memory")
local uv = require("luv")
local wait = require("spec.support.wait")

-- Calls an endpoint of the URL, says so, and waits until its input ends.
local CALLER = [[
	package.path, package.cpath = %q, %q
	local native = require("spec.support.native")
	local uv = require("luv")
	local endpoint, status = assert(native.endpoint({ url = %q, wiped = true })), nil
	coroutine.wrap(function() status = endpoint:call(nil, 1000) end)()
	while not status do uv.run("once") end
	io.stdout:write(status)
	io.stdout:flush()
	io.stdin:read("a")
]]

describe("an endpoint", function()
	for _, host in ipairs({ "127.0.0.1", "localhost" }) do
		it(("holds no body of an error, which may repeat a secret, of %s"):format(host), function()
			local reason = memory.obstacle()
			if reason then return pending(reason) end
			loopback.run(function()
				local secret, said, ended = crypto.random(500), nil, nil
				local server = loopback.answering(loopback.reply(secret, "X-Repeats: it\r\n", "500 No"))
				local input, output = loopback.own(uv.new_pipe()), loopback.own(uv.new_pipe())
				local code = CALLER:format(package.path, package.cpath, server.url:gsub("127.0.0.1", host))
				-- Without LD_BIND_NOW the dynamic linker saves registers, which had some of the body, on the stack.
				local args = { "LD_BIND_NOW=1", "lua5.4", "-e", code }
				local caller, pid = uv.spawn("env", { args = args, stdio = { input, output, 2 } }, function() ended = true end)
				output:read_start(function(_, text) said = said or text end)
				wait.until_true("the call", function() return said or ended end)
				assert.equal("500", said)
				assert.equal("", memory.leaks((memory.scan(pid, { body = secret:sub(1, 64), tail = secret:sub(-64) }))))
				input:close()
				wait.until_true("its end", function() return ended end)
				caller:close()
			end)
		end)
	end
end)
