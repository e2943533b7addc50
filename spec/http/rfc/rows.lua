--- What the rows of the table share (spec/http/rfc_spec.lua says what their members mean).

local M = {}

M.HOST = "Host: localhost\r\n"

--- A row about a request that leaves the connection open.
function M.kept(section, rule, send, status, more)
	local row = { section = section, rule = rule, send = send, status = status, ends = "kept" }
	for name, value in pairs(more or {}) do row[name] = value end
	return row
end

--- A row about a request behind whose reply the server closes the connection.
function M.closed(section, rule, send, status, more)
	local row = M.kept(section, rule, send, status, more)
	row.ends = "closed"
	return row
end

--- The bytes of a request without a body.
-- @param first  method and target
-- @param fields  each with its line end, or nil
function M.request(first, fields)
	return first .. " HTTP/1.1\r\n" .. M.HOST .. (fields or "") .. "\r\n"
end

--- GET /health, which is 200 for anybody.
function M.get(fields)
	return M.request("GET /health", fields)
end

--- A request that the node refuses with 403 from its headers, then drains: the next one is found only where
-- both sides agree where the body ends.
function M.post(fields, body)
	return M.request("POST /kms/derive", fields) .. (body or "")
end

--- The same with a chunked body.
function M.chunked(body)
	return M.post("Transfer-Encoding: chunked\r\n", body)
end

--- One row for each of several bytes, under one rule.
function M.each(make, section, rule, list, status, more)
	local rows = {}
	for i, send in ipairs(list) do rows[i] = make(section, rule, send, status, more) end
	return table.unpack(rows)
end

return M
