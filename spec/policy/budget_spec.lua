--- Budgets of the policy VM (csrc/policy/vm.h): at the limit and one past it.

local native = require("spec.support.native")
local policy_kit = require("spec.support.policy_kit")

local FACTS = policy_kit.FACTS

describe("the budget of a policy VM", function()
	local kit


	before_each(function() kit = policy_kit.new() end)
	after_each(function() kit:remove() end)

	local function new(options, body)
		local vm = assert(native.policy_vm(options))
		assert(vm:load("access", "return { derive = function(r) " .. body .. " end }"))
		return vm
	end

	local function runs(vm)
		local result, _, _, why = vm:call("access.derive", "verdict", 1, 1, FACTS)
		return result, why
	end

	it("of instructions hold exactly", function()
		local body = "for i = 1, 1000 do end"
		local low, high = 1, 20000
		while low < high do
			local middle = (low + high) // 2
			if runs(new({ instructions = middle }, body)) then high = middle else low = middle + 1 end
		end
		assert.is_true(runs(new({ instructions = low }, body)))
		assert.same({ nil, "overrun" }, { runs(new({ instructions = low - 1 }, body)) })
		assert.same({ nil, "overrun" }, { runs(new({ instructions = low }, "for i = 1, 1001 do end")) })
	end)

	it("of memory hold, and less than half of it at rest", function()
		local vm = new({ memory = 256 << 10, instructions = 1 << 20 },
			"local t = {} for i = 1, 100000 do t[i] = { i } end")
		assert.same({ nil, "memory" }, { runs(vm) })
		local used, cap = vm:memory()
		assert.is_true(used <= cap)
		local big = "local t = { '" .. ("x"):rep(40000) .. "1', '" .. ("x"):rep(40000) .. "2' } return { t = t }"
		local small = assert(native.policy_vm({ memory = 128 << 10 }))
		local ok, message, _, why = small:load("access", big)
		assert.same({ nil, "memory" }, { ok, why }, message)
		assert(assert(native.policy_vm({ memory = 512 << 10 })):load("access", big))
	end)

	it("of strings hold at 65536 bytes", function()
		assert.is_true(runs(new({}, "local s = ('x'):rep(65536) return #s == 65536")))
		assert.same({ nil, "error" }, { runs(new({}, "local s = ('x'):rep(65537)")) })
		assert.is_true(runs(new({}, "local s = ('x'):rep(65535) .. 'y' return #s == 65536")))
		assert.same({ nil, "memory" }, { runs(new({}, "local s = ('x'):rep(65536) .. ('y'):rep(100)")) })
		local vm = new({}, "return #r.path > 0")
		assert.is_true((vm:call("access.derive", "verdict", 1, 1, { path = ("x"):rep(65536) })))
		local result, message, code, why = vm:call("access.derive", "verdict", 1, 1, { path = ("x"):rep(65537) })
		assert.is_nil(result)
		assert.same({ "a text is longer than 65536 bytes", "ERR_POLICY", "nonsense" }, { message, code, why })
	end)

	it("of facts hold: depth, and what is no plain data", function()
		local vm = new({}, "")
		local function nested(depth)
			local t = {}
			for _ = 2, depth do t = { t } end
			return t
		end
		local function call(facts) return vm:call("access.derive", "verdict", 1, 1, facts) end
		assert.is_true((call(nested(8))))
		assert.is_nil((call(nested(9))))
		for _, bad in ipairs({ { f = print }, { f = io.stdout }, { [1.5] = 1 }, { [true] = 1 }, { [{}] = 1 } }) do
			local result, _, _, why = call(bad)
			assert.same({ nil, "nonsense" }, { result, why })
		end
		local cycle = {}
		cycle.self = cycle
		assert.is_nil((call(cycle)))
		assert.is_true((call({})))
	end)

	it("of what a policy returns hold: text there many times, tables that are long to go over", function()
		-- In the file's own table it is refused at once.
		local function load(text, members)
			local vm = assert(native.policy_vm({ memory = 16 << 20 }))
			return vm, vm:load("access", text .. " return { " .. members .. "page = function() return t end }")
		end
		local texts = "local s, t = ('x'):rep(60000), {} for i = 1, 45000 do t[i] = s end"
		local before = collectgarbage("count")
		local vm, ok, message
		ok, message = select(2, load(texts, "t = t, "))
		assert.same({ nil, "it has more than 4 MiB of text" }, { ok, message })
		assert.is_true(collectgarbage("count") - before < 16384)
		vm, ok = load(texts, "")
		assert.is_true(ok)
		local result, _, _, why = vm:call("access.page", "data", 1, 1)
		assert.same({ nil, "overrun" }, { result, why })

		local tables = "local big, t = {}, {} for i = 1, 130000 do big[i] = i end for i in pairs(big) do "
			.. "big[i] = nil end for i = 1, 40000 do t[i] = big end"
		local begun = os.clock()
		ok, message = select(2, load(tables, "t = t, "))
		assert.same({ nil, "it takes too long to copy" }, { ok, message })
		vm, ok = load(tables, "")
		assert.is_true(ok)
		result, message, _, why = vm:call("access.page", "data", 1, 1)
		assert.same({ nil, "nonsense" }, { result, why }, message)
		assert.matches("it takes too long to copy$", message)
		assert.is_true(os.clock() - begun < 5)
	end)

	it("of log kit.lines and counters hold", function()
		local vm = new({}, "for i = 1, 20 do kms.count('c', { i = i }) end")
		local _, notes = vm:call("access.derive", "verdict", 1, 1, FACTS)
		assert.equal(16, #notes)
		assert.equal(4, notes.dropped)
		vm = new({}, "for i = 1, 16 do kms.log('info', 'm') end")
		_, notes = vm:call("access.derive", "verdict", 1, 1, FACTS)
		assert.same({ 16, nil }, { #notes, notes.dropped })
		-- What a hook said before it failed is not lost.
		vm = new({}, "kms.log('info', 'm', { a = 1, b = 'x', c = true }) error('x')")
		notes = select(5, vm:call("access.derive", "verdict", 1, 1, FACTS))
		assert.same({ { level = "info", message = "m", fields = { a = 1, b = "x", c = true } } }, notes)
	end)

	it("refuse misuse by the node's own code", function()
		for _, options in ipairs({ { memory = 1 }, { instructions = 0 }, { unknown = 1 }, { store = 1 },
			{ buckets = native.nonces(1) }, { facts = 1 } }) do
			assert.has_error(function() native.policy_vm(options) end)
		end
		local vm = new({}, "")
		assert.has_error(function() vm:call("access", "verdict", 1, 1) end)
		assert.has_error(function() vm:call("access.derive", "other", 1, 1) end)
		assert.has_error(function() vm:call("access.derive", "verdict", -1, 1) end)
		assert.has_error(function() vm:load("a.b", "return {}") end)
		assert.has_error(function() vm:load("a", ("x"):rep(262145)) end)
		assert.has_error(function() vm:provide("other", {}) end)
		assert.has_error(function() native.policy_buckets(1) end)
		vm:close()
		vm:close()
		assert.has_error(function() vm:memory() end, "calling 'memory' on bad self (is closed)")
	end)
end)
