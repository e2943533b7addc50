-- Gives the master secret only to peers that run one of these images, not in debug mode, under one of these
-- policies. The other settings of sync stay as shipped.
local PCR0 = {
	["8a1d3f5b7c9e0a2b4c6d8e0f1a3b5c7d9e0f2a4b6c8d0e1f3a5b7c9d0e2f4a6b8c0d1e3f5a7b9c0d2e4f6a8b0c1d3e5f"] = "1.0",
	["0f2a4b6c8d0e1f3a5b7c9d0e2f4a6b8c0d1e3f5a7b9c0d2e4f6a8b0c1d3e5f8a1d3f5b7c9e0a2b4c6d8e0f1a3b5c7d9e"] = "1.1",
}
-- Hashes, as `nova-kms policy check` prints them.
local POLICIES = {
	["1f3a5b7c9d0e2f4a6b8c0d1e3f5a7b9c0d2e4f6a8b0c1d3e5f8a1d3f5b7c9e0a"] = "ours of this month",
}

return {
	release_secret = function(p, attestation)
		if not attestation then return false, "an attestation is required" end
		if attestation.simulated then return false, "not an enclave" end
		if not PCR0[attestation.pcrs[0]] then
			kms.log("warn", "image is not on the list", { wallet = p.wallet })
			return false, "image is not on the list"
		end
		if not POLICIES[attestation.policy] then return false, "policy is not on the list" end
	end,
}
