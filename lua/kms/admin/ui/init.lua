--- The status page: GET /ui on METRICS_ADDR. It reads and never changes anything, comes from this process alone, and
-- asks for nothing outside. Values come by server-sent events (HTML Living Standard, section 9.2): each answer holds
-- one event and ends, and the browser asks again after `retry`, so that no connection stays open.

local json = require("kms.base.json")
local needs = require("kms.base.needs")

local M = {}

local Ui = {}
Ui.__index = Ui

local RETRY_MS = 2000
local FRESH_MS = 500 -- how long values are reused, so that many readers cost little
local POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
	.. "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
local TYPES = {
	html = "text/html; charset=utf-8", css = "text/css; charset=utf-8", js = "text/javascript; charset=utf-8",
	svg = "image/svg+xml",
}
local FILES = { ["/ui"] = "page.html", ["/ui/style.css"] = "style.css", ["/ui/app.js"] = "app.js",
	["/ui/charts.js"] = "charts.js", ["/ui/icon.svg"] = "icon.svg" }

local function headers(kind)
	return {
		["Content-Type"] = kind, ["Content-Security-Policy"] = POLICY,
		["Referrer-Policy"] = "no-referrer", ["Cross-Origin-Resource-Policy"] = "same-origin",
	}
end

-- The files beside this one, read once: a running node shows the page of its own version, whatever is installed later.
local function read_files()
	local folder = assert(package.searchpath("kms.admin.ui", package.path)):match("^(.*/)")
	local replies = {}
	for path, name in pairs(FILES) do
		local file <close> = assert(io.open(folder .. name, "rb"))
		replies[path] = { status = 200, headers = headers(TYPES[name:match("%w+$")]), body = file:read("a") }
	end
	return replies
end

local function event(self)
	local now = self.mono_ms()
	if not self.text or now - self.made_ms >= FRESH_MS then
		self.made_ms = now
		self.text = ("retry: %d\ndata: %s\n\n"):format(RETRY_MS, json.encode(self.facts:read()))
	end
	return { status = 200, headers = headers("text/event-stream"), body = self.text }
end

--- The routes, for kms.admin.metrics.server: list of { name, method, path, handler() -> reply }.
function Ui:routes()
	local list = { { name = "ui", method = "GET", path = "/ui/events", handler = function() return event(self) end } }
	for path, reply in pairs(self.replies) do
		list[#list + 1] = { name = "ui", method = "GET", path = path, handler = function() return reply end }
	end
	return list
end

--- @param deps facts (kms.admin.ui.facts), mono_ms
-- @return the page; throws where its files are missing
function M.new(deps)
	local self = setmetatable(needs.take(deps, "facts mono_ms"), Ui)
	self.replies = read_files()
	return self
end

return M
