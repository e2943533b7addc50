-- Which misbehaviour of a peer counts, how often, and for how long the peer is then ignored.
--
-- scope "calls": this node does not call the peer. scope "all": its /sync is refused as well, which
-- takes evidence that nobody but the peer can have made: wrong_master_secret, poisoned_records,
-- rejected_records, identity_mismatch. The other events anybody can cause in a peer's name:
-- bad_response_signature, bad_hmac, bad_envelope, invalid_url, private_address, replayed_nonce,
-- unreachable.
--
-- ban: seconds, where it is not PEER_BLACKLIST_DURATION_SECONDS; grow: twice as long each time, a
-- day at the most; name and description: for the log and /status.
return {
	api = 1,

	rules = {
		{ event = "bad_response_signature", count = 1, within = 60, scope = "calls" },
		{ event = "bad_envelope", count = 1, within = 60, scope = "calls" },
		{ event = "invalid_url", count = 1, within = 60, scope = "calls" },
		{ event = "private_address", count = 1, within = 60, scope = "calls" },
		{ event = "wrong_master_secret", count = 2, within = 600, scope = "all", grow = true },
		{ event = "poisoned_records", count = 3, within = 60, scope = "all" },
	},

	-- Wallets that are never banned.
	exempt = {},

	-- Full control: e has event, wallet, url, count (this event of this peer so far), now. Returns
	-- seconds and a scope, or nil for the rules above.
	-- decide = function(e) return 3600, "calls" end,
}
