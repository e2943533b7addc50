--- Makes pairs() go through keys in their order: Lua's own is another one in each process, and a simulation replays.

local function is_before(a, b)
	if type(a) == type(b) then return a < b end
	return type(a) < type(b)
end

local function check(key)
	if type(key) ~= "string" and type(key) ~= "number" then
		error("pairs() over keys that have no order: a simulation would not replay", 3)
	end
end

function pairs(t) -- luacheck: globals pairs
	local keys = {}
	for key in next, t do keys[#keys + 1] = key end
	if #keys > 1 then
		for _, key in ipairs(keys) do check(key) end
		table.sort(keys, is_before)
	end
	local i = 0
	return function()
		repeat i = i + 1 until keys[i] == nil or rawget(t, keys[i]) ~= nil
		return keys[i], t[keys[i]]
	end
end
