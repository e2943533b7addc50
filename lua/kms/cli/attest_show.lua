--- Prints attestation documents and the results of their checks, as text and JSON.

local json = require("kms.base.json")
local native = require("kms_native")
local text = require("kms.base.text")

local M = {}

local PCR_NAMES = {
	[0] = "image", [1] = "kernel", [2] = "application", [3] = "IAM role", [4] = "instance id", [8] = "signing certificate",
}

-- The checks in order: failure name, text where it passed, and for optional checks a function that returns why
-- the check was not required, or nil.
local CHECKS = {
	{ "shape", "well formed" },
	{ "root", "the first certificate is a pinned root" },
	{ "chain", "each certificate is signed by the one before it" },
	{ "constraints", "each certificate allows what it is used for" },
	{ "expired", "each certificate is valid at that time", also = "not_yet_valid" },
	{ "signature", "signed by the last certificate's key" },
	{ "digest", "SHA384, and PCRs of its length" },
	{ "debug", "PCR0 is not all zero", waived = function(options) return options.allow_debug and "zeros are allowed" end },
	{ "nonce", "as expected", waived = function(options) return not options.nonce and "no nonce was given" end },
	{ "stale", "not too old", waived = function(options) return not options.max_age_ms and "any age is allowed" end },
	{ "future", "not dated in the future" },
	{ "pcr", "equal to an entry of the allow list",
		waived = function(options) return not options.images and "no allow list was given" end },
	{ "public_key", "as expected", waived = function(options) return not options.public_key and "no key was given" end },
}

local function hex(bytes)
	return bytes and native.hex_encode(bytes) or nil
end

-- Unix milliseconds as "2025-10-16T02:54:42.550Z".
local function time(ms)
	return os.date("!%Y-%m-%dT%H:%M:%S", ms // 1000) .. (".%03dZ"):format(ms % 1000)
end

local function second(s)
	return os.date("!%Y-%m-%dT%H:%M:%SZ", s)
end

-- Bytes as text where they are one printable line, otherwise in hexadecimal.
local function readable(bytes)
	if not bytes then return "null" end
	if bytes == "" then return "empty" end
	if utf8.len(bytes) and not bytes:find("%c") then return text.printable(bytes) end
	return hex(bytes)
end

--- The result of each check.
-- @param verdict  options; failure (name; nil when trusted), message
-- @return list of { name, state ("passed", "failed", "not asked", "not reached": an earlier one failed), text }
function M.checks(verdict)
	local list, over = {}, false
	for i, check in ipairs(CHECKS) do
		local name = check[1]
		local entry = { name = name, state = "passed", text = check[2] }
		local waived = check.waived and check.waived(verdict.options)
		if over then
			entry.state, entry.text = "not reached", nil
		elseif verdict.failure == name or verdict.failure ~= nil and verdict.failure == check.also then
			entry.name, entry.state, entry.text, over = verdict.failure, "failed", verdict.message, true
		elseif waived then
			entry.state, entry.text = "not asked", waived
		end
		list[i] = entry
	end
	return list
end

local function chain_json(facts)
	local chain = json.list({})
	for i, certificate in ipairs(facts.chain) do
		chain[i] = {
			subject = certificate.subject and text.printable(certificate.subject), sha256 = hex(certificate.sha256),
			not_before = certificate.not_before_s and second(certificate.not_before_s),
			not_after = certificate.not_after_s and second(certificate.not_after_s), readable = certificate.sha256 ~= nil,
		}
	end
	return chain
end

local function facts_json(facts)
	local pcrs = {}
	for index, value in pairs(facts.pcrs) do pcrs[tostring(index)] = hex(value) end
	return {
		module_id = facts.module_id, digest = facts.digest, timestamp_ms = facts.timestamp_ms,
		timestamp = time(facts.timestamp_ms), pcrs = pcrs, public_key = hex(facts.public_key), nonce = hex(facts.nonce),
		user_data = hex(facts.user_data), chain = chain_json(facts), chain_len = facts.chain_len,
		simulated = facts.module_id == "simulated",
	}
end

--- The output of --json: { trusted, failure, message, checks, verified_at, document (nil where it is not one) }.
function M.json(verdict)
	return {
		trusted = verdict.trusted, failure = verdict.failure, message = verdict.message, checks = M.checks(verdict),
		verified_at = time(verdict.options.now_ms), document = verdict.facts and facts_json(verdict.facts),
	}
end

--- The line for a trusted document.
function M.summary(verdict)
	return ("verified: %s, made %s"):format(text.printable(verdict.facts.module_id), time(verdict.facts.timestamp_ms))
end

local function print_pcrs(line, facts)
	local zeros = {}
	for index = 0, 31 do
		local value = facts.pcrs[index]
		if value and not value:find("[^\0]") then
			zeros[#zeros + 1] = tostring(index)
		elseif value then
			local name = PCR_NAMES[index]
			line(("PCR%-9d %s%s"):format(index, hex(value), name and " (" .. name .. ")" or ""))
		end
	end
	if #zeros > 0 then line("PCR zero     " .. table.concat(zeros, " ")) end
end

local function print_chain(line, facts)
	line(("chain        %s, root first"):format(text.count(facts.chain_len, "certificate")))
	for i, certificate in ipairs(facts.chain) do
		if certificate.sha256 then
			line(("  %d %s"):format(i, text.printable(certificate.subject)))
			line(("    valid    %s to %s"):format(second(certificate.not_before_s), second(certificate.not_after_s)))
			line("    SHA-256  " .. hex(certificate.sha256))
		else
			line(("  %d cannot be read"):format(i))
		end
	end
end

local function print_checks(line, verdict)
	line("checked at   " .. time(verdict.options.now_ms))
	for _, check in ipairs(M.checks(verdict)) do
		line(("  %-13s %s"):format(check.name, check.state) .. (check.text and ": " .. check.text or ""))
	end
	line(verdict.trusted and "TRUSTED" or ("NOT TRUSTED: %s"):format(verdict.message))
end

--- Prints a document and the results of its checks.
-- @param line  function(text) that prints a line
function M.print(line, verdict)
	local facts = verdict.facts
	line("module       " .. text.printable(facts.module_id)
		.. (facts.module_id == "simulated" and " (made by software, proves nothing about hardware)" or ""))
	line("made         " .. time(facts.timestamp_ms))
	line("digest       " .. text.printable(facts.digest))
	print_pcrs(line, facts)
	line("public_key   " .. (hex(facts.public_key) or "null"))
	line("user_data    " .. readable(facts.user_data))
	line("nonce        " .. (facts.nonce and (facts.nonce == "" and "empty" or hex(facts.nonce)) or "null"))
	print_chain(line, facts)
	print_checks(line, verdict)
end

return M
