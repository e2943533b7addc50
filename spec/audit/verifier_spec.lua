-- What `nova-kms audit verify` accepts: a log as it was written, and nothing that somebody has changed.

local audit_log = require("spec.support.audit_log")
local crypto = require("spec.support.crypto")
local files = require("spec.support.files")
require("spec.support.native")
local verifier = require("kms.audit.verifier")

local RUN, NEXT_RUN = ("1"):rep(16), ("2"):rep(16)

describe("the verifier of audit logs", function()
	local dir

	setup(function() dir = files.temp_dir() end)
	teardown(function() files.remove_dir(dir) end)

	-- Checks the texts of files, in this order. Returns result | nil, message.
	local function check(texts, options)
		options = options or {}
		local self = verifier.new({ wallets = options.wallets or {}, max_unsigned = options.max_unsigned or 1000 })
		for _, text in ipairs(texts) do
			files.write(dir .. "/log", text)
			local ok, message = self:file(dir .. "/log")
			if not ok then return nil, message end
		end
		return self:result()
	end

	-- A log of two runs, both signed.
	local function two_runs()
		local log = audit_log.new()
		log:start(RUN):event("derive", { { "name", "aa" } }):event("derive", { { "name", "bb" } }):sign()
		log:event("refused"):event("stop"):sign()
		return log:start(NEXT_RUN):event("derive", { { "name", "cc" } }):event("stop"):sign()
	end

	local function refused(want, texts, options)
		local result, message = check(texts, options)
		assert.is_nil(result)
		assert.truthy(message:find(want, 1, true), message)
	end

	it("accepts a whole log, in one file or several", function()
		local log = two_runs()
		local result = assert(check({ log:text() }, { wallets = { log.wallet }, max_unsigned = 0 }))
		assert.same({ 11, 1, 2, 1, 11, 3, 0, 0 }, { result.lines, result.chains, result.runs, result.first_seq,
			result.last_seq, result.signatures, result.unsigned, result.lost })
		assert.same({ log.wallet, log.hash }, { result.wallets[1], result.last_hash })
		assert.is_nil(result.too_many)
		for cut = 1, #log.lines - 1 do
			local one = table.concat(log.lines, "\n", 1, cut) .. "\n"
			local two = table.concat(log.lines, "\n", cut + 1) .. "\n"
			assert.equal(3, assert(check({ one, two })).signatures)
			-- Without the first file it begins later, which the result says.
			assert.equal(cut + 1, assert(check({ two })).first_seq)
		end
	end)

	it("notices each line that is left out, twice there, or elsewhere", function()
		local log = two_runs()
		for i = 1, #log.lines do
			local left_out = table.move(log.lines, 1, #log.lines, 1, {})
			table.remove(left_out, i)
			local result = check({ table.concat(left_out, "\n") .. "\n" })
			assert.is_true(result == nil or i == 1 or i == #log.lines, "line " .. i)
			local twice = table.move(log.lines, 1, #log.lines, 1, {})
			table.insert(twice, i, log.lines[i])
			assert.is_true(i == 1 or check({ table.concat(twice, "\n") .. "\n" }) == nil, "line " .. i)
			local moved = table.move(log.lines, 1, #log.lines, 1, {})
			moved[i], moved[i % #moved + 1] = moved[i % #moved + 1], moved[i]
			assert.is_nil(check({ table.concat(moved, "\n") .. "\n" }), "line " .. i)
		end
		refused("lines 3 to 4 are missing", { table.concat(log.lines, "\n", 1, 2) .. "\n"
			.. table.concat(log.lines, "\n", 5) .. "\n" })
	end)

	it("notices each byte that is changed", function()
		local text = two_runs():text()
		for at = 1, #text do
			local changed = text:sub(1, at - 1) .. string.char(text:byte(at) ~ 1) .. text:sub(at + 1)
			local result = check({ changed }, { max_unsigned = 0 })
			-- The last line feed: then the last line is torn, and what it signs is not signed.
			assert.is_true(result == nil or result.too_many ~= nil or result.signatures < 3, "byte " .. at)
		end
	end)

	it("believes only signatures of the node's wallet, over its own lines", function()
		local other = crypto.made_up("another node")
		local function signed(o) return audit_log.new():start(RUN):event("derive"):sign(o):text() end
		local wallet = audit_log.new().wallet
		assert.equal(1, assert(check({ signed() }, { wallets = { other.wallet, wallet } })).signatures)
		refused("line 3: is signed by " .. other.wallet, { signed({ by = other }) }, { wallets = { wallet } })
		refused("the signature is not the wallet's", { signed({ by = other, wallet = wallet }) })
		refused("another line than the one here is signed", { signed({ hash = ("ab"):rep(32) }) })
		refused("another line than the one here is signed", { signed({ seq = 1 }) })
		refused("a line that comes later", { signed({ seq = 3 }) })
		refused("of another run", { signed({ run = NEXT_RUN }) })
		refused("before its run", { signed({ seq = 0 }) })
		refused("the signature is malformed", { signed({ wallet = "0x12" }) })
		refused("the signature is malformed", { signed({ run = "1" }) })
	end)

	it("does not let a later run sign what stands behind an earlier one's last signature", function()
		local log = audit_log.new():start(RUN):event("derive"):sign()
		log:event("derive", { { "name", "put in by somebody" } })
		log:start(NEXT_RUN):event("derive"):sign()
		local result = assert(check({ log:text() }))
		assert.same({ { first = 3, last = 4, lines = 1 } }, result.gaps)
		assert.is_nil(result.too_many)
		assert.equal(1, check({ log:text() }, { max_unsigned = 0 }).too_many)
	end)

	it("has a limit for lines without a signature", function()
		local log = audit_log.new():start(RUN)
		for _ = 1, 5 do log:event("derive") end
		assert.is_nil(check({ log:text() }, { max_unsigned = 6 }).too_many)
		assert.equal(6, check({ log:text() }, { max_unsigned = 5 }).too_many)
	end)

	it("does not let runs without signatures add up beyond that limit", function()
		local log = audit_log.new():start(RUN):event("derive"):sign()
		for run = 2, 4 do log:start((("%016x"):format(run))):event("derive"):event("derive") end
		local result = assert(check({ log:text() }, { wallets = { log.wallet }, max_unsigned = 9 }))
		assert.same({ 9, 3, nil }, { result.unsigned, #result.gaps, result.too_many })
		assert.equal(9, check({ log:text() }, { wallets = { log.wallet }, max_unsigned = 8 }).too_many)
		-- Nor chains.
		local again = audit_log.new():start(NEXT_RUN):event("derive")
		assert.equal(11, check({ log:text(), again:text() }, { max_unsigned = 10 }).too_many)
	end)

	it("does not take a signature of lines before the file for one of the lines in it", function()
		local log = two_runs()
		local forged = audit_log.new()
		forged.seq, forged.hash, forged.run = 100, ("ab"):rep(32), RUN
		forged:event("derive")
		forged:sign({ seq = 3, hash = crypto.hex(crypto.sha256(log.lines[3])) })
		local result = assert(check({ forged:event("derive"):text() }, { wallets = { log.wallet } }))
		assert.same({ 0, 2 }, { result.signatures, result.unsigned })
	end)

	it("accepts what a crash has torn where the next run names it, and nothing else", function()
		local log = audit_log.new():start(RUN):event("derive"):sign()
		local torn = '{"seq":4,"prev":"00~\n'
		local before = log:text()
		local function with(bytes, named)
			local next_run = audit_log.new()
			next_run.seq, next_run.hash = log.seq, log.hash
			return before .. bytes .. next_run:start(NEXT_RUN, named):sign():text()
		end
		assert.equal(1, assert(check({ with(torn, #torn) })).torn)
		refused("names another number", { with(torn, #torn - 1) })
		refused("names another number", { with(torn .. "x\n", #torn) })
		refused("names another number", { with("", 1) })
		local event = audit_log.new()
		event.seq, event.hash = log.seq, log.hash
		refused("what stands before it is no line", { before .. torn .. event:event("derive"):text() })
		refused("line 4: is no line of an audit log", { before .. torn })
		-- The last line of a file that is still written.
		assert.equal(6, assert(check({ before .. '{"seq"' })).tail)
	end)

	it("says what NUL bytes are, and accepts any number of them where the next run names it", function()
		local log = audit_log.new():start(RUN):event("derive"):sign()
		local before = log:text()
		local function with(bytes, named)
			local next_run = audit_log.new()
			next_run.seq, next_run.hash = log.seq, log.hash
			return before .. bytes .. next_run:start(NEXT_RUN, named):sign():text()
		end
		for _, count in ipairs({ 1, 4093, 4096, 65536, 300000 }) do
			for _, torn in ipairs({ "", '{"seq":4,' }) do
				local junk = torn .. ("\0"):rep(count) .. "~\n"
				assert.equal(1, assert(check({ with(junk, #junk) })).torn)
				refused("names another number", { with(junk, #junk - 1) })
				local nuls = count == 1 and "1 NUL byte" or count .. " NUL bytes"
				refused(("line 4: is no line of an audit log, of them %s, as a power cut"):format(nuls),
					{ before .. junk })
				local result = assert(check({ before .. torn .. ("\0"):rep(count) }))
				assert.same({ #torn + count, count }, { result.tail, result.tail_nuls })
			end
		end
	end)

	it("does not take a line for whole because NUL bytes are left out of it", function()
		local text = audit_log.new():start(RUN):event("derive"):sign():text()
		for _, at in ipairs({ 0, 5, #text - 1 }) do
			local changed = text:sub(1, at) .. ("\0"):rep(8192) .. text:sub(at + 1)
			local result, message = check({ changed })
			assert.is_nil(result)
			assert.truthy(message:find("no line"), message)
		end
		refused("line 1 is longer than the 4096 bytes", { ("\0"):rep(5000) .. ("x"):rep(5000) .. "\n" })
	end)

	it("says where a chain begins anew, and that it must begin with a start", function()
		local one, two = two_runs(), two_runs()
		assert.equal(2, assert(check({ one:text(), two:text() })).chains)
		refused("another line than a start", { audit_log.new():event("derive"):text() })
	end)

	it("refuses hostile files with the line that is wrong", function()
		refused("line 1 is longer than the 4096 bytes of a line", { ("x"):rep(5000) })
		refused("line 2 is longer than the 4096 bytes of a line", { "x\n" .. ("y"):rep(10000000) })
		local longest = ('{"seq":1,"prev":"%s","time_ms":1,"event":"start","run":"%s","torn":0,"x":"'):format(
			("0"):rep(64), RUN)
		assert.equal(1, assert(check({ longest .. ("x"):rep(4095 - #longest - 2) .. '"}\n' })).lines)
		refused("longer than", { longest .. ("x"):rep(4096 - #longest - 2) .. '"}\n' })
		for _, text in ipairs({
			"[]\n", "{}\n", "null\n", ("["):rep(4000) .. "\n", "\0\0\0\n", '{"seq":1}\n', "\n",
			('{"seq":1,"prev":"%s","time_ms":1e400,"event":"start"}\n'):format(("0"):rep(64)),
			('{"seq":01,"prev":"%s","time_ms":1,"event":"start"}\n'):format(("0"):rep(64)),
			('{"seq":99999999999999999999,"prev":"%s","time_ms":1,"event":"start"}\n'):format(("0"):rep(64)),
			('{"seq":1,"prev":"%s","time_ms":1,"event":"start","seq":2}\n'):format(("0"):rep(64)),
			('{"seq":1,"prev":"%s","time_ms":1,"event":"start","event":7}\n'):format(("0"):rep(64)),
			('{"seq":1,"prev":"%s","time_ms":-1,"event":"start"}\n'):format(("0"):rep(64)),
			('{"seq":1,"prev":"%s","time_ms":1,"event":"start","x":"\27[2J"}\n'):format(("0"):rep(64)),
			('{"seq":1,"prev":"%s","time_ms":1,"event":"start","x":"\0"}\n'):format(("0"):rep(64)),
		}) do
			refused("line 1: is no line of an audit log", { text })
		end
		assert.equal(0, assert(check({ "" })).lines)
	end)

	-- Whatever is done to a log: a line that a signature covers is a line that was written.
	it("never takes a changed line for a signed one", function()
		local log = two_runs()
		local text, written = log:text(), {}
		for _, raw in ipairs(log.lines) do written[raw] = true end
		math.randomseed(20261130)
		for _ = 1, 3000 do
			local changed = text
			for _ = 1, math.random(3) do
				local at, len = math.random(#changed), math.random(0, 200)
				local put = ({ "", changed:sub(len, len + math.random(300)), string.char(math.random(0, 255)), "\n",
					log.lines[math.random(#log.lines)] .. "\n" })[math.random(5)]
				changed = changed:sub(1, at - 1) .. put .. changed:sub(at + (math.random(2) == 1 and len or 0))
			end
			local result = check({ changed }, { wallets = { log.wallet }, max_unsigned = 0 })
			if result and not result.too_many and result.signatures > 0 then
				for raw in changed:gmatch("([^\n]*)\n") do
					assert.is_true(written[raw] or raw:find("^{") == nil or not require("kms.audit.reader").parse(raw), raw)
				end
			end
		end
	end)
end)
