--- The Makefile: which packages a target installs, and that `make help` and the documents name targets that exist.

local files = require("spec.support.files")

local function output(command)
	local pipe <close> = assert(io.popen(command .. " 2>&1; echo status $?"))
	local text = pipe:read("a")
	assert(text:find("status 0\n$"), command .. ":\n" .. text)
	return (text:gsub("status 0\n$", ""))
end

local function lines(text)
	local list = {}
	for line in text:gmatch("[^\n]+") do list[#list + 1] = line end
	return list
end

-- Targets of .PHONY; `force` is none to call, and `help` calls its line "this list".
local targets = {}
for name in files.read("Makefile"):gsub("\\\n", " "):match("\n%.PHONY: ([^\n]+)"):gmatch("%S+") do
	if name ~= "force" then targets[name] = true end
end

local listed = {} -- groups -> lines

-- The packages of groups.
local function list(groups)
	listed[groups] = listed[groups] or lines(output(".ci/install --list " .. groups))
	return listed[groups]
end

-- Packages that `make target` installs where nothing is there yet.
local function packages(target)
	local groups, set = nil, {}
	for line in output("make -n " .. target):gmatch("[^\n]+") do
		local named = line:match("^%.ci/install ?(.*)$")
		if named then
			assert.is_nil(groups, target .. " installs twice")
			groups = named
		end
	end
	if groups then
		for _, name in ipairs(list(groups)) do set[name] = true end
	end
	return set, groups
end

local NODEJS_TARGETS = {
	clients = true,
	devnet = true, cluster = true, drill = true, chaos = true, kills = true, ["bench-cluster"] = true,
	["test-upgrade"] = true, contracts = true, s3 = true, monitoring = true,
}

describe("make", function()
	local NOT_NEEDED_TO_RUN = {
		"clang", "clang-format", "clang-tidy", "cppcheck", "lua-check", "git", "python3", "lua-busted", "lua5.4", "valgrind",
		"strace", "nodejs", "npm", "debootstrap",
	}

	it("installs what building and running takes, and no more, for run, all and fuzz-attest", function()
		for _, target in ipairs({ "run", "all", "fuzz-attest" }) do
			local set = packages(target)
			for _, name in ipairs({ "gcc", "lua-cjson", "libssl-dev" }) do assert.is_true(set[name], target .. ": " .. name) end
			for _, name in ipairs(NOT_NEEDED_TO_RUN) do assert.is_nil(set[name], target .. ": " .. name) end
		end
	end)

	it("installs nothing for build and install", function()
		for _, target in ipairs({ "build", "install", "install-program", "uninstall", "native-tests" }) do
			assert.is_nil(select(2, packages(target)), target)
		end
	end)

	it("installs the tests' packages for tests, and neither static analysis nor Node.js", function()
		for _, target in ipairs({ "test", "test-asan", "valgrind", "ctcheck" }) do
			local set = packages(target)
			for _, name in ipairs({ "gcc", "lua-busted", "valgrind" }) do assert.is_true(set[name], target .. ": " .. name) end
			for _, name in ipairs({ "clang", "clang-tidy", "cppcheck", "python3", "nodejs", "npm" }) do
				assert.is_nil(set[name], target .. ": " .. name)
			end
		end
	end)

	it("installs Node.js only for what has a chain or an S3 server, clang only for what uses it", function()
		for target in pairs(targets) do
			local _, groups = packages(target)
			local words = " " .. (groups or "none") .. " "
			local everything = target == "deps"
			local nodejs = NODEJS_TARGETS[target] == true
			local clang = target == "check" or target == "fuzz"
			if everything then
				assert.equal("", groups)
			else
				assert.equal(nodejs, words:find(" contracts ", 1, true) ~= nil, target)
				assert.equal(clang, words:find(" check ", 1, true) ~= nil, target)
			end
		end
	end)

	it("installs the groups that FOR names, and refuses one that is not there", function()
		assert.equal(".ci/install build run\n", output("make -n deps FOR='build run'"))
		local pipe = io.popen(".ci/install --list build nothing 2>&1")
		assert.truthy(pipe:read("a"):find("no group 'nothing'", 1, true))
		assert.is_nil((pipe:close()))
	end)

	it("names the groups where it explains deps", function()
		local groups = {}
		for group in files.read(".ci/packages"):gmatch("\n# ([%w]+):") do groups[#groups + 1] = group end
		assert.is_true(#groups >= 5)
		local shown = output("make help"):match("make deps[^\n]+groups: ([^)]+)%)")
		assert.equal(table.concat(groups, " "), shown)
		for _, group in ipairs(groups) do assert.truthy(#lines(output(".ci/install --list " .. group)) > 0, group) end
	end)
end)

describe("make help", function()
	it("has a line for every target, and only one", function()
		local shown = {}
		for _, line in ipairs(lines(output("make help"))) do
			local name, text = line:match("^  make (%S+)%s+(%S.*)$")
			assert.truthy(name and text, line)
			assert.is_nil(shown[name], name)
			assert.is_true(targets[name], name)
			shown[name] = true
		end
		for name in pairs(targets) do assert.is_true(shown[name], name .. " is not listed") end
	end)
end)
