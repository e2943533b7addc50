--- Loads the C modules once: busted takes modules out of package.loaded between files, and a
-- second luv would run on the loop that the collection of the first one has freed.

for _, name in ipairs({ "luv", "kms_native" }) do
	local module = require(name)
	package.preload[name] = function() return module end
end

-- A handle that is closed but not yet released by the loop crashes luv 1.44 at the end of the process.
require("busted").subscribe({ "suite", "end" }, function()
	require("luv").run("nowait")
	return nil, true
end)

-- A node may close a connection while a spec writes to it: that must end the write, not this process.
local uv = require("luv")
local sigpipe = uv.new_signal()
sigpipe:start("sigpipe", function() end)
sigpipe:unref()
