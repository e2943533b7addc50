--- RFC 9112 sections 6 to 9: bodies and connections; with what RFC 9110 says of them.

local rows = require("spec.http.rfc.rows")

local HOST, kept, closed, request, get, each = rows.HOST, rows.kept, rows.closed, rows.request, rows.get, rows.each
local post, chunked = rows.post, rows.chunked
local list = {}

local function add(...)
	for _, row in ipairs({ ... }) do list[#list + 1] = row end
end

-- ---- 6: length of a body -----------------------------------------------------------------------------

add(
	kept("9112 6.3", "without Content-Length and Transfer-Encoding there is no body", post() .. get(), { 403, 200 }),
	kept("9112 6.2", "Content-Length says where the body ends", post("Content-Length: 3\r\n", "abc") .. get(), { 403,
		200 }),
	kept("9110 8.6", "Content-Length: 0 is no body", post("Content-Length: 0\r\n") .. get(), { 403, 200 }),
	kept("9110 8.6", "leading zeros are digits like others",
		post("Content-Length: 00000000000000000000003\r\n", "abc") .. get(), { 403, 200 }),
	closed("9110 8.6", "a length beyond 64 bits overflows nothing: too large",
		post("Content-Length: 18446744073709551617\r\n"), 413),
	closed("9110 8.6", "a length of a hundred digits as well", post("Content-Length: " .. ("9"):rep(100) .. "\r\n"), 413),
	closed("9110 8.6", "a length that no body may have is refused from the head", post("Content-Length: 99999999999\r\n"),
		413),
	closed("9112 6.1", "Content-Length with Transfer-Encoding is refused, and the connection closed",
		post("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n" .. get()), 400),
	closed("9112 6.1", "in either order",
		post("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", "0\r\n\r\n" .. get()), 400),
	closed("9110 8.6", "two equal lengths are refused, as a list", post("Content-Length: 3, 3\r\n", "abc"), 400),
	closed("9110 8.6", "and as two fields", post("Content-Length: 3\r\nContent-Length: 3\r\n", "abc"), 400),
	closed("9112 6.3", "different lengths are unrecoverable", post("Content-Length: 3\r\nContent-Length: 4\r\n", "abcd"),
		400),
	closed("9112 6.3", "different lengths in a list as well", post("Content-Length: 3, 4\r\n", "abcd"), 400)
)
add(each(closed, "9112 6.3", "an invalid length is unrecoverable", {
	post("Content-Length:\r\n"), post("Content-Length: +3\r\n", "abc"), post("Content-Length: -3\r\n", "abc"),
	post("Content-Length: 3x\r\n", "abc"), post("Content-Length: 0x3\r\n", "abc"), post("Content-Length: 3.0\r\n", "abc"),
	post("Content-Length: 3 3\r\n", "abc"), post("Content-Length: 3,\r\n", "abc"), post("Content-Length: \"3\"\r\n",
		"abc"),
}, 400))

-- ---- 6.1: transfer codings ---------------------------------------------------------------------------

add(
	kept("9112 6.1", "chunked bodies are read", chunked("3\r\nabc\r\n0\r\n\r\n" .. get()), { 403, 200 }),
	kept("9112 7", "names of codings are case-insensitive",
		post("Transfer-Encoding: CHUNKED\r\n", "3\r\nabc\r\n0\r\n\r\n" .. get()), { 403, 200 }),
	closed("9112 6.1", "HTTP/1.0 with Transfer-Encoding is faulty, and the connection closes",
		"POST /kms/derive HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400)
)
add(each(closed, "9112 6.1", "a coding that is not known is 501, where chunked is the last one", {
	post("Transfer-Encoding: gzip, chunked\r\n"), post("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n"),
	post("Transfer-Encoding: x;a=b, chunked\r\n"), post("Transfer-Encoding: identity, chunked\r\n"),
}, 501))
add(each(closed, "9112 6.3", "where chunked is not the last coding the length is unknown: 400", {
	post("Transfer-Encoding: gzip\r\n"), post("Transfer-Encoding: identity\r\n"),
		post("Transfer-Encoding: chunked, gzip\r\n"),
	post("Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n"), post("Transfer-Encoding: xchunked\r\n"),
}, 400))
add(each(closed, "9112 6.1", "chunked is applied once, and plainly written: others may read it in another way", {
	post("Transfer-Encoding: chunked, chunked\r\n"), post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
	post("Transfer-Encoding:\r\n"), post("Transfer-Encoding: , chunked\r\n"), post("Transfer-Encoding: \"chunked\"\r\n"),
	post("Transfer-Encoding: chunked;\r\n"),
}, 400))
add(closed("9112 7", "chunked has no parameters", post("Transfer-Encoding: chunked;a=b\r\n"), 400))

-- ---- 7.1: chunks -------------------------------------------------------------------------------------

add(each(kept, "9112 7.1", "sizes are hexadecimal in either case, with leading zeros", {
	chunked("a\r\n0123456789\r\n0\r\n\r\n"), chunked("0A\r\n0123456789\r\n000\r\n\r\n"),
	chunked(("0"):rep(100) .. "3\r\nabc\r\n0\r\n\r\n"),
}, 403))
add(each(kept, "9112 7.1.1", "extensions are ignored", {
	chunked("3;a\r\nabc\r\n0;b=c\r\n\r\n"), chunked("3;a=\"b;c\"\r\nabc\r\n0\r\n\r\n"),
		chunked("3 \t; a = b\r\nabc\r\n0\r\n\r\n"),
	chunked("3;a=\"\xc3\xa4\"\r\nabc\r\n0\r\n\r\n"),
}, 403))
add(each(kept, "9112 7.1.2", "trailers are dropped", {
	chunked("0\r\nX: y\r\n\r\n"), chunked("0\r\nX: y\r\nZ:\r\n\r\n"),
	chunked("0\r\nContent-Length: 5\r\nTransfer-Encoding: gzip\r\n\r\n"),
}, 403))
add(
	kept("9110 6.5.1", "a trailer is no header", chunked("0\r\nConnection: close\r\nHost: b\r\n\r\n" .. get()), { 403,
		200 }),
	closed("9112 7.1", "a size beyond 64 bits overflows nothing",
		chunked("10000000000000003\r\nabc\r\n0\r\n\r\n" .. get()), 403),
	closed("9112 7.1", "a size of a hundred digits as well", chunked(("f"):rep(100) .. "\r\nabc"), 403),
	closed("9112 7.1.1", "extensions have a limit in all",
		chunked(("1;" .. ("e"):rep(250) .. "\r\nx\r\n"):rep(33) .. "0\r\n\r\n" .. get()), 403)
)
add(each(closed, "9112 7.1", "what is not a chunk ends the connection: nothing behind it is read", {
	chunked("\r\n" .. get()), chunked("g\r\n" .. get()), chunked("-1\r\n" .. get()),
		chunked("0x1\r\na\r\n0\r\n\r\n" .. get()),
	chunked(" 1\r\na\r\n0\r\n\r\n" .. get()), chunked("1 \r\na\r\n0\r\n\r\n" .. get()),
		chunked("1\na\r\n0\r\n\r\n" .. get()),
	chunked("1\r\nab\r\n0\r\n\r\n" .. get()), chunked("1\r\na\n0\r\n\r\n" .. get()),
		chunked("1;\1\r\na\r\n0\r\n\r\n" .. get()),
	chunked("0\r\nX\r\n\r\n" .. get()), chunked("0\r\nX: a\r\n b\r\n\r\n" .. get()),
		chunked("0\r\nX : a\r\n\r\n" .. get()),
	chunked("0\r\nX: a\n\r\n" .. get()), chunked("0\r\n\n" .. get()),
}, 403))

-- ---- 8, 9: incomplete messages, connections ----------------------------------------------------------

add(
	closed("9112 8", "a head that ends early is no request", "GET /health HTTP/1.1\r\n" .. HOST, {}, { finish = true }),
	closed("9112 8", "a request that was sent before the end is served", get(), 200, { finish = true }),
	kept("9112 9.3", "connections persist", get() .. get(), { 200, 200 }, { headers = { connection = false } }),
	kept("9112 9.3", "an error does not end them", request("GET /nothing") .. request("DELETE /health"), { 404, 405 }),
	kept("9112 9.3", "keep-alive asks for what HTTP/1.1 does anyway", get("Connection: keep-alive\r\n"), 200),
	kept("9112 9.3.2", "pipelined requests have their replies in order",
		get() .. request("GET /nothing") .. request("OPTIONS *") .. request("PATCH /") .. get(), { 200, 404, 204, 501, 200 }),
	closed("9112 9.3", "HTTP/1.0 does not persist", "GET /health HTTP/1.0\r\n\r\n", 200,
		{ headers = { connection = "close" } }),
	closed("9112 9.3", "also where keep-alive asks for it", "GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200),
	closed("9112 9.6", "no request behind a close is served", get("Connection: close\r\n") .. get(), 200,
		{ headers = { connection = "close" } }),
	closed("9112 9.6", "close in a list, in any case", get("Connection: TE, CLOSE\r\n") .. get(), 200,
		{ headers = { connection = "close" } }),
	kept("9110 7.6.1", "an option that only contains close is another one", get("Connection: closed\r\n"), 200),
	closed("9112 9.6", "a refusal that ends the connection says close", get("X : a\r\n"), 400,
		{ headers = { connection = "close" } }),
	closed("9112 9.5", "a head that does not arrive in time is 408, with close", "GET /health HTTP/1.1\r\n", 408,
		{ limited = true, headers = { connection = "close" } }),
	closed("9110 15.5.9", "so is a body", request("POST /kms/derive", "Content-Length: 9\r\n") .. "x", 408,
		{ limited = true, signed = true, headers = { connection = "close" } })
)

return list
