-- Files of sealed snapshots through the bindings: what one store holds comes out of them in another one.

local files = require("spec.support.files")
local native = require("spec.support.native")
local snapshots = require("spec.support.snapshots")

local WALLET, OTHER = "0x" .. ("1"):rep(40), "0x" .. ("2"):rep(40)
local NOW = 1700000000000
local MASTER = native.secret_random(32)

-- A store with `count` tombstones: what a page holds without any key.
local function filled_store(count)
	local store = assert(native.store({ self = WALLET }))
	local records = {}
	for i = 1, count do
		records[i] = ('{"key":"k%d","value":null,"version":{"%s":1},"updated_at_ms":%d,"tombstone":true,"ttl_ms":0}')
			:format(i, OTHER, NOW - i)
	end
	local text = ('{"data":{"49":[%s]}}'):format(table.concat(records, ","))
	local message = assert(native.sync_parse(native.text_body(text)))
	message:admit(1)
	assert.equal(count, assert(message:apply(store, MASTER, 1, NOW)).merged)
	return store
end

-- Writes all that a store holds into one file. Returns its body and hash, and the number of records.
local function write_store(store, sequence)
	local writer = assert(native.snapshot_writer(MASTER, "records", WALLET, sequence))
	local walk, next_since = assert(store:walk(0))
	assert.equal(store:sequence(), next_since)
	local total = 0
	local page, records = assert(walk:page(1000))
	while page do
		assert.is_true(page:len() <= 1000)
		local size = writer:size(page:len())
		assert.is_true(writer:add(page))
		assert.equal(size, writer:size())
		total = total + records
		page, records = walk:page(1000)
	end
	assert.equal(0, records)
	local size = writer:size()
	local file, sha256 = assert(writer:finish())
	assert.equal(size, file:len())
	return file, sha256, total
end

describe("a snapshot file", function()
	local dir
	before_each(function() dir = files.temp_dir() end)
	after_each(function() files.remove_dir(dir) end)

	it("holds what a store holds", function()
		snapshots.wait(function()
			local store = filled_store(100)
			local file, sha256, total = write_store(store, 7)
			assert.equal(100, total)
			assert.is_true(native.write_new_file(dir, "", "a", file))
			local body = assert(native.read_file(dir, "", "a", 1 << 20))
			assert.equal(file:len(), body:len())
			local opened, hash = assert(native.snapshot_open(MASTER, "records", WALLET, 7, body))
			assert.equal(sha256, hash)
			local to, merged, pages = native.store({ self = OTHER }), 0, 0
			local message = assert(opened:next())
			while message do
				merged, pages = merged + assert(message:apply(to, MASTER, 1, NOW)).merged, pages + 1
				message = opened:next()
			end
			assert.is_false(message)
			assert.is_true(pages > 3)
			assert.equal(to:stats().tombstones, merged)
		end)
	end)

	it("is refused with the chunk and the reason", function()
		snapshots.wait(function()
			local file = write_store(filled_store(3), 7)
			assert.is_true(native.write_new_file(dir, "", "a", file))
			local function open(kind, wallet, sequence)
				return native.snapshot_open(MASTER, kind, wallet, sequence, native.read_file(dir, "", "a", 1 << 20))
			end
			local sealed = "chunk 0: sealed data was changed or made under another key"
			assert.same({ nil, sealed, "ERR_SEALED" }, { open("manifest", WALLET, 7) })
			assert.same({ nil, sealed, "ERR_SEALED" }, { open("records", OTHER, 7) })
			assert.same({ nil, sealed, "ERR_SEALED" }, { open("records", WALLET, 8) })
			local text = native.text_body("NKS1 and no more")
			local _, message, code = native.snapshot_open(MASTER, "records", WALLET, 7, text)
			assert.same({ "chunk 0: input ends too early", "ERR_TRUNCATED" }, { message, code })
			text = native.text_body(("x"):rep(100))
			_, _, code = native.snapshot_open(MASTER, "records", WALLET, 7, text)
			assert.equal("ERR_FILE_FORMAT", code)
			assert.has_error(function() text:len() end) -- taken over in any case
		end)
	end)

	it("of a manifest gives its text", function()
		snapshots.wait(function()
			local writer = assert(native.snapshot_writer(MASTER, "manifest", WALLET, 9))
			assert.is_true(writer:add(native.text_body('{"version":1}')))
			local _, _, code = writer:add(native.text_body("{}"))
			assert.equal("ERR_RANGE", code)
			local file = assert(writer:finish())
			assert.equal('{"version":1}', assert(native.snapshot_open(MASTER, "manifest", WALLET, 9, file)):text())
			assert.same({ nil, "not possible in this state", "ERR_STATE" }, { writer:finish() })
		end)
	end)
end)

describe("a new file", function()
	local dir
	before_each(function() dir = files.temp_dir() end)
	after_each(function() files.remove_dir(dir) end)

	it("never replaces another one, and a failure says why", function()
		snapshots.wait(function()
			local body = native.text_body("first")
			assert.is_true(native.write_new_file(dir, "", "a", body))
			assert.equal(5, body:len())
			local _, _, code = native.write_new_file(dir, "", "a", native.text_body("second"))
			assert.equal("ERR_STATE", code)
			assert.equal("first", files.read(dir .. "/a"))
			local message
			assert.is_true(native.write_new_file(dir, "new/folder", "a", body))
			assert.equal("first", files.read(dir .. "/new/folder/a"))
			_, message, code = native.write_new_file(dir, "", ("x"):rep(240), body)
			assert.same({ "File name too long", "ERR_SYSTEM" }, { message, code })
			assert.equal("ERR_FILE_MISSING", select(3, native.write_new_file(dir .. "/none", "", "a", body)))
		end)
	end)

	it("is read up to a limit, and only when it is a regular file", function()
		snapshots.wait(function()
			files.write(dir .. "/a", "12345")
			assert.equal(5, native.read_file(dir, "", "a", 5):len())
			local function code_of(name, max) return (select(3, native.read_file(dir, "", name, max))) end
			assert.equal("ERR_TOO_LARGE", code_of("a", 4))
			assert.equal("ERR_FILE_MISSING", code_of("b", 4))
			assert.equal("ERR_FILE_FORMAT", code_of(".", 4))
			assert(require("luv").fs_symlink(dir .. "/a", dir .. "/link"))
			assert.equal("ERR_FILE_FORMAT", code_of("link", 5))
		end)
	end)
end)
