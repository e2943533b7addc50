--- A strict reader of Prometheus' text format 0.0.4: what a lenient scraper would pass over is an error.

local http = require("spec.support.http")
local wait = require("spec.support.wait")

local M = {}

local function fail(number, line, why)
	error(("line %d: %s: %s"):format(number, why, line), 0)
end

local UNESCAPED = { ["\\\\"] = "\\", ["\\n"] = "\n", ['\\"'] = '"' }

-- Labels in braces as a table and as a text with sorted names.
local function read_labels(text, refuse)
	local labels, sorted, at = {}, {}, 1
	while at <= #text do
		local name, finish = text:match('^([%a_][%w_]*)="()', at)
		if not name then refuse("no label") end
		if labels[name] then refuse("label twice") end
		local parts = {}
		at = finish
		while true do
			local c = text:sub(at, at)
			if c == '"' then break end
			if c == "" then refuse("a label without end") end
			local two = text:sub(at, at + 1)
			if c == "\\" and not UNESCAPED[two] then refuse("an escape that there is not") end
			parts[#parts + 1] = c == "\\" and UNESCAPED[two] or c
			at = at + (c == "\\" and 2 or 1)
		end
		labels[name] = table.concat(parts)
		sorted[#sorted + 1] = ("%s=%q"):format(name, labels[name])
		at = at + 1
		if at <= #text then
			if text:sub(at, at) ~= "," then refuse("no comma between labels") end
			at = at + 1
		end
	end
	table.sort(sorted)
	return labels, table.concat(sorted, ",")
end

local NUMBERS = { ["+Inf"] = math.huge, ["-Inf"] = -math.huge }

local function read_sample(line, refuse)
	local name, rest = line:match("^([%a_:][%w_:]*)(.*)$")
	if not name then refuse("no sample") end
	local inside, value = rest:match("^{(.*)} (%S+)$")
	if not inside then inside, value = "", rest:match("^ (%S+)$") end
	local number = value and (NUMBERS[value] or value:find("^%-?%d") and tonumber(value))
	if not number then refuse("no value") end
	local labels, key = read_labels(inside, refuse)
	return { name = name, labels = labels, key = key, value = number }
end

local SUFFIXES = { histogram = { _bucket = true, _sum = true, _count = true } }

local function belongs(family, name)
	if family.kind ~= "histogram" then return name == family.name end
	return name:sub(1, #family.name) == family.name and SUFFIXES.histogram[name:sub(#family.name + 1)]
end

-- The buckets of each series grow to the count.
local function check_histogram(family)
	local by_series = {}
	for _, sample in ipairs(family.samples) do
		local key = sample.key:gsub('le="[^"]*"', ""):gsub("^,", "")
		by_series[key] = by_series[key] or { last = -math.huge, count = 0 }
		local series = by_series[key]
		if sample.name:find("_bucket$") then
			local le = NUMBERS[sample.labels.le] or tonumber(sample.labels.le)
			assert(le and le > series.last, "buckets out of order: " .. family.name)
			assert(sample.value >= series.count, "a bucket that holds less than the one before: " .. family.name)
			series.last, series.count = le, sample.value
		elseif sample.name:find("_count$") then
			assert(series.last == math.huge and sample.value == series.count, "count and buckets differ: " .. family.name)
			series.counted = true
		else
			series.summed = true
		end
	end
	for _, series in pairs(by_series) do assert(series.counted and series.summed, "no sum or count: " .. family.name) end
end

local function check(family)
	if family.kind == "histogram" then return check_histogram(family) end
	for _, sample in ipairs(family.samples) do
		if family.kind == "counter" then
			assert(family.name:find("_total$"), "a counter without _total: " .. family.name)
			assert(sample.value >= 0, "a negative counter: " .. family.name)
		end
	end
end

--- Reads a page.
-- @return families by name: { name, kind, help, samples (list of { name, labels, key, value }) };
--   throws for what is not valid
function M.parse(text)
	assert(text == "" or text:sub(-1) == "\n", "the last line has no end")
	local families, current, seen, number = {}, nil, {}, 0
	for line in text:gmatch("([^\n]*)\n") do
		number = number + 1
		local function refuse(why) fail(number, line, why) end
		local word, name, rest = line:match("^# (%u+) ([%a_:][%w_:]*) (.*)$")
		if word == "HELP" then
			if families[name] then refuse("a family twice") end
			if rest:gsub("\\[\\n]", ""):find("\\", 1, true) then refuse("an escape in a help") end
			current = { name = name, help = rest, samples = {} }
			families[name] = current
		elseif word == "TYPE" then
			if not current or current.name ~= name or current.kind then refuse("TYPE without its HELP") end
			if rest ~= "counter" and rest ~= "gauge" and rest ~= "histogram" then refuse("no type") end
			current.kind = rest
		else
			local sample = read_sample(line, refuse)
			if not current or not current.kind or not belongs(current, sample.name) then refuse("of no family") end
			local key = sample.name .. "{" .. sample.key
			if seen[key] then refuse("a series twice") end
			seen[key] = true
			current.samples[#current.samples + 1] = sample
		end
	end
	for _, family in pairs(families) do check(family) end
	return families
end

--- Value of a series; nil where there is none.
-- @param labels those that have to agree, or nil
function M.value(families, name, labels)
	local family = families[name] or families[name:gsub("_%a+$", "")]
	for _, sample in ipairs(family and family.samples or {}) do
		local same = sample.name == name
		for label, value in pairs(labels or {}) do same = same and sample.labels[label] == value end
		if same then return sample.value end
	end
	return nil
end

--- Asks a port and reads the page. Texts are kept by the node for a moment, so this waits for it.
-- @return families, the page
function M.scrape(port)
	wait.sleep(110)
	local response = assert(http.get(port, "/metrics"))
	assert(response.status == 200, response.body)
	assert(response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8")
	return M.parse(response.body), response.body
end

return M
