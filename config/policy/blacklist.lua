-- When a peer that misbehaves is banned, and for how long. A rule bans after `count` events within `within`
-- seconds.
--
-- scope: "calls" stops this node from calling the peer; "all" also refuses the peer's requests. "all" is
-- possible only for events that nobody but the peer can cause: wrong_master_secret, poisoned_records,
-- rejected_records, identity_mismatch. Anybody can cause the other ones in a peer's name:
-- bad_response_signature, bad_hmac, bad_envelope, invalid_url, private_address, replayed_nonce,
-- unreachable. Each of bad_response_signature, bad_envelope and private_address also counts as unreachable, and a good
-- response of the peer in between ends the count: one odd answer bans nobody.
--
-- ban: seconds (default PEER_BLACKLIST_DURATION_SECONDS). grow: each further ban lasts twice as long, up to
-- a day. name and description appear in the log and in /status.
return {
	api = 1,

	rules = {
		{ event = "bad_response_signature", count = 3, within = 60, scope = "calls" },
		{ event = "bad_envelope", count = 3, within = 60, scope = "calls" },
		{ event = "invalid_url", count = 1, within = 60, scope = "calls" },
		{ event = "private_address", count = 3, within = 60, scope = "calls" },
		{ event = "wrong_master_secret", count = 2, within = 600, scope = "all", grow = true },
		{ event = "poisoned_records", count = 3, within = 60, scope = "all" },
	},

	-- Wallets that are never banned.
	exempt = {},

	-- Decides before the rules. e has event, wallet, url, count (how often this peer has caused this event)
	-- and now (Unix ms). Returns seconds and a scope, or nil to apply the rules.
	-- decide = function(e) return 3600, "calls" end,
}
