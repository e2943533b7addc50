--- Searches the memory of a process for secrets (spec/support/memscan.c).

local uv = require("luv")
local crypto = require("spec.support.crypto")
local files = require("spec.support.files")
local nodes = require("spec.support.node")

local M = {}

M.program = uv.cwd() .. "/" .. (os.getenv("KMS_BUILD") or "build") .. "/spec/memscan"

--- The longest that a scan may take, in seconds; then its process is ended.
M.timeout_s = 120

-- Runs memscan to its end, whatever comes. Returns exit code, output, message.
local function run(pid, input)
	local dir = files.temp_dir()
	files.write(dir .. "/secrets", input)
	local stdin = assert(uv.fs_open(dir .. "/secrets", "r", 0))
	local code, out, message = nodes.run({ ("%d"):format(pid) },
		{ program = M.program, env = {}, stdin = stdin, timeout_s = M.timeout_s })
	uv.fs_close(stdin)
	files.remove_dir(dir)
	if not code then error(("memscan did not end within %g s"):format(M.timeout_s), 3) end
	return code, out, message
end

--- Why the memory of another process cannot be scanned here; nil where it can.
function M.obstacle()
	if nodes.build:find("asan") or nodes.build:find("tsan") then
		return "sanitizers replace mlock, keep freed memory and map terabytes: the scan is of the plain build"
	end
	local code, _, message = run(uv.os_getpid(), "probe " .. ("ab"):rep(32) .. "\n")
	if code == 0 then return nil end
	return "this system does not let a process read another one's memory: " .. message:gsub("\n", " ")
end

--- Why a node's memory cannot be scanned here; nil where it can.
function M.node_obstacle()
	if uv.getuid() ~= 0 then return "reading the memory of a node that is not dumpable needs root" end
	return M.obstacle()
end

--- Searches.
-- @param secrets table: name -> bytes (16 to 4096)
-- @return hits (list of {name, form, where ("guarded" or "open"), address, permissions,
-- mapping}), totals {bytes, mappings, unreadable}
function M.scan(pid, secrets)
	local lines = {}
	for name, bytes in pairs(secrets) do lines[#lines + 1] = name .. " " .. crypto.hex(bytes) .. "\n" end
	local code, out, message = run(pid, table.concat(lines))
	if code ~= 0 then error("memscan: " .. message, 2) end
	local hits, totals = {}, nil
	for line in out:gmatch("[^\n]+") do
		local fields = {}
		for field in line:gmatch("[^\t]+") do fields[#fields + 1] = field end
		if fields[1] == "hit" then
			hits[#hits + 1] = {
				name = fields[2], form = fields[3], where = fields[4], address = fields[5], permissions = fields[6],
				mapping = fields[7],
			}
		else
			totals = { bytes = tonumber(fields[2]), mappings = tonumber(fields[3]), unreadable = tonumber(fields[4]) }
		end
	end
	return hits, totals
end

--- The hits outside guarded memory as text, one a line; empty where there are none.
function M.leaks(hits)
	local lines = {}
	for _, hit in ipairs(hits) do
		if hit.where == "open" then
			lines[#lines + 1] = ("%s (%s) at %s in %s %s"):format(hit.name, hit.form, hit.address, hit.permissions, hit.mapping)
		end
	end
	table.sort(lines)
	return table.concat(lines, "\n")
end

--- How often each name was found in a place ("guarded" or "open").
function M.count(hits, where)
	local counts = {}
	for _, hit in ipairs(hits) do
		if hit.where == where then counts[hit.name] = (counts[hit.name] or 0) + 1 end
	end
	return counts
end

return M
