--- `nova-kms recovery`: what custodians of the master secret do.

local uv = require("luv")
local age = require("kms.cli.recovery_age")
local args = require("kms.cli.args")
local call = require("kms.cli.recovery_call")
local exit = require("kms.cli.exit")
local files = require("kms.base.files")
local give = require("kms.cli.recovery_give")
local json = require("kms.base.json")
local session = require("kms.cli.session")
local text = require("kms.base.text")
local verify = require("kms.cli.recovery_verify")

local NONCE_BYTES = 16
local MAX_BYTES = 1 << 20
local STDIN = 0

local shown, table_of = session.shown, session.table_of

-- Makes a call to the node whose response is a JSON object. Returns response with `value` | nil, message, code.
local function ask(world, parsed, path, more)
	more = more or {}
	more.max_bytes = MAX_BYTES
	local response, message, code = call.request(world, parsed, path, more)
	if not response then return nil, message, code end
	if type(response.value) == "table" then return response end
	return nil, "the node's reply is not a JSON object", "ERR_JSON"
end

-- Runs fn(native) in a coroutine; fn returns an exit code | nil, message, code.
local function run(parsed, world, fn)
	local native, failed = session.native(world, session.SMALL)
	if not native then return failed end
	if not parsed.url then return session.fail(world, "--url is missing", "ERR_USAGE") end
	return session.wait(function()
		local done, message, code = fn(native)
		return done or session.fail(world, message, code)
	end)
end

-- ---- shares ------------------------------------------------------------------------------------------

-- Writes the files. Returns how many | nil, message, code.
local function write_shares(folder, page)
	local ok, message = files.make_dir(folder)
	if not ok then return nil, message, "ERR_USAGE" end
	for _, share in ipairs(page.shares) do
		local name = table_of(share).name
		if type(name) ~= "string" or not name:find("^%l[%l%d_.-]*$") or type(share.file) ~= "string" then
			return nil, "the node's reply is malformed", "ERR_UNVERIFIED"
		end
		ok, message = files.replace(("%s/%s.age"):format(folder, name), share.file)
		if not ok then return nil, message, "ERR_USAGE" end
	end
	return #page.shares
end

local function shares(parsed, world)
	if not parsed.out or not parsed.pcr then return session.fail(world, "--out and --pcr are needed", "ERR_USAGE") end
	return run(parsed, world, function(native)
		local node, message, code = verify.node(native, world, parsed)
		if not node then return nil, message, code end
		local nonce = native.hex_encode(uv.random(NONCE_BYTES))
		local response, ok, count
		response, message, code = ask(world, parsed, "/recovery/shares?nonce=" .. nonce)
		if not response then return nil, message, code end
		ok, message, code = verify.signed(native, response, "shares", nonce, node)
		if not ok then return nil, message, code end
		count, message, code = write_shares(parsed.out, response.value)
		if not count then return nil, message, code end
		session.print(world, ("wrote %s to %s: give each custodian its own, and keep copies in several places"):format(
			text.count(count, "file"), parsed.out))
		session.print(world, ("set %s, any %s of %d restore the secret"):format(shown(response.value.set),
			shown(response.value.threshold), count))
		return exit.OK
	end)
end

-- ---- check -------------------------------------------------------------------------------------------

local function rehearse(native, parsed, world)
	local share, message, code
	if parsed.identity and parsed.share then
		share, message, code = age.share(native, age.key(parsed), parsed.share)
	else
		share, message, code = native.recovery_read_share(STDIN)
	end
	if not share then return nil, message, code end
	local node, response, ok
	node, message, code = verify.node(native, world, parsed)
	if not node then return nil, message, code end
	local head = share:head()
	if not node.recovery or node.recovery:sub(1, #head.set) ~= head.set then
		return nil, "the share is of another set of custodians than the node's", "ERR_UNVERIFIED"
	end
	response, message, code = ask(world, parsed, "/nonce")
	if not response then return nil, message, code end
	local nonce = tostring(response.value.nonce)
	local proof
	proof, message, code = share:proof(nonce .. node.wallet)
	if not proof then return nil, message, code end
	response, message, code = ask(world, parsed, "/recovery/check", {
		method = "POST", headers = { ["Content-Type"] = "application/json" },
		body = json.encode({ nonce = nonce, proof = proof, set = node.recovery, x = head.x }),
	})
	if not response then return nil, message, code end
	ok, message, code = verify.signed(native, response, "check", nonce, node)
	if not ok then return nil, message, code end
	session.print(world, ("the share of %s is good: the node noted it (set %s, custodian %d of %d)"):format(
		shown(response.value.name), head.set, head.x, head.count))
	return exit.OK
end

local function check(parsed, world)
	if not parsed.pcr then return session.fail(world, "--pcr is needed", "ERR_USAGE") end
	if (parsed.identity ~= nil) ~= (parsed.share ~= nil) then
		return session.fail(world, "give both --identity and --share, or the open share on standard input", "ERR_USAGE")
	end
	return run(parsed, world, function(native) return rehearse(native, parsed, world) end)
end

-- ---- show --------------------------------------------------------------------------------------------

local function age_of(ms, now_ms)
	if type(ms) ~= "number" then return "never" end
	return text.count((now_ms - ms) // 86400000, "day") .. " ago"
end

local function show(parsed, world)
	return run(parsed, world, function(native)
		local response, message, code = ask(world, parsed, "/recovery")
		if not response then return nil, message, code end
		local page = response.value
		if parsed.json then
			session.print_json(world, json.encode(page))
			return exit.OK
		end
		session.print(world, ("set        %s"):format(shown(page.set)))
		session.print(world, ("threshold  %s of %d"):format(shown(page.threshold), #table_of(page.custodians)))
		session.print(world, ("secret     %s"):format(shown(page.secret_hash)))
		for _, custodian in ipairs(table_of(page.custodians)) do
			session.print(world, ("%9s  %s, rehearsed %s"):format(shown(custodian.x), shown(custodian.name),
				age_of(custodian.checked_at_ms, native.wall_ms())))
		end
		local waiting = table_of(page.waiting)
		if waiting.need then
			local names = {}
			for i, name in ipairs(table_of(waiting.given)) do names[i] = shown(name) end
			local who = waiting.problem and shown(waiting.problem) or table.concat(names, ", ")
			session.print(world, ("waiting    has %s of %s shares%s%s"):format(shown(waiting.have), shown(waiting.need),
				who == "" and "" or ": ", who))
		end
		return exit.OK
	end)
end

local URL = { name = "url", value = "URL", type = "base_url", help = "the node, as https://node.example.org" }
local PCR = { name = "pcr", value = "FILE", help = "allow list of images that may run there, from the operator" }
local SIMULATED = { name = "allow-simulated", help = "accept a node without an enclave: for tests only" }
local IDENTITY = {
	name = "identity", short = "i", value = "FILE", help = "your private key, the file that age-keygen made",
}
local SHARE = { name = "share", value = "FILE", help = "your share, a file such as alice.age" }

return {
	name = "recovery",
	summary = "custodians: fetch shares, rehearse, give a share to a cluster that lost its secret",
	commands = {
		{
			name = "show", summary = "show the custodians, when each last rehearsed, and whether the node waits for them",
			options = { URL, session.TIMEOUT, args.JSON }, run = show,
		},
		{
			name = "shares", summary = "fetch the custodians' shares, one encrypted file each",
			options = {
				URL, { name = "out", value = "FOLDER", help = "where to write NAME.age for each custodian" }, PCR, SIMULATED,
				session.TIMEOUT,
			},
			notes = "The files are encrypted to the custodians' keys: anybody may see them. Fetch them again after a change of\n"
				.. "the custodians' file; the shares do not change otherwise.",
			run = shares,
		},
		{
			name = "check", summary = "rehearse: prove to a running node that you can still open your share",
			options = { URL, PCR, IDENTITY, SHARE, SIMULATED, age.TIMEOUT, session.TIMEOUT },
			notes = "Nothing of the share leaves this machine; the node notes the time, nothing else changes. Every quarter:\n"
				.. "  nova-kms recovery check --url https://node --pcr allowed.lua -i key.txt --share alice.age\n"
				.. "Or, where the key is on another machine:  age -d -i key.txt alice.age | nova-kms recovery check ...",
			run = check,
		},
		give.command({ url = URL, pcr = PCR, identity = IDENTITY, share = SHARE, simulated = SIMULATED }),
	},
}
