--- kms.chain.race: who is asked, and whose value counts. How slow servers are passed over: rpc_busy_spec.lua.

local loop = require("kms.base.loop")
local loopback = require("spec.support.loopback")
local race = require("kms.chain.race")
local wakeup = require("kms.async.wakeup")

describe("chain.race", function()
	local errors

	before_each(function()
		errors = {}
		loop.on_error(function(text) errors[#errors + 1] = text end)
	end)

	after_each(function()
		loop.on_error(function(text) io.stderr:write(text, "\n") end)
	end)

	-- Runs a race in which each server does something; returns its value and the servers that were asked.
	local function run(servers, wanted)
		local value
		local asked = {}
		loopback.run(function()
			value = race.run(servers, wanted, function(server)
				asked[#asked + 1] = server
				loop.pause()
				return server()
			end)
		end)
		return value, #asked
	end

	local function good() return "good" end
	local function silent() return nil, 1 end
	local function no() return false end
	local function broken() error("broken") end

	it("has the value of the only server, or none", function()
		assert.same({ "good", 1 }, { run({ good }, 1) })
		assert.same({ "good", 1 }, { run({ good }, 2) })
		assert.same({ false, 1 }, { run({ no }, 1) })
		assert.same({ nil, 1 }, { run({ silent }, 1) })
		assert.same({}, errors)
		assert.same({ nil, 1 }, { run({ broken }, 1) })
		assert.truthy(#errors == 1 and errors[1]:find("broken", 1, true))
		assert.same({ nil, 0 }, { run({}, 1) })
	end)

	it("asks the next one where one gives nothing or throws", function()
		assert.same({ "good", 1 }, { run({ good, broken }, 1) })
		assert.same({ "good", 2 }, { run({ silent, good }, 1) })
		assert.same({ "good", 3 }, { run({ broken, silent, good }, 1) })
		assert.equal(1, #errors)
		assert.same({ false, 2 }, { run({ silent, no }, 1) })
		assert.same({ nil, 2 }, { run({ silent, silent }, 2) })
	end)

	it("asks all, and ends when all have ended, whether they throw or not", function()
		local asked = {}
		loopback.run(function()
			race.all({ good, silent, broken }, 2, function(server, number)
				loop.pause()
				asked[#asked + 1] = number
				return server() ~= nil
			end)
			assert.same({ 1, 2, 3 }, asked)
			race.all({}, 2, error)
		end)
		assert.equal(1, #errors)
	end)

	it("ends a moment after enough have given a value, though others have not ended", function()
		local late = wakeup.new()
		local ended = {}
		loopback.run(function()
			race.all({ good, silent, good }, 2, function(server, number)
				if server == silent then late:wait() end
				ended[#ended + 1] = number
				return server() ~= nil
			end)
			assert.same({ 1, 3 }, ended)
			late:wake()
			assert.same({ 1, 3, 2 }, ended)
		end)
		assert.same({}, errors)
	end)
end)
