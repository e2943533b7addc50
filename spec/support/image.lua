--- The files of an enclave's image (examples/enclave/gather), and what a node really opens and calls.

local files = require("spec.support.files")
local nodes = require("spec.support.node")
local uv = require("luv")

local M = {}

local function run(command)
	local pipe <close> = assert(io.popen(command .. " 2>&1; echo; echo status $?"))
	local out = pipe:read("a")
	assert(out:find("\nstatus 0\n$"), command .. ":\n" .. out)
	return (out:gsub("\n?status 0\n$", ""))
end

--- Installs the build under test and gathers its image.
-- @return { dir, tree (installed), root (of the image), files (list of paths in it) }
function M.make()
	local self = { dir = files.temp_dir() }
	self.tree, self.root = self.dir .. "/tree", self.dir .. "/image"
	assert(uv.fs_chmod(self.dir, 493)) -- 0755: another user runs from it
	run(("make -s install-program BUILD='%s' PREFIX=/usr DESTDIR='%s' >/dev/null"):format(nodes.build, self.tree))
	local out = run(("examples/enclave/gather '%s' '%s'"):format(self.tree, self.root))
	self.files = {}
	for path in out:gmatch("/[^\n]+") do self.files[#self.files + 1] = path end
	return self
end

-- A program that starts another one after some work, with the same process id.
local function wrapper(self, name, script)
	local path = self.dir .. "/" .. name
	files.write(path, "#!/bin/sh\n" .. script .. "\n", 493)
	return path
end

--- A program that runs the installed node and writes its calls to `trace`.
function M.traced(self, trace)
	return wrapper(self, "traced", ("exec strace -D -f -q -o '%s' '%s/usr/bin/nova-kms' \"$@\""):format(trace, self.tree))
end

--- A program that runs the image's node with the image as its whole world, as the image's user.
function M.closed(self)
	for _, name in ipairs({ "/proc", "/dev" }) do uv.fs_mkdir(self.root .. name, 493) end
	return wrapper(self, "closed", ([[exec unshare -m sh -c 'mount -t proc proc "$0/proc" &&
exec /usr/sbin/chroot --userspec=65532:65532 "$0" /usr/bin/nova-kms "$@"' '%s' "$@"]]):format(self.root))
end

local OPENING = { openat = true, open = true, execve = true }

--- What a trace tells: paths that were opened (read or run, and were there), calls that were made.
-- @return path -> true, call -> true
function M.read_trace(path)
	local opened, calls = {}, {}
	local begun = {} -- by thread: the path of a call whose result is in a later line, as another thread came first
	for line in assert(files.read(path)):gmatch("[^\n]+") do
		local name
		local thread, call, rest = line:match("^(%d+)%s+([%w_]+)%((.*)$")
		if call then
			calls[call] = true
			name = OPENING[call] and rest:match('"(/[^"]*)"')
			if rest:find("<unfinished ...>", 1, true) then begun[thread], name = name, nil end
		else
			thread, rest = line:match("^(%d+)%s+<%.%.%. [%w_]+ resumed>(.*)$")
			if thread then name, begun[thread] = begun[thread], nil end
		end
		if name and not rest:find("= -1 E", 1, true) then opened[name] = true end
	end
	return opened, calls
end

-- The calls of a group of systemd's, groups in it included.
local function group(name, into)
	for line in run("systemd-analyze syscall-filter --no-pager '" .. name .. "'"):gmatch("[^\n]+") do
		local item = line:match("^%s+([@%w_-]+)")
		if item and item:find("^@") then
			group(item, into)
		elseif item then
			into[item] = true
		end
	end
	return into
end

--- The calls that a unit's SystemCallFilter lets through: its first line allows, its second takes away.
-- @return call -> true
function M.unit_calls(path)
	local lines = {}
	for line in assert(files.read(path)):gmatch("\nSystemCallFilter=([^\n]+)") do lines[#lines + 1] = line end
	assert(#lines == 2 and lines[2]:sub(1, 1) == "~")
	local allowed, refused = {}, {}
	for item in lines[1]:gmatch("%S+") do
		if item:find("^@") then group(item, allowed) else allowed[item] = true end
	end
	for item in lines[2]:sub(2):gmatch("%S+") do
		if item:find("^@") then group(item, refused) else refused[item] = true end
	end
	-- systemd's own execve starts the node, and @default is always there.
	for call in pairs(refused) do allowed[call] = nil end
	allowed.execve = true
	return group("@default", allowed)
end

function M.remove(self)
	os.execute(("rm -rf '%s'"):format(self.dir))
end

return M
