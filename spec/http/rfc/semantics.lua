--- RFC 9110: methods, expectations, conditions, statuses and the fields of replies.

local rows = require("spec.http.rfc.rows")

local kept, closed, request, get, each = rows.kept, rows.closed, rows.request, rows.get, rows.each
local post = rows.post
local list = {}

local function add(...)
	for _, row in ipairs({ ... }) do list[#list + 1] = row end
end

local JSON = "application/json"
local DATE = "^%u%l%l, %d%d %u%l%l %d%d%d%d %d%d:%d%d:%d%d GMT$"

-- ---- fields of replies -------------------------------------------------------------------------------

add(
	kept("9110 6.6.1", "a success has a Date", get(), 200, { matches = { date = DATE } }),
	kept("9110 6.6.1", "a 4xx has a Date", request("GET /nothing"), 404, { matches = { date = DATE } }),
	closed("9110 6.6.1", "a refused head as well", get("X : a\r\n"), 400, { matches = { date = DATE } }),
	kept("9110 8.3", "content has its type", get(), 200, { headers = { ["content-type"] = JSON } }),
	closed("9110 8.3", "content of a refusal as well", get("X : a\r\n"), 400, { headers = { ["content-type"] = JSON } }),
	kept("9110 8.6", "204 has no Content-Length", request("OPTIONS /health"), 204,
		{ headers = { ["content-length"] = false, ["transfer-encoding"] = false, ["content-type"] = false } }),
	kept("9110 10.2.3", "Retry-After is a number of seconds", request("GET /nonce"):rep(3), { 200, 200, 429 },
		{ limited = true, from = "127.0.0.2", at = 3, ends = "any", matches = { ["retry-after"] = "^[1-9]%d*$" } })
)

-- ---- 9: methods --------------------------------------------------------------------------------------

-- Public routes, and what anybody gets of the others.
local GETS = {
	["/"] = 200, ["/health"] = 200, ["/ready"] = 200, ["/status"] = 200, ["/nodes"] = 200, ["/nonce"] = 200,
	["/digest"] = 400, ["/openapi.json"] = 200,
	["/attestation?nonce=00"] = 200, ["/kms/data"] = 403, ["/kms/data/k"] = 403, ["/kms/data?key=k"] = 403, ["/x"] = 404,
}
-- Those whose length is another one from one document to the next: /status has times with one digit and with more.
local VARYING = { ["/attestation?nonce=00"] = true, ["/status"] = true }
local ALLOWED = {
	["/"] = "GET, HEAD, OPTIONS", ["/health"] = "GET, HEAD, OPTIONS", ["/ready"] = "GET, HEAD, OPTIONS",
	["/status"] = "GET, HEAD, OPTIONS", ["/nodes"] = "GET, HEAD, OPTIONS", ["/nonce"] = "GET, HEAD, OPTIONS",
	["/digest"] = "GET, HEAD, OPTIONS", ["/attestation"] = "GET, HEAD, OPTIONS",
	["/kms/derive"] = "OPTIONS, POST", ["/sync"] = "OPTIONS, POST",
	["/kms/data"] = "DELETE, GET, HEAD, OPTIONS, PUT", ["/kms/data/k"] = "GET, HEAD, OPTIONS",
}
for path, status in pairs(GETS) do
	add(
		kept("9110 9.1", "GET is supported: " .. path, request("GET " .. path), status),
		kept("9110 9.3.2", "HEAD is GET without content: " .. path, request("HEAD " .. path), status, { head_of = path,
			varies = VARYING[path] })
	)
end
for path, allow in pairs(ALLOWED) do
	add(kept("9110 9.3.7", "OPTIONS says what is allowed: " .. path, request("OPTIONS " .. path), 204,
		{ headers = { allow = allow } }))
	for _, method in ipairs({ "GET", "HEAD", "POST", "PUT", "DELETE" }) do
		if not allow:find(method, 1, true) then
			add(kept("9110 15.5.6", ("405 has Allow: %s %s"):format(method, path), request(method .. " " .. path), 405,
				{ headers = { allow = allow }, is_head = method == "HEAD" }))
		end
	end
end
add(
	kept("9110 9.3.1", "content of a GET means nothing, and is not the next request",
		request("GET /health", "Content-Length: 3\r\n") .. "abc" .. get(), { 200, 200 }),
	kept("9110 9.3.2", "content of a HEAD neither",
		request("HEAD /health", "Content-Length: 3\r\n") .. "abc", 200, { is_head = true }),
	kept("9110 9.3.7", "OPTIONS may have content", request("OPTIONS *", "Content-Length: 2\r\n") .. "{}" .. get(), { 204,
		200 }),
	kept("9110 7.6.2", "Max-Forwards is for intermediaries", request("OPTIONS *", "Max-Forwards: 0\r\n"), 204),
	kept("9110 9.3.8", "TRACE reflects nothing", request("TRACE /", "Authorization: x\r\n"), 501,
		{ body = "not_implemented" })
)

-- ---- 7.8, 8.4, 12: upgrades, codings, negotiation ----------------------------------------------------

add(each(kept, "9110 7.8", "Upgrade is ignored", {
	get("Connection: Upgrade\r\nUpgrade: websocket\r\n"),
	get("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"),
	get("Upgrade: HTTP/2.0\r\n"),
}, 200, { headers = { upgrade = false, connection = false } }))
add(
	kept("9110 7.8", "Upgrade of a request with content as well",
		post("Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 1\r\n", "x") .. get(), { 403, 200 }),
	closed("9110 7.8", "Upgrade in HTTP/1.0 is ignored",
		"GET /health HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", 200),
	kept("9110 8.4", "a coded body is 415, which says what is accepted",
		post("Content-Encoding: gzip\r\nContent-Length: 3\r\n", "abc") .. get(), { 415, 200 },
		{ headers = { ["accept-encoding"] = "identity" } }),
	kept("9110 8.4", "so are several codings", post("Content-Encoding: identity, br\r\nContent-Length: 3\r\n", "abc"),
		415),
	kept("9110 8.4.1", "identity is no coding", post("Content-Encoding: Identity\r\nContent-Length: 3\r\n", "abc"), 403),
	kept("9110 8.4", "without a body there is nothing coded", get("Content-Encoding: gzip\r\n"), 200)
)
add(each(kept, "9110 12.1", "there is one representation, whatever the client prefers", {
	get("Accept: text/html\r\n"), get("Accept: application/json;q=0\r\n"), get("Accept-Charset: x\r\n"),
	get("Accept-Language: xx\r\n"), get("Accept-Encoding: gzip, br;q=1, identity;q=0\r\n"), get("Accept:\r\n"),
}, 200, { headers = { ["content-encoding"] = false, ["content-type"] = JSON } }))

-- ---- 10.1.1: Expect ----------------------------------------------------------------------------------

add(
	closed("9110 10.1.1", "a final status comes at once where no content is wanted",
		post("Expect: 100-continue\r\nContent-Length: 3\r\n"), 403, { headers = { connection = "close" } }),
	kept("9110 10.1.1", "content that is wanted is asked for, in any case of the word",
		post("Expect: 100-Continue\r\nContent-Length: 3\r\n"), { 100, 400 }, { signed = true, more = "abc" }),
	kept("9110 10.1.1", "100 is left out where content has come already",
		post("Expect: 100-continue\r\nContent-Length: 3\r\n", "abc"), 400, { signed = true }),
	closed("9110 10.1.1", "HTTP/1.0 expects nothing",
		"POST /kms/derive HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc", 403),
	kept("9110 10.1.1", "without content there is nothing to wait for", get("Expect: 100-continue\r\n"), 200)
)
add(each(closed, "9110 10.1.1", "an expectation that is not known is 417",
	{ get("Expect: 200-ok\r\n"), get("Expect: 100-continue, x\r\n"), get("Expect: 100-continue\r\nExpect: x=y\r\n") },
		417))

-- ---- 13, 14: conditions and ranges -------------------------------------------------------------------

local PUT = { method = "PUT", target = "/kms/data", inner = { key = "rfc", value = "dg==" } }
local PUT_NEW = { method = "PUT", target = "/kms/data", inner = { key = "rfc-new", value = "dg==" } }
local DELETE = { method = "DELETE", target = "/kms/data", inner = { key = "rfc" } }
local READ = { method = "GET", target = "/kms/data/rfc" }
local MISSING = { method = "GET", target = "/kms/data/rfc-none" }

-- A row about an application's call with one more header; `before`: a call that comes first.
local function call(section, rule, o, name, value, status, before)
	add({ section = section, rule = rule, call = o, header = { name, value }, status = status, before = before,
		ends = "kept" })
end

call("9110 13.1.1", "If-Match of a tag is false here: the write is not done", PUT, "If-Match", '"a"', 412)
call("9110 13.1.1", "nor the deletion", DELETE, "If-Match", '"a", "b"', 412, PUT)
call("9110 13.1.1", "nor is the record read", READ, "If-Match", '"a"', 412, PUT)
call("9110 13.1.1", "If-Match: * does not make a record that is not there", PUT_NEW, "If-Match", "*", 412)
call("9110 13.1.1", "If-Match: * is no promise for a write, whether or not there is something", PUT, "If-Match", "*",
	412, PUT)
call("9110 13.1.1", "nor for a deletion", DELETE, "If-Match", "*", 412, PUT)
call("9110 13.1.1", "If-Match: * is true of what is read", READ, "If-Match", "*", 200, PUT)
call("9110 13.1.2", "If-None-Match: * is false where there is something", PUT, "If-None-Match", "*", 412)
call("9110 13.1.2", "which for a GET is 304", READ, "If-None-Match", "*", 304, PUT)
call("9110 13.1.2", "If-None-Match of a tag is true here", PUT, "If-None-Match", '"a"', 200)
call("9110 13.1.3", "If-Modified-Since is ignored without a date", READ, "If-Modified-Since",
	"Sun, 06 Nov 2050 08:49:37 GMT", 200, PUT)
call("9110 13.1.4", "If-Unmodified-Since is ignored without a date", PUT, "If-Unmodified-Since",
	"Sun, 06 Nov 1994 08:49:37 GMT", 200)
call("9110 13.2.1", "conditions count only where the reply would be a success", MISSING, "If-Match", '"a"', 404)
call("9110 14.2", "Range is ignored: the whole record", READ, "Range", "bytes=0-0", 200, PUT)
call("9110 14.2", "Range of a PUT means nothing", PUT, "Range", "bytes=0-0", 200)
add(
	kept("9110 13.1.1", "public resources have no entity tags either", get('If-Match: "a"\r\n'), 412),
	kept("9110 13.1.2", "304 has no content", get("If-None-Match: *\r\n"), 304,
		{ headers = { ["content-length"] = false, ["content-type"] = false }, matches = { date = DATE } }),
	kept("9110 13.2.1", "OPTIONS has no conditions", request("OPTIONS /health", 'If-Match: "a"\r\n'), 204),
	kept("9110 13.2.1", "nor has a resource that is not there", request("GET /nothing", 'If-Match: "a"\r\n'), 404),
	kept("9110 14.2", "Range is ignored", get("Range: bytes=0-0\r\nIf-Range: \"a\"\r\n"), 200,
		{ body = "^{\"status\":\"healthy\"}$", headers = { ["content-range"] = false } }),
	kept("9110 14.5", "Content-Range of a request means nothing",
		request("GET /health", "Content-Range: bytes 0-0/2\r\n"), 200),
	kept("9110 11.6", "credentials of other schemes are ignored", get("Authorization: Basic YTpi\r\n"), 200)
)

return list
