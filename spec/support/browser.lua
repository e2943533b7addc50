--- A headless Chromium that specs drive by the Chrome DevTools Protocol, over pipes (--remote-debugging-pipe): JSON
-- messages that end with NUL. Calls block their caller.

local cjson = require("cjson")
local uv = require("luv")

local M = {}

local PATIENCE_MS = 60000

local Browser = {}
Browser.__index = Browser

-- Runs the loop until done() is true.
local function until_done(what, done, timeout_ms)
	local deadline = uv.hrtime() + (timeout_ms or PATIENCE_MS) * 1000000
	local timer = uv.new_timer()
	timer:start(50, 50, function() end)
	while not done() do
		if uv.hrtime() > deadline then
			timer:close()
			error("no " .. what, 3)
		end
		uv.run("once")
	end
	timer:close()
end

local function take(self, text)
	local message = cjson.decode(text)
	if message.id then self.answers[message.id] = message end
	local params = message.params
	if message.method == "Runtime.consoleAPICalled" then
		self.said[#self.said + 1] = params.type .. ": " .. cjson.encode(params.args)
	elseif message.method == "Runtime.exceptionThrown" then
		self.said[#self.said + 1] = "exception: " .. cjson.encode(params.exceptionDetails)
	elseif message.method == "Log.entryAdded" then
		self.said[#self.said + 1] = params.entry.level .. ": " .. params.entry.text
	end
end

local function read(self, chunk)
	self.input = self.input .. (chunk or "")
	while true do
		local text, rest = self.input:match("^([^\0]*)\0(.*)$")
		if not text then return end
		self.input = rest
		take(self, text)
	end
end

--- Calls a method of the protocol.
-- @return its result; throws where it fails
function Browser:call(method, params)
	self.last_id = self.last_id + 1
	local id = self.last_id
	local message = { id = id, method = method, params = params, sessionId = self.session }
	if not params or next(params) == nil then message.params = nil end
	self.to:write(cjson.encode(message) .. "\0")
	until_done("answer to " .. method, function() return self.answers[id] end)
	local answer = self.answers[id]
	self.answers[id] = nil
	if answer.error then error(method .. ": " .. answer.error.message, 2) end
	return answer.result
end

--- Opens a page in a new tab; what the console says is in the field `said` from here on.
-- @param url; @param options width, height (CSS pixels), dark; or nil
function Browser:open(url, options)
	options = options or {}
	self.session = nil
	local target = self:call("Target.createTarget", { url = "about:blank" }).targetId
	self.session = self:call("Target.attachToTarget", { targetId = target, flatten = true }).sessionId
	self.said = {}
	self:call("Runtime.enable")
	self:call("Log.enable")
	self:call("Emulation.setDeviceMetricsOverride", {
		width = options.width or 1280, height = options.height or 1600, deviceScaleFactor = 1, mobile = false,
	})
	self:call("Emulation.setEmulatedMedia", { features = { {
		name = "prefers-color-scheme", value = options.dark and "dark" or "light",
	} } })
	self:call("Page.navigate", { url = url })
end

--- The value of an expression of JavaScript in the page.
function Browser:eval(expression)
	local result = self:call("Runtime.evaluate", { expression = expression, returnByValue = true })
	if result.exceptionDetails then error(expression .. ": " .. cjson.encode(result.exceptionDetails), 2) end
	return result.result.value
end

--- Waits until an expression is true in the page.
function Browser:wait(expression, timeout_ms)
	local deadline = uv.hrtime() + (timeout_ms or PATIENCE_MS) * 1000000
	while self:eval(expression) ~= true do
		if uv.hrtime() > deadline then error("never true: " .. expression, 2) end
		local slept = false
		local timer = uv.new_timer()
		timer:start(200, 0, function() slept = true end)
		until_done("end of a pause", function() return slept end)
		timer:close()
	end
end

--- Writes a picture of the page.
-- @param decode function(base64) -> bytes
function Browser:picture(path, decode)
	local data = self:call("Page.captureScreenshot", { format = "png", captureBeyondViewport = true }).data
	local file <close> = assert(io.open(path, "wb"))
	file:write(decode(data))
end

--- Ends it.
function Browser:close()
	if self.code == nil then uv.kill(self.pid, "sigkill") end
	until_done("end of the browser", function() return self.code ~= nil end)
	self.to:close()
	self.from:close()
	self.handle:close()
	uv.run("nowait")
end

--- Starts it.
-- @param program; @param folder for its profile, that is the caller's to remove
function M.start(program, folder)
	local self = setmetatable({ last_id = 0, answers = {}, said = {}, input = "" }, Browser)
	self.to, self.from = uv.new_pipe(), uv.new_pipe()
	self.handle, self.pid = assert(uv.spawn(program, {
		args = { "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-pipe",
			"--user-data-dir=" .. folder, "about:blank" },
		stdio = { nil, nil, nil, self.to, self.from },
	}, function(code) self.code = code end))
	self.from:read_start(function(_, chunk) read(self, chunk) end)
	return self
end

return M
