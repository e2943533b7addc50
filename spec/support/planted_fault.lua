--- Faults in a node's Lua code: spec/e2e/session_fault_spec.lua copies this file beside a copy of that code, whose
-- main.lua requires it. A key that begins with "fault/decided" throws when it is decided about, one with
-- "fault/written" when the writes of its message have been made; each key the first time that it comes.

local operations = require("kms.routes.operations")

local new = operations.new

function operations.new(deps)
	local made = new(deps)
	local refusal, wrote, seen, is_due = made.refusal, made.wrote, {}, false

	local function is_first(key, kind)
		if seen[key] or key:find("fault/" .. kind, 1, true) ~= 1 then return false end
		seen[key] = true
		return true
	end

	function made.refusal(self, inbound, operation, caller, opened)
		local key = opened:key() or ""
		if is_first(key, "decided") then error("a planted fault before " .. key) end
		is_due = is_due or is_first(key, "written")
		return refusal(self, inbound, operation, caller, opened)
	end

	function made.wrote(self, write)
		local results = table.pack(wrote(self, write))
		if not is_due then return table.unpack(results, 1, results.n) end
		is_due = false
		error("a planted fault behind writes")
	end

	return made
end
