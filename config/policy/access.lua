-- What an authorised application may do. A hook runs after authentication, registry and limits,
-- never instead of them, and can only refuse:
--
--   nil or true          go on
--   false, "reason"      403, the reason in the answer and the log
--   { status = 429, reason = "...", retry_after = 60 }      403, 429 or 503
--
-- A hook is a function, or a list of rules { name = "...", description = "...", decide = function(r) ... end }
-- of which the first that refuses decides. One that fails refuses; so does one that would have to see
-- a path or context of more than 65536 bytes. Without a hook nothing is refused and nothing is asked.
--
-- r is read-only: route ("derive", "get", "list", "put", "delete"), app_id (text), version_id,
-- instance_id, wallet, remote, now (Unix ms). Helpers: kms.log, count, limit, now, match, store.
-- What kms.log is given is logged as it is, names of paths and keys included.
return {
	api = 1,

	-- Every request, before its body is read.
	-- request = function(r) end,

	-- r also has path, context ("" for none) and length.
	-- derive = function(r) if kms.match("admin/*", r.path) then return false, "no" end end,

	-- r also has key (not for "list"), and for "put" size (bytes of the value) and ttl_ms.
	-- data = function(r) end,
}
