-- What an authorized application may do. A hook runs after authentication, registry and rate limits. It
-- cannot replace them; it can only refuse. It returns one of:
--
--   nil or true          go on
--   false, "reason"      403, with the reason in the reply and the log
--   { status = 429, reason = "...", retry_after = 60 }      403, 429 or 503; seconds
--
-- A hook is a function, or a list of rules { name = "...", description = "...", decide = function(r) ... end };
-- the first rule that refuses decides. A hook that fails refuses, and so does one whose request has a path
-- or context of more than 65536 bytes. Without a hook, nothing is refused.
--
-- r is read-only: route ("derive", "get", "list", "put", "delete"; for `request` also "session", the opening of
-- one), app_id (text), version_id, instance_id, wallet, remote (address), now (Unix ms). Helpers: kms.log, count,
-- limit, now, match, store. kms.log writes what it gets, paths and keys of records included.
return {
	api = 1,

	-- For every request, before its body is read.
	-- request = function(r) end,

	-- r also has path, context ("" when there is none) and length.
	-- derive = function(r) if kms.match("admin/*", r.path) then return false, "no" end end,

	-- r also has key (except for "list") and, for "put", size (bytes of the value) and ttl_ms.
	-- data = function(r) end,
}
