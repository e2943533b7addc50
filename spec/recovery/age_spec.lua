-- Age files between the node's code and Debian's age, in both directions.

local cjson = require("cjson")
local custodians = require("spec.support.custodians")
local files = require("spec.support.files")
local native = require("spec.support.native")
local uv = require("luv")

local DAY = 20787
local SET = { id = ("s"):rep(32), threshold = 2, count = 3 }

describe("age files", function()
	local dir, people, master

	setup(function()
		dir = files.temp_dir()
		people, master = custodians.make(dir, { "alice", "bob", "carol" }), native.secret_random(32)
	end)

	teardown(function() files.remove_dir(dir) end)

	local function recipients()
		local list = {}
		for x, custodian in ipairs(people) do list[x] = assert(native.age_recipient(custodian.key)) end
		return list
	end

	it("of the node are opened by each custodian's age, and by nobody else's", function()
		local made = assert(native.recovery_files(master, SET, recipients(), DAY))
		assert.equal(3, #made)
		for x, custodian in ipairs(people) do
			local share = custodians.open(custodian, made[x])
			assert.equal(83, #share)
			assert.equal("NKR1" .. SET.id:sub(1, 16) .. "\2\3" .. string.char(x) .. string.pack(">I4", DAY), share:sub(1, 27))
			assert.equal(master:keccak256():sub(3, 50), native.hex_encode(share:sub(28, 51)))
		end
		assert.has_error(function() custodians.open(people[1], made[2]) end)
	end)

	it("with the same shares are other files each time", function()
		local one, two = native.recovery_files(master, SET, recipients(), DAY), native.recovery_files(master, SET,
			recipients(), DAY)
		assert.not_equal(one[1], two[1])
		assert.equal(custodians.open(people[1], one[1]), custodians.open(people[1], two[1]))
	end)

	it("of age are opened by a node's key, also with several recipients", function()
		local made = assert(native.recovery_files(master, SET, recipients(), DAY))
		local key = assert(native.recovery_key())
		local share = custodians.open(people[3], made[3])
		for _, to in ipairs({ { key:recipient() }, { people[1].key, key:recipient() } }) do
			local opened = assert(key:open_share(custodians.seal(dir, to, share)))
			assert.same({
				set = native.hex_encode(SET.id:sub(1, 16)), threshold = 2, count = 3, x = 3, day = DAY,
				hash = master:keccak256():sub(3, 50),
			}, opened:head())
		end
		local _, _, code = key:open_share(custodians.seal(dir, { people[1].key }, share))
		assert.equal("ERR_AGE", code)
		_, _, code = key:open_share(custodians.seal(dir, { key:recipient() }, share .. "x"))
		assert.equal("ERR_SHARE", code)
	end)

	it("are made by custodians' handles of a share, too, and a proof of it", function()
		local made = assert(native.recovery_files(master, SET, recipients(), DAY))
		files.write(dir .. "/share", custodians.open(people[2], made[2]))
		local fd = assert(uv.fs_open(dir .. "/share", "r", 0))
		local share = assert(native.recovery_read_share(fd))
		uv.fs_close(fd)
		local key = assert(native.recovery_key())
		assert.equal(2, assert(key:open_share(assert(share:seal(key:recipient())))):head().x)
		local proof = native.hex_decode(share:proof("nonce and wallet"))
		assert.is_true(native.recovery_proves(master, SET, 2, "nonce and wallet", proof))
		assert.is_false(native.recovery_proves(master, SET, 1, "nonce and wallet", proof))
		assert.is_false(native.recovery_proves(master, SET, 2, "nonce and Wallet", proof))
		assert.is_false(native.recovery_proves(native.secret_random(32), SET, 2, "nonce and wallet", proof))
	end)

	it("have the recipients of another implementation", function()
		for _, case in ipairs(cjson.decode(files.read("spec/vectors/age.json"))) do
			assert.equal(case.public, native.hex_encode(assert(native.age_recipient(case.recipient))))
			local _, _, code = native.age_recipient(case.recipient:upper())
			assert.equal("ERR_RECIPIENT", code)
		end
	end)
end)
