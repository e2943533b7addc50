--- Custodians as they are in life: keys of Debian's age, which opens and writes their files.

local cjson = require("cjson")
local crypto = require("spec.support.crypto")
local files = require("spec.support.files")
local http = require("spec.support.http")
local native = require("spec.support.native")

local M = {}

-- Runs a command; throws when it fails. Returns what it printed.
local function run(command, ...)
	local pipe = assert(io.popen(command:format(...), "r"))
	local text = pipe:read("a")
	if not pipe:close() then error("failed: " .. command:format(...), 3) end
	return text
end

--- Makes custodians.
-- @param dir  folder of their keys; @param names  list
-- @return list of { name, key ("age1..."), dir, path (of the file with the private key) }
function M.make(dir, names)
	local list = {}
	for i, name in ipairs(names) do
		local path = ("%s/%s.txt"):format(dir, name)
		run("age-keygen -o %s 2>/dev/null", path)
		list[i] = { name = name, dir = dir, path = path, key = run("age-keygen -y %s", path):match("age1%w+") }
	end
	return list
end

--- The text of a file for RECOVERY.
-- @param earlier  list of { custodians, threshold }, or nil
function M.file(custodians, threshold, earlier)
	local function set(list, least)
		local lines = {}
		for i, custodian in ipairs(list) do
			lines[i] = ("{ name = %q, key = %q }"):format(custodian.name, custodian.key)
		end
		return ("threshold = %d, custodians = { %s }"):format(least, table.concat(lines, ", "))
	end
	local older = {}
	for i, entry in ipairs(earlier or {}) do older[i] = "{ " .. set(entry.custodians, entry.threshold) .. " }" end
	return ("return { %s, earlier = { %s } }"):format(set(custodians, threshold), table.concat(older, ", "))
end

--- Opens an age file with a custodian's key, as `age -d` does.
-- @return bytes
function M.open(custodian, file)
	local path = custodian.path .. ".age"
	files.write(path, file)
	return run("age -d -i %s %s 2>/dev/null", custodian.path, path)
end

--- Writes an age file with `age -a`.
-- @param dir  a folder for the plaintext; @param recipients  list of "age1..."
function M.seal(dir, recipients, plain)
	files.write(dir .. "/plain", plain)
	return run("age -a -r %s %s", table.concat(recipients, " -r "), dir .. "/plain")
end

--- The recovery key in a node's attestation document, or nil.
function M.recovery_key(node)
	local facts = native.attest_read(assert(http.get(node.port, "/attestation?nonce=00")).body)
	return native.attest_statement(facts.user_data).recovery_key
end

--- A custodian's challenge: c | nil, the node's reply.
-- @param query  more of the query, or nil
function M.challenge(node, custodian, x, query)
	local response = assert(http.get(node.port, ("/recovery/challenge?x=%d%s"):format(x, query or "")))
	if response.status ~= 200 then return nil, response end
	local plain = M.open(custodian, response.body)
	assert(plain:sub(1, 4) == "NKRC" and plain:sub(5, 24) == crypto.unhex(node.wallet:sub(3)) and plain:byte(25) == x)
	return plain:sub(26)
end

--- Posts a body with a proof made of c.
-- @return reply; its `result` is the decoded body
function M.post(node, x, c, body)
	local response = assert(http.request(node.port, { method = "POST", target = "/recovery/share", body = body,
		headers = { { "X-KMS-Recovery", ("%d:%s"):format(x, crypto.hmac(c, native.sha256(body))) } } }))
	response.result = cjson.decode(response.body)
	return response
end

--- Gives a share (83 bytes, or what a test makes of them) to a waiting node, with age alone.
-- @param options  query (of the challenge), or nil
function M.give(node, custodian, x, share, options)
	local c, refused = M.challenge(node, custodian, x, options and options.query)
	if not c then
		refused.result = cjson.decode(refused.body)
		return refused
	end
	return M.post(node, x, c, M.seal(custodian.dir, { M.recovery_key(node) }, share))
end

return M
