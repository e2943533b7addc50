--- Searches the memory of a process for secrets (spec/support/memscan.c).

local uv = require("luv")
local crypto = require("spec.support.crypto")
local wait = require("spec.support.wait")

local M = {}

M.program = uv.cwd() .. "/" .. (os.getenv("KMS_BUILD") or "build") .. "/spec/memscan"

local SCAN_S = 120

local function run(pid, input)
	local stdin, stdout, stderr = uv.new_pipe(), uv.new_pipe(), uv.new_pipe()
	local out, code, handle, open = { "", "" }, nil, nil, 2
	handle = uv.spawn(M.program, { args = { ("%d"):format(pid) }, stdio = { stdin, stdout, stderr } }, function(status)
		code = status
		handle:close()
	end)
	if not handle then error("cannot start " .. M.program, 3) end
	for i, pipe in ipairs({ stdout, stderr }) do
		pipe:read_start(function(_, data)
			if data then
				out[i] = out[i] .. data
			else
				open = open - 1
				pipe:close()
			end
		end)
	end
	stdin:write(input, function() stdin:close() end)
	wait.until_true("memscan to end", function() return code and open == 0 end, SCAN_S)
	return code, out[1], out[2]
end

--- Whether this process can read the memory of another, and why not.
function M.refusal(pid)
	local code, _, message = run(pid, "probe " .. ("ab"):rep(32) .. "\n")
	if code == 0 then return nil end
	return message:gsub("\n", " ")
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
