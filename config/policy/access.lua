-- What an authorised application may do. A hook runs after authentication, registry and limits,
-- never instead of them, and can only refuse:
--
--   nil or true          go on
--   false, "reason"      403, the reason in the answer and the log
--   { status = 429, reason = "...", retry_after = 60 }      403, 429 or 503
--
-- A hook is a function, or a list of rules { name = "...", description = "...", decide = function(r) ... end }
-- of which the first that refuses decides. One that fails refuses.
--
-- r is read-only: route ("derive", "get", "list", "put", "delete"), app_id (text), version_id,
-- instance_id, wallet, remote, now (Unix ms). Helpers: kms.log, count, limit, now, match, store.
return {
	api = 1,

	-- Every request.
	request = function(r) end,

	-- r also has path, context and length, as in: if kms.match("admin/*", r.path) then return false, "no" end
	derive = function(r) end,

	-- r also has key (not for "list"), and for "put" size and ttl_ms.
	data = function(r) end,
}
