--- Families of metrics as lines of Prometheus' text format.

local M = {}

--- The Content-Type of this text.
M.CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

--- Whether a text may be the name of a metric.
function M.is_name(name)
	return name:find("^[%a_:][%w_:]*$") ~= nil
end

--- Whether a text may be the name of a label: names that begin with two underscores are reserved.
function M.is_label(name)
	return name:find("^[%a_][%w_]*$") ~= nil and name:sub(1, 2) ~= "__"
end

local ESCAPES = { ["\\"] = "\\\\", ["\n"] = "\\n", ['"'] = '\\"' }

local function number(value)
	if math.type(value) == "integer" then return ("%d"):format(value) end
	if value ~= value then return "NaN" end
	if value == math.huge then return "+Inf" end
	if value == -math.huge then return "-Inf" end
	return ("%.15g"):format(value)
end

-- Names and values in braces; empty without labels.
local function braces(labels, values, more)
	local parts = {}
	for i, label in ipairs(labels) do
		parts[i] = ('%s="%s"'):format(label.name, values[i]:gsub('[\\\n"]', ESCAPES))
	end
	parts[#parts + 1] = more
	return #parts > 0 and "{" .. table.concat(parts, ",") .. "}" or ""
end

local function histogram(out, family, series)
	local through = 0
	for i, count in ipairs(series.buckets) do
		through = through + count
		local le = ('le="%s"'):format(number(series.bounds[i] or math.huge))
		out[#out + 1] = ("%s_bucket%s %d\n"):format(family.name, braces(family.labels, series.labels, le), through)
	end
	local around = braces(family.labels, series.labels)
	out[#out + 1] = ("%s_sum%s %s\n"):format(family.name, around, number(series.sum))
	out[#out + 1] = ("%s_count%s %d\n"):format(family.name, around, series.count)
end

--- Appends a family to a list of texts.
-- @param family kind, name, help, labels (list of { name })
-- @param list of series: labels (list of texts), and value, or buckets, bounds, sum and count
function M.family(out, family, list)
	local help = family.help:gsub("[\\\n]", ESCAPES)
	out[#out + 1] = ("# HELP %s %s\n# TYPE %s %s\n"):format(family.name, help, family.name, family.kind)
	for _, series in ipairs(list) do
		if series.buckets then
			histogram(out, family, series)
		else
			out[#out + 1] = ("%s%s %s\n"):format(
				family.name, braces(family.labels, series.labels), number(series.value))
		end
	end
end

return M
