-- The file that RECOVERY names: its set ids, and what is refused in it.

local cjson = require("cjson")
local config = require("kms.config")
local configs = require("spec.support.config")
local custodians = require("kms.recovery.custodians")
local files = require("spec.support.files")
local native = require("spec.support.native")

local function cases(name)
	return cjson.decode(files.read("spec/vectors/" .. name .. ".json"))
end

local KEYS = {}
for i, custodian in ipairs(cjson.decode(cases("share")[5].set).custodians) do KEYS[i] = custodian.key end

-- A valid file of `count` custodians, changed.
local function content(count, change)
	local list = {}
	for x = 1, count do list[x] = { name = "c" .. x, key = KEYS[x] } end
	local made = { threshold = 2, custodians = list }
	if change then change(made, list) end
	return made
end

describe("kms.recovery.custodians", function()
	it("names sets as another implementation does", function()
		for _, case in ipairs(cases("share")) do
			local set = cjson.decode(case.set)
			local sets = assert(custodians.check({ threshold = math.tointeger(set.threshold), custodians = set.custodians }))
			assert.equal(case.set_id, sets[1].id)
			assert.equal(case.set_id:sub(1, 32), native.hex_encode(sets[1].short_id))
			assert.equal(#set.custodians, sets[1].native.count)
		end
	end)

	it("takes 2 to 16 custodians, and thresholds of 2 to their number", function()
		for _, count in ipairs({ 2, 16 }) do
			assert.truthy(custodians.check(content(count)))
			assert.truthy(custodians.check(content(count, function(t) t.threshold = count end)))
			assert.is_nil((custodians.check(content(count, function(t) t.threshold = count + 1 end))))
		end
		assert.is_nil((custodians.check(content(1))))
		assert.is_nil((custodians.check(content(2, function(t) t.threshold = 1 end))))
		assert.is_nil((custodians.check(content(16, function(_, list)
			list[17] = { name = "c17", key = cases("age")[1].recipient }
		end))))
	end)

	for what, case in pairs({
		["a name that occurs twice"] = { function(_, list) list[2].name = "c1" end, "'c1' occurs twice" },
		["a key that occurs twice"] = { function(_, list) list[2].key = KEYS[1] end, "occurs twice" },
		["a key in upper case"] = { function(_, list) list[2].key = KEYS[2]:upper() end, "custodians%[2%] %(c2%): key" },
		["a key that is mistyped"] = {
			function(_, list) list[2].key = KEYS[2]:sub(1, -2) .. (KEYS[2]:sub(-1) == "q" and "p" or "q") end, "key must be",
		},
		["a private key"] = { function(_, list) list[1].key = "AGE-SECRET-KEY-1" .. ("Q"):rep(58) end, "key must be" },
		["a name in upper case"] = { function(_, list) list[1].name = "Alice" end, "custodians%[1%]: name" },
		["a long name"] = { function(_, list) list[1].name = ("a"):rep(65) end, "custodians%[1%]: name" },
		["no name"] = { function(_, list) list[1].name = nil end, "custodians%[1%]: name" },
		["an unknown member"] = { function(t) t.treshold = 2 end, "unknown member 'treshold', did you mean 'threshold'" },
		["an unknown member of a custodian"] = { function(_, list) list[1].keys = 2 end, "did you mean 'key'" },
		["a threshold that is text"] = { function(t) t.threshold = "2" end, "threshold must be" },
		["custodians by name"] = { function(t) t.custodians = { alice = KEYS[1] } end, "custodians must be a list" },
		["an earlier set that is the one in force"] = { function(t) t.earlier = { content(3) } end, "occurs twice" },
		["an earlier set within an earlier one"] = {
			function(t) t.earlier = { content(2, function(inner) inner.earlier = {} end) } end, "unknown member 'earlier'",
		},
		["an earlier set that is not whole"] = {
			function(t) t.earlier = { { threshold = 2 } } end, "earlier%[1%]: custodians",
		},
	}) do
		it("refuses " .. what, function()
			local sets, message = custodians.check(content(3, case[1]))
			assert.is_nil(sets)
			assert.truthy(message:find(case[2]), message)
		end)
	end

	it("takes earlier sets beside the one in force", function()
		local sets = assert(custodians.check(content(3, function(t) t.earlier = { content(2), content(4) } end)))
		assert.equal(3, #sets)
		assert.same({ 3, 2, 4 }, { #sets[1].custodians, #sets[2].custodians, #sets[3].custodians })
	end)

	it("says which file is wrong", function()
		local dir = files.temp_dir()
		files.write(dir .. "/custodians.lua", "return { threshold = 2 }")
		local sets, message = custodians.load(dir .. "/custodians.lua")
		assert.is_nil(sets)
		assert.equal("variable RECOVERY: " .. dir .. "/custodians.lua: custodians must be a list of 2 to 16", message)
		assert.is_nil((custodians.load(dir .. "/absent")))
		assert.is_false(custodians.load(nil))
		files.remove_dir(dir)
	end)
end)

describe("RECOVERY", function()
	after_each(configs.clean)

	it("comes from the measured configuration file in an enclave, never from the environment", function()
		assert.truthy(config.load(configs.with_file('return { RECOVERY = "custodians.lua" }')))
		local _, errors = configs.errors_of(configs.with_env({ RECOVERY = "custodians.lua" }))
		assert.equal(1, #errors)
		assert.truthy(errors[1]:find("variable RECOVERY: not valid in the environment", 1, true), errors[1])
		assert.equal("custodians.lua", configs.load_env({ RECOVERY = "custodians.lua", IN_ENCLAVE = "false" }).RECOVERY)
	end)
end)
