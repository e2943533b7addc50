--- Custodians as they are in life: keys of Debian's age, which opens and writes their files.

local files = require("spec.support.files")

local M = {}

-- Runs a command; throws when it fails. Returns what it printed.
local function run(command, ...)
	local pipe = assert(io.popen(command:format(...), "r"))
	local text = pipe:read("a")
	if not pipe:close() then error("failed: " .. command:format(...), 3) end
	return text
end

--- Makes custodians.
-- @param dir  folder of their keys; @param names  list
-- @return list of { name, key ("age1..."), path (of the file with the private key) }
function M.make(dir, names)
	local list = {}
	for i, name in ipairs(names) do
		local path = ("%s/%s.txt"):format(dir, name)
		run("age-keygen -o %s 2>/dev/null", path)
		list[i] = { name = name, path = path, key = run("age-keygen -y %s", path):match("age1%w+") }
	end
	return list
end

--- The text of a file for RECOVERY.
-- @param earlier  list of { custodians, threshold }, or nil
function M.file(custodians, threshold, earlier)
	local function set(list, least)
		local lines = {}
		for i, custodian in ipairs(list) do
			lines[i] = ("{ name = %q, key = %q }"):format(custodian.name, custodian.key)
		end
		return ("threshold = %d, custodians = { %s }"):format(least, table.concat(lines, ", "))
	end
	local older = {}
	for i, entry in ipairs(earlier or {}) do older[i] = "{ " .. set(entry.custodians, entry.threshold) .. " }" end
	return ("return { %s, earlier = { %s } }"):format(set(custodians, threshold), table.concat(older, ", "))
end

--- Opens an age file with a custodian's key, as `age -d` does.
-- @return bytes
function M.open(custodian, file)
	local path = custodian.path .. ".age"
	files.write(path, file)
	return run("age -d -i %s %s 2>/dev/null", custodian.path, path)
end

--- Writes an age file with `age -a`.
-- @param dir  a folder for the plaintext; @param recipients  list of "age1..."
function M.seal(dir, recipients, plain)
	files.write(dir .. "/plain", plain)
	return run("age -a -r %s %s", table.concat(recipients, " -r "), dir .. "/plain")
end

return M
