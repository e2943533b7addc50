--- The log: one line per event, as text or JSON. A line never holds a body or a secret. Names of keys,
-- paths and contexts go through :name(), which replaces them by a keyed hash unless the operator
-- allows names. Logging never throws and never writes more than one bounded line.

local uv = require("luv")
local log_format = require("kms.base.log_format")

local M = {}

--- The levels, for messages.
M.LEVELS = "error, warn, info, debug"

local RANKS = { error = 1, warn = 2, info = 3, debug = 4 }
-- Other names of levels: existing deployments use those of Python's logging.
local ALIASES = { critical = "error", fatal = "error", warning = "warn", trace = "debug" }
local MAX_LIMITED = 256 -- keys that :limited tracks
local OTHER = {} -- key of the entry that all further keys share

local Log = {}
Log.__index = Log

local NO_FIELDS = {}

local function timestamp(shared)
	local ms = shared.clock()
	local second = ms // 1000
	if second ~= shared.second then
		shared.second, shared.second_text = second, os.date("!%Y-%m-%dT%H:%M:%S", second)
	end
	return ("%s.%03dZ"):format(shared.second_text, ms % 1000)
end

--- Writes one event.
-- @param level   "error", "warn", "info" or "debug"
-- @param event   short constant text: what happened
-- @param fields  table of name -> string, number or boolean, or nil
function Log:log(level, event, fields)
	local rank = RANKS[level] or error("unknown log level", 2)
	if rank > self.shared.rank then return end
	local shared = self.shared
	shared.write(log_format.line(shared.format, timestamp(shared), level, event, self.fields, fields or NO_FIELDS))
end

function Log:error(event, fields) self:log("error", event, fields) end
function Log:warn(event, fields) self:log("warn", event, fields) end
function Log:info(event, fields) self:log("info", event, fields) end
function Log:debug(event, fields) self:log("debug", event, fields) end

--- Whether events of a level are written, for callers whose fields are costly to make.
function Log:enabled(level)
	return RANKS[level] <= self.shared.rank
end

--- The level in force: the least serious one that is written.
function Log:level()
	for name, rank in pairs(RANKS) do
		if rank == self.shared.rank then return name end
	end
end

--- The level that a text names, in any case: "TRACE" is "debug".
-- @return level | nil, message: there is no such level
function M.level_of(text)
	local name = text:lower()
	name = ALIASES[name] or name
	if RANKS[name] then return name end
	return nil, "allowed is one of " .. M.LEVELS
end

--- Changes the level of this logger, its parents and its children.
-- @param text as M.level_of takes it
-- @return level in force | nil, message: there is no such level
function Log:set_level(text)
	local level, message = M.level_of(text)
	if not level then return nil, message end
	self.shared.rank = RANKS[level]
	return level
end

--- The format of its lines: "text" or "json".
function Log:format()
	return self.shared.format
end

--- A logger that adds fields to each event and shares everything else. (The field `request` holds a
-- request's id.)
function Log:child(fields)
	local own = {}
	for name, value in pairs(self.fields) do own[name] = value end
	for name, value in pairs(fields) do own[name] = value end
	return setmetatable({ shared = self.shared, fields = own }, Log)
end

--- The loggable form of a confidential name: its keyed hash, or the name itself where the operator
-- allows names. Nil stays nil.
function Log:name(name)
	if name == nil or self.shared.names then return name end
	return self.shared.hash(name) or "hidden"
end

-- Removes expired entries. Events that they suppressed are reported with the shared entry.
local function sweep(limited, now)
	for key, entry in pairs(limited.entries) do
		if now >= entry.until_ms or now < entry.since_ms then
			limited.entries[key] = nil
			limited.count = limited.count - 1
			limited.lost = limited.lost + entry.swallowed
		end
	end
end

-- Finds the entry of a key. Returns entry (nil: there is none yet), the key that it is stored under.
local function find_entry(limited, key, now)
	local entry = limited.entries[key]
	if entry then return entry, key end
	-- At most once a second, so that a flood of new keys does not cost a sweep each.
	if limited.count >= MAX_LIMITED and math.abs(now - limited.swept_ms) >= 1000 then
		limited.swept_ms = now
		sweep(limited, now)
	end
	if limited.count >= MAX_LIMITED then return limited.entries[OTHER], OTHER end
	return nil, key
end

--- Writes an event unless one with the same key was written less than `per_seconds` ago. The next event
-- that is written has a field `suppressed`, the number of those that were not.
-- @param key  text; at most 256 keys are tracked, further ones share one entry
-- @return whether the event was written
function Log:limited(key, per_seconds, level, event, fields)
	if not self:enabled(level) then return false end
	local limited, now = self.shared.limited, self.shared.clock()
	local entry, slot = find_entry(limited, key, now)
	if entry and now < entry.until_ms and now >= entry.since_ms then
		entry.swallowed = entry.swallowed + 1
		return false
	end
	local suppressed = entry and entry.swallowed or 0
	if slot == OTHER then suppressed, limited.lost = suppressed + limited.lost, 0 end
	if not entry and slot ~= OTHER then limited.count = limited.count + 1 end
	limited.entries[slot] = { since_ms = now, until_ms = now + per_seconds * 1000, swallowed = 0 }
	local log = suppressed > 0 and self:child({ suppressed = suppressed }) or self
	log:log(level, event, fields)
	return true
end

local function write_stderr(line)
	io.stderr:write(line)
end

--- Makes a logger.
-- @param options  clock: function() -> Unix ms; level: "info" by default; format: "text", "json" or "auto"
--   (default; text when stderr is a terminal); write: function(line with line feed), to stderr by
--   default; names: whether names are logged as they are; hash: function(text) -> hex, required unless
--   names is true
function M.new(options)
	if not options.names and not options.hash then error("hash is required unless names is set", 2) end
	if type(options.clock) ~= "function" then error("clock is required", 2) end
	local format = options.format or "auto"
	if format == "auto" then format = uv.guess_handle(2) == "tty" and "text" or "json" end
	local shared = {
		rank = RANKS[options.level or "info"] or error("unknown log level", 2),
		format = log_format.exists(format) and format or error("unknown log format", 2),
		write = options.write or write_stderr,
		clock = options.clock,
		names = options.names or false,
		hash = options.hash,
		limited = { entries = {}, count = 0, lost = 0, swept_ms = 0 },
	}
	return setmetatable({ shared = shared, fields = {} }, Log)
end

return M
