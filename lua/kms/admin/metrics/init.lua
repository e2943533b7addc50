--- Counters, gauges and histograms with bounded labels, and their text for Prometheus
-- (exposition format 0.0.4).
--
-- The values of a label are a closed set, or bounded in number: any other value counts as "other". Code that
-- serves requests holds its series and adds to them; the text is made when it is read.

local metrics_text = require("kms.admin.metrics.text")

local M = {}

local OTHER = "other"
local HUGE = math.huge

-- ---- series ----------------------------------------------------------------------------------

local Number = {}
Number.__index = Number

--- Adds to a counter or gauge.
-- @param count nil: 1
function Number:add(count)
	self.value = self.value + (count or 1)
end

local Histogram = {}
Histogram.__index = Histogram

--- Adds a measurement. Its bucket is looked for from the one before, which is near: from the first one, an operation
-- of a large message would take a fifth of its decisions for this.
function Histogram:observe(value)
	local bounds, at = self.bounds, self.at
	while value > (bounds[at] or HUGE) do at = at + 1 end
	while at > 1 and value <= bounds[at - 1] do at = at - 1 end
	self.at = at
	self.buckets[at] = self.buckets[at] + 1
	self.sum, self.count = self.sum + value, self.count + 1
end

local function new_histogram(bounds)
	local buckets = {}
	for i = 1, #bounds + 1 do buckets[i] = 0 end
	return setmetatable({ bounds = bounds, buckets = buckets, at = 1, sum = 0, count = 0 }, Histogram)
end

-- ---- families --------------------------------------------------------------------------------

local Family = {}
Family.__index = Family

-- A label's value, or "other" when the label's values are used up.
local function bounded(label, value)
	value = tostring(value)
	if label.known[value] then return value end
	if label.left == 0 then return OTHER end
	label.left, label.known[value] = label.left - 1, true
	return value
end

--- The series of some label values; the same values give the same series.
function Family:with(...)
	local values, key = {}, {}
	for i, label in ipairs(self.labels) do
		values[i] = bounded(label, (select(i, ...)))
		key[i] = ("%d:%s"):format(#values[i], values[i])
	end
	key = table.concat(key)
	local series = self.by_key[key]
	if series then return series end
	series = self.bounds and new_histogram(self.bounds) or setmetatable({ value = 0 }, Number)
	series.labels = values
	self.by_key[key], self.list[#self.list + 1] = series, series
	return series
end

--- All series; a family with a reader reads its values now.
function Family:series()
	if self.reader then
		self.by_key, self.list = {}, {}
		self.reader(function(value, ...) self:with(...):add(value) end)
	end
	return self.list
end

local function label_of(declared)
	local label = { name = declared[1], known = {}, left = 0 }
	if type(declared[2]) == "number" then
		label.left = declared[2]
	else
		for _, value in ipairs(declared[2]) do label.known[value] = true end
	end
	return label
end

-- ---- set -------------------------------------------------------------------------------------

local Set = {}
Set.__index = Set

local function add_family(self, kind, name, help, labels, more)
	if not metrics_text.is_name(name) or self.by_name[name] then error("not a name, or given twice: " .. name, 3) end
	local family = { kind = kind, name = name, help = help, labels = {}, by_key = {}, list = {} }
	for i, declared in ipairs(labels or {}) do family.labels[i] = label_of(declared) end
	for key, value in pairs(more or {}) do family[key] = value end
	self.by_name[name], self.families[#self.families + 1] = family, family
	return setmetatable(family, Family)
end

--- A counter.
-- @param labels list of { name, list of its values, or how many values are told apart }, or nil
-- @return family
function Set:counter(name, help, labels)
	return add_family(self, "counter", name, help, labels)
end

--- A histogram.
-- @param bounds upper bounds of its buckets, ascending; a last one without a bound is added
-- @return family
function Set:histogram(name, help, bounds, labels)
	return add_family(self, "histogram", name, help, labels, { bounds = bounds })
end

--- A counter or gauge whose values are read when the text is made.
-- @param kind "counter" or "gauge"
-- @param reader function(put): calls put(value, label values...) any number of times; values with the same labels
--   add up
function Set:read(kind, name, help, labels, reader)
	return add_family(self, kind, name, help, labels, { reader = reader })
end

--- A family that was declared, by its name.
function Set:family(name)
	return self.by_name[name]
end

--- Families that are not known in advance.
-- @param fn function() -> list of { kind, name, help, labels (list of { name }), series (list of { value, labels
--   (values) }) }, appended to the text
function Set:read_families(fn)
	self.dynamic[#self.dynamic + 1] = fn
end

--- Everything as text. A family whose reader throws is left out and counted.
-- @param try function(fn, ...) -> ok, results; reports errors (kms.base.loop)
function Set:text(try)
	local out = {}
	for _, family in ipairs(self.families) do
		local ok, series = try(family.series, family)
		if ok then metrics_text.family(out, family, series) else self.broken = self.broken + 1 end
	end
	for _, fn in ipairs(self.dynamic) do
		local ok, list = try(fn)
		if not ok then self.broken = self.broken + 1 end
		for _, family in ipairs(ok and list or {}) do
			if not self.by_name[family.name] then metrics_text.family(out, family, family.series) end
		end
	end
	return table.concat(out)
end

--- @return an empty set
function M.new()
	return setmetatable({ families = {}, by_name = {}, dynamic = {}, broken = 0 }, Set)
end

return M
