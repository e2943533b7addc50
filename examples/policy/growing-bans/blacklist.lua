-- Short bans that last twice as long each time, and one partner that is never banned.
return {
	rules = {
		{
			name = "bad-signature", description = "responses whose signature is wrong", event = "bad_response_signature",
			count = 1, within = 60, ban = 60, scope = "calls", grow = true,
		},
		{
			name = "wrong-secret", description = "another master secret than the chain's", event = "wrong_master_secret",
			count = 2, within = 600, ban = 300, scope = "all", grow = true,
		},
		{
			name = "poison", description = "records that do not decrypt", event = "poisoned_records",
			count = 3, within = 60, scope = "all",
		},
	},

	exempt = { "0x00000000000000000000000000000000000000ee" },
}
