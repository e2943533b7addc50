--- Members of a simulation that are not as this version's nodes are: one of an earlier implementation, and a liar. Both
-- are nodes of this version whose messages are changed on their way out.

local native = require("spec.support.crypto").native
local records = require("spec.simulate.records")

local M = {}

-- What existing nodes do not say (docs/protocol.md section 9.1), in canonical JSON.
local UNSAID = {
	'"features":%b[]', '"pop":"[^"]*"', '"store":"%x+"', '"time":%d+', '"complete":%a+', '"later":%d+', '"future":%d+',
}

local function without(text)
	for _, member in ipairs(UNSAID) do text = text:gsub(member .. ",", ""):gsub("," .. member, "") end
	return text
end

local function strip(value, ...)
	if type(value) ~= "string" then return value, ... end
	if select("#", ...) == 0 then return without(value) end
	return without(value), strip(...)
end

--- Makes a node speak as existing nodes do: deltas and whole snapshots, without features.
function M.make_existing(parts)
	function parts.peers.understands() return false end
	local writer = parts.writer
	for name, write in pairs(getmetatable(writer).__index) do
		writer[name] = function(...) return strip(write(...)) end
	end
end

-- Raises a number of the text, up to what receivers accept.
local function raise(text, form, random, now_ms)
	return (text:gsub(form, function(before, number)
		if random(4) > 0 then return nil end
		return before .. math.max(tonumber(number), now_ms + random(8000) - 4000)
	end))
end

local function lie(text, random, now_ms)
	text = raise(text, '("0x%x+":)(%d+)', random, now_ms)
	text = raise(text, '("updated_at_ms":)(%d+)', random, now_ms)
	return (text:gsub('("digest":")([%w+/]+)', function(before, digest)
		if random(3) > 0 then return nil end
		local at = 1 + random(#digest)
		return before .. digest:sub(1, at - 1) .. (digest:sub(at, at) == "A" and "B" or "A") .. digest:sub(at + 1)
	end))
end

--- Makes a node claim counters, stamps and digests that are not so.
-- @param lies { random (of spec.simulate.generator), ended (whether it has stopped) }
function M.make_liar(parts, lies)
	local function changed(body, ...)
		if lies.ended or not body then return body, ... end
		return native.text_body(lie(records.text_of(parts.tee, body), lies.random, parts.wall_ms())), ...
	end
	local call, reply = parts.exchange.call, parts.replies.reply
	function parts.exchange:call(peer, build, options)
		return call(self, peer, function(...) return changed(build(...)) end, options)
	end
	function parts.replies:reply(...) return changed(reply(self, ...)) end
end

return M
