--- GET / for a person with a browser: one plain page that says what this is and leads on. Machines get JSON.

local native = require("kms_native")

local M = {}

local PAGE = [[
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>nova-kms</title>
</head>
<body>
<h1>nova-kms %s</h1>
<p>A key-management node. It derives keys and keeps records for applications that prove on a blockchain who they are;
everything that they send and get is encrypted end to end, so there is nothing more to see here.</p>
<ul>
<li><a href="/ready">/ready</a>: whether this node serves</li>
<li><a href="/status">/status</a>: what it is and how it is</li>
<li><a href="/nodes">/nodes</a>: the members of its cluster</li>
<li><a href="/openapi.json">/openapi.json</a>: all routes, for those who write a client</li>
</ul>
<p>Programs get the list of endpoints as JSON from this address.</p>
</body>
</html>
]]

local REPLY = {
	status = 200, body = PAGE:format(native.version), headers = {
		["Content-Type"] = "text/html; charset=utf-8", Vary = "Accept",
		["Content-Security-Policy"] = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
		["Referrer-Policy"] = "no-referrer",
	},
}

--- The page, where the caller asks for HTML by name: browsers do, and */* is no browser.
-- @param request kms.http.request
-- @return reply | nil: answer as to a machine
function M.reply(request)
	local accept = request:header("accept")
	return accept and accept:lower():find("text/html", 1, true) and REPLY or nil
end

return M
