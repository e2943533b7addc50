--- Loads the C modules once: busted takes modules out of package.loaded between files, and a
-- second luv would run on the loop that the collection of the first one has freed.

for _, name in ipairs({ "luv", "kms_native" }) do
	local module = require(name)
	package.preload[name] = function() return module end
end
