-- Look-ups of names in the audit log: none without a line about it.

local audit_commands = require("kms.admin.audit_commands")
require("spec.support.native")

describe("kms.admin.audit_commands", function()
	local TARGET = "path/700/" .. ("ab"):rep(32)
	local has_room, noted

	local function look_up()
		local audit = {
			hash = function() return ("12"):rep(16) end,
			event = function(_, event, fields)
				if not has_room then return nil, "no room" end
				noted[#noted + 1] = { event, fields.name, fields.uid }
				return true
			end,
		}
		local route = audit_commands.routes(audit, function() return 1000 end)[1]
		return route.handler(TARGET, { uid = 7, pid = 8 })
	end

	before_each(function() noted = {} end)

	it("notes a look-up and answers it", function()
		has_room = true
		local reply = look_up()
		assert.same({ 200, '{"hash":"' .. ("12"):rep(16) .. '"}' }, { reply.status, reply.body })
		assert.same({ { "lookup", ("12"):rep(16), 7 } }, noted)
	end)

	it("answers none for whose line there is no room", function()
		has_room = false
		local reply = look_up()
		assert.equal(503, reply.status)
		assert.is_nil(reply.body:find(("12"):rep(16), 1, true))
	end)
end)
