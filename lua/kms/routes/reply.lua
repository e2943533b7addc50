--- What answers of several routes share.

local M = {}

--- Adds the next nonce for a caller that has shown who it is: it saves a round trip.
function M.with_nonce(node, reply)
	local nonce = node.nonces:issue(node.mono_ms() // 1000)
	if nonce then reply.headers["X-KMS-Next-Nonce"] = nonce end
	return reply
end

--- Whether the announced body is longer than `max` bytes. A length beyond 63 bits is negative here.
function M.announces_more(request, max)
	local announced = request.has_body and request:content_length() or 0
	return announced ~= 0 and math.ult(max, announced)
end

return M
