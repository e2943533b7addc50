--- RFC 9112 sections 2 to 5: messages, request lines, targets, fields; with what RFC 9110 says of them.

local rows = require("spec.http.rfc.rows")

local HOST, kept, closed, request, get, each = rows.HOST, rows.kept, rows.closed, rows.request, rows.get, rows.each
local list = {}

local function add(...)
	for _, row in ipairs({ ... }) do list[#list + 1] = row end
end

local function line(first)
	return first .. "\r\n" .. HOST .. "\r\n"
end

-- ---- 2: messages -------------------------------------------------------------------------------------

add(
	kept("9112 2.2", "octets above 127 in a field are no character of any set", get("X: \xff\x80\r\n"), 200),
	kept("9112 2.2", "an empty line before the request line is ignored", "\r\n" .. get(), 200),
	kept("9112 2.2", "also behind a body", request("GET /health", "Content-Length: 1\r\n") .. "x\r\n" .. get(), { 200,
		200 }),
	closed("9112 2.2", "one empty line, no more", "\r\n\r\n" .. get(), 400),
	closed("9112 2.2", "a bare CR is not an empty line", "\r" .. get(), 400),
	closed("9112 2.2", "a bare CR in the request line is invalid", "GET /\r HTTP/1.1\r\n" .. HOST .. "\r\n", 400),
	closed("9112 2.2", "a bare CR in a field is invalid", get("X: a\rb\r\n"), 400),
	closed("9112 2.2", "a bare CR before the line end is invalid", get("X: a\r\r\n"), 400),
	closed("9112 2.2", "a bare LF ends no request line here", "GET / HTTP/1.1\n" .. HOST .. "\r\n", 400),
	closed("9112 2.2", "a bare LF ends no field here", get("X: a\n"), 400),
	closed("9112 2.2", "a bare LF ends no head here", "GET / HTTP/1.1\r\n" .. HOST .. "\n", 400),
	closed("9112 2.2", "white space before the first field is refused", "GET / HTTP/1.1\r\n " .. HOST .. "\r\n", 400)
)
add(each(closed, "9112 2.2", "what is not HTTP is refused, and the connection closed", {
	"hello\r\n\r\n", "\22\3\1\2\0\1\0\1\252\3\3", "\0\0\0\0\r\n\r\n", "{}\r\n\r\n", "=\r\n\r\n",
}, 400))

-- ---- 2.3: version ------------------------------------------------------------------------------------

add(
	kept("9110 2.5", "a higher minor version is served as HTTP/1.1", line("GET /health HTTP/1.2"), 200),
	kept("9110 2.5", "up to the highest one", line("GET /health HTTP/1.9"), 200),
	closed("9110 2.5", "the reply's version is the server's own", "GET /health HTTP/1.0\r\n\r\n", 200,
		{ starts = "HTTP/1.1 200 " })
)
add(each(closed, "9110 15.6.6", "another major version is 505",
	{ line("GET / HTTP/2.0"), line("GET / HTTP/0.9"), line("GET / HTTP/3.1"), "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" }, 505))
add(each(closed, "9112 2.3", "a version is HTTP/, a digit, a dot, a digit, in this case", {
	line("GET / http/1.1"), line("GET / HTTP/1.10"), line("GET / HTTP/11"), line("GET / HTTP/1"), line("GET / HTTP/1,1"),
	line("GET / HTTP/01.1"), line("GET / ICE/1.0"), line("GET / HTTP /1.1"), line("GET / HTTP/x.1"),
}, 400))

-- ---- 3: request line ---------------------------------------------------------------------------------

add(each(closed, "9112 3", "single spaces part method, target and version", {
	line("GET  /health HTTP/1.1"), line("GET /health  HTTP/1.1"), line("GET\t/health HTTP/1.1"),
		line("GET /health\tHTTP/1.1"),
	line(" GET /health HTTP/1.1"), line("GET /health HTTP/1.1 "), line("GET /a b HTTP/1.1"), line("GET HTTP/1.1"),
	line("GET /health"), line("GET"), line("GET "),
}, 400))
add(
	closed("9112 3", "a method longer than any that is known is 501, before its end", ("M"):rep(100), 501),
	closed("9112 3.1", "a method is a token", line("G(T / HTTP/1.1"), 400),
	kept("9112 3", "a request line of 8000 octets is read", request("GET /" .. ("a"):rep(8000 - 14)), 404),
	closed("9112 3", "a target longer than the server reads is 414", request("GET /" .. ("a"):rep(1 << 19)), 414)
)
add(each(closed, "9110 9.1", "a method that is not known is 501; methods are case-sensitive",
	{ request("BREW /health"), request("get /health"), request("GETT /health"), request("X /nothing") }, 501))
add(each(kept, "9110 9.1", "a method that no resource here implements is 501",
	{ request("PATCH /health"), request("TRACE /health"), request("PROPFIND /"), request("PATCH /kms/data") }, 501))
add(each(closed, "9110 9.3.6", "CONNECT is refused, whatever its target",
	{ request("CONNECT a:443"), request("CONNECT /health"), request("CONNECT 127.0.0.1:22") }, 501))

-- ---- 3.2: target -------------------------------------------------------------------------------------

add(each(closed, "9112 3.2", "a target is a URI without white space, controls and fragment", {
	request("GET /\ta"), request("GET /health?x:\t"), request("GET /:\t"), request("GET http://a:\t80/health"),
	request("GET /\fa"), request("GET /\127"), request("GET /a#b"), request("GET /\1"),
	request("GET /\xc3\xa4"), request("GET /%"), request("GET /%4"),
	request("GET /%zz"), request("GET /?%zz"), request("GET health"), request("GET ?a"), request("GET .."),
}, 400))
add(
	kept("9112 3.2.1", "origin form: a path", request("GET /health"), 200),
	kept("9112 3.2.1", "origin form: a path and a query", request("GET /health?a=%20&b=/?"), 200),
	kept("9112 3.2.2", "absolute form is accepted", request("GET http://localhost/health"), 200),
	kept("9112 3.2.2", "absolute form has a query, too", request("GET http://localhost:8000/health?a=b"), 200),
	kept("9112 3.2.2", "https ends before the node", request("GET https://localhost/health"), 200),
	kept("9110 4.2.3", "schemes are case-insensitive", request("GET HTTP://localhost/health"), 200),
	kept("9110 4.2.3", "an empty path is /", request("GET http://localhost"), 200, { body = '"service":"nova%-kms"' }),
	kept("9110 4.2.3", "an empty path before a query as well", request("GET http://localhost?a"), 200,
		{ body = '"service":"nova%-kms"' }),
	kept("9112 3.2.2", "the target's host counts, not the header's",
		"GET http://evil.example/status HTTP/1.1\r\n" .. HOST .. "\r\n", 403),
	kept("9112 3.2.2", "and the other way round",
		"GET http://localhost/status HTTP/1.1\r\nHost: evil.example\r\n\r\n", 200),
	closed("9112 3.2.2", "Host is required all the same", "GET http://localhost/health HTTP/1.1\r\n\r\n", 400),
	closed("9110 4.2.1", "a URL without a host is invalid", request("GET http:///health"), 400),
	closed("9110 4.2.1", "a port alone is no host", request("GET http://:80/health"), 400),
	closed("9110 4.2.4", "user information in a URL is an error", request("GET http://u:p@localhost/health"), 400),
	closed("9110 7.4", "only http and https are served", request("GET ftp://localhost/health"), 400),
	closed("9112 3.2.3", "authority form is for CONNECT", request("GET localhost:80"), 400),
	kept("9112 3.2.4", "asterisk form with OPTIONS is about the server", request("OPTIONS *"), 204,
		{ headers = { allow = "DELETE, GET, HEAD, OPTIONS, POST, PUT" } }),
	kept("9112 3.2.4", "a URL without a path and query means the same", request("OPTIONS http://localhost"), 204,
		{ headers = { allow = "DELETE, GET, HEAD, OPTIONS, POST, PUT" } }),
	closed("9112 3.2.4", "asterisk form is for OPTIONS", request("GET *"), 400),
	closed("9112 3.2.4", "an asterisk and more is no target", request("OPTIONS *a"), 400)
)

-- ---- 3.2, 9110 7.2: Host -----------------------------------------------------------------------------

local function with_host(fields, version)
	return "GET /health HTTP/" .. (version or "1.1") .. "\r\n" .. fields .. "\r\n"
end

add(
	closed("9112 3.2", "HTTP/1.1 without Host is 400", with_host(""), 400),
	closed("9112 3.2", "so is a higher minor version", with_host("", "1.2"), 400),
	closed("9112 3.2", "HTTP/1.0 may lack Host", with_host("", "1.0"), 200),
	closed("9112 3.2", "two Host fields are 400", with_host("Host: a\r\nHost: a\r\n"), 400),
	closed("9112 3.2", "with HTTP/1.0 too", with_host("Host: a\r\nhost: b\r\n", "1.0"), 400),
	kept("9112 3.2", "Host may be empty", with_host("Host:\r\n"), 200)
)
add(each(kept, "9110 7.2", "Host is a host and perhaps a port", {
	with_host("Host: a.example:8000\r\n"), with_host("Host: [2001:db8::1]:80\r\n"), with_host("Host: [::1]\r\n"),
	with_host("Host: 127.0.0.1\r\n"), with_host("Host: a%20b\r\n"), with_host("Host: a_b:\r\n"),
}, 200))
add(each(closed, "9112 3.2", "an invalid Host is 400", {
	with_host("Host: a b\r\n"), with_host("Host: a/b\r\n"), with_host("Host: a, b\r\n"), with_host("Host: u@a\r\n"),
	with_host("Host: a:b\r\n"), with_host("Host: a:1:2\r\n"), with_host("Host: [::1\r\n"), with_host("Host: [::1]1\r\n"),
	with_host("Host: a%zz\r\n"), with_host("Host: a?b\r\n"), with_host("Host: http://a\r\n"),
		with_host("Host: \xc3\xa4\r\n"),
}, 400))

-- ---- 5: fields ---------------------------------------------------------------------------------------

add(
	kept("9110 5.1", "names are case-insensitive", "GET /health HTTP/1.1\r\nhOsT: a\r\n\r\n", 200),
	kept("9110 5.1", "unknown fields are ignored", get("X-Nobody-Knows: 1\r\n"), 200),
	kept("9112 5.1", "white space around a value is none of it", rows.post("Content-Length: \t 3 \t\r\n", "abc"), 403),
	kept("9112 5.1", "white space behind the colon may be missing", get("X:1\r\n"), 200),
	kept("9110 5.5", "a value may be empty", get("X:\r\n"), 200),
	closed("9110 5.3", "fields of one name are one list", get("Connection: x\r\nConnection: close\r\n"), 200),
	closed("9110 5.6.1", "empty elements of a list are ignored", get("Connection: , ,close ,\r\n"), 200),
	closed("9112 5.1", "white space before the colon is 400", get("X : a\r\n"), 400),
	closed("9112 5.1", "so is a tab", get("X\t: a\r\n"), 400),
	closed("9112 5.2", "a folded field is 400", get("X: a\r\n b\r\n"), 400),
	closed("9112 5.2", "also with a tab", get("X: a\r\n\tb\r\n"), 400),
	closed("9112 5.2", "also with nothing behind the white space", get("X: a\r\n \r\n"), 400),
	closed("9110 5.4", "a field larger than the server reads is a 4xx", get("X: " .. ("a"):rep(8200) .. "\r\n"), 431),
	closed("9110 5.4", "so are fields that are larger together", get(("X: " .. ("a"):rep(4000) .. "\r\n"):rep(5)), 431),
	closed("9110 5.4", "so are too many fields", get(("X: a\r\n"):rep(100)), 431),
	kept("9110 5.4", "at the limit they are read", get(("X: a\r\n"):rep(99)), 200)
)
add(each(closed, "9110 5.1", "a name is a token",
	{ get(": a\r\n"), get("no colon\r\n"), get("X(y): a\r\n"), get("X\x80: a\r\n"), get("X\0: a\r\n"),
		get("\"X\": a\r\n") },
	400))
add(each(closed, "9110 5.5", "NUL and other controls in a value are refused",
	{ get("X: a\0b\r\n"), get("X: \1\r\n"), get("X: \127\r\n"), get("X: a\11b\r\n"), get("X: \27[0m\r\n") }, 400))

return list
