-- The order of an audit log's files, whatever order they are named in.

local audit_log = require("spec.support.audit_log")
local files = require("spec.support.files")
local native = require("spec.support.native")
local order = require("kms.audit.order")

local RUN = ("1"):rep(16)

local function hash_of(raw) return native.hex_encode(native.sha256(raw)) end

describe("kms.audit.order", function()
	local dir
	before_each(function() dir = files.temp_dir() end)
	after_each(function() files.remove_dir(dir) end)

	local function write(name, text)
		files.write(dir .. "/" .. name, text)
		return dir .. "/" .. name
	end

	-- A log of three files; the node's clock is set back before the second one. Returns their paths.
	local function three_files(prefix)
		local log = audit_log.new():start(RUN):event("derive")
		local one = write(prefix .. "c", log:text())
		log.lines, log.time_ms = {}, log.time_ms - 3600000
		local two = write(prefix .. "a", log:event("derive"):text())
		log.lines, log.time_ms = {}, log.time_ms - 3600000
		local three = write(prefix .. "b", log:event("stop"):text())
		return one, two, three
	end

	it("follows the chain where the clock was set back", function()
		local one, two, three = three_files("")
		for _, named in ipairs({ { one, two, three }, { three, two, one }, { two, three, one } }) do
			assert.same({ one, two, three }, order.sorted(named, hash_of))
		end
		assert.same({ three, two, one }, order.sorted({ one, two, three }))
	end)

	it("puts chains, and files that nothing precedes, in the order of their first lines", function()
		local _, two, three = three_files("")
		local later = audit_log.new()
		later.time_ms = later.time_ms + 3600000
		local other = write("0", later:start(RUN):text())
		local junk, empty = write("junk", "x\n"), write("empty", "")
		assert.same({ two, three, other, empty, junk }, order.sorted({ junk, other, three, empty, two }, hash_of))
	end)

	it("keeps every file: one named twice, a copy, and one that is not there", function()
		local one, two, three = three_files("")
		local copy = write("d", files.read(two))
		local sorted = order.sorted({ copy, three, two, one, dir .. "/gone" }, hash_of)
		assert.same({ 5, one, dir .. "/gone" }, { #sorted, sorted[2] == one and one or sorted[1], sorted[5] })
		table.sort(sorted)
		assert.same({ two, three, one, copy, dir .. "/gone" }, sorted)
		assert.same({ two, two }, order.sorted({ two, two }, hash_of))
	end)
end)
