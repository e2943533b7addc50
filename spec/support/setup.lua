--- What busted runs before the first spec: C modules are loaded once, and a mistake of a spec does not end busted
-- before its summary.

local busted = require("busted")

-- busted takes modules out of package.loaded between files, and a second luv would run on the loop that the collection
-- of the first one has freed.
for _, name in ipairs({ "luv", "kms_native" }) do
	local module = require(name)
	package.preload[name] = function() return module end
end
-- These hold what is this process's.
for _, name in ipairs({ "spec.support.callbacks", "spec.support.ports" }) do
	local module = require(name)
	package.preload[name] = function() return module end
end
local callbacks = require("spec.support.callbacks")

local uv = require("luv")

callbacks.protect()

-- Counts errors that no wait of the test has thrown.
local function report(name)
	local failure = callbacks.take()
	while failure do
		busted.publish({ "error" }, { descriptor = "callback", name = "a callback during: " .. name }, nil, failure)
		failure = callbacks.take()
	end
end

busted.subscribe({ "test", "end" }, function(test)
	report(test.name)
	return nil, true
end)

busted.subscribe({ "suite", "end" }, function()
	-- A handle that is closed but not yet released by the loop crashes luv 1.44 at the end of the process.
	uv.run("nowait")
	report("the end")
	return nil, true
end, { priority = 1 }) -- before the summary

-- A node may close a connection while a spec writes to it: that must end the write, not this process.
local sigpipe = uv.new_signal()
sigpipe:start("sigpipe", function() end)
sigpipe:unref()

-- What was said is not lost in a crash.
io.stdout:setvbuf("line")

-- For spec/run, which says where busted was when it died: lines "file PATH", "test NAME", and how each test ended.
local progress = os.getenv("SPEC_PROGRESS") and assert(io.open(os.getenv("SPEC_PROGRESS"), "a"))
if progress then
	progress:setvbuf("no")
	local function note(...)
		progress:write(table.concat({ ... }, " "):gsub("\n", " "), "\n")
		return nil, true
	end
	busted.subscribe({ "file", "start" }, function(file) return note("file", file.name) end)
	busted.subscribe({ "test", "start" }, function(test) return note("test", test.name) end)
	busted.subscribe({ "test", "end" }, function(_, _, status) return note(status) end)
end
