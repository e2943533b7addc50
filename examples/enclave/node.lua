-- Settings of a node in an enclave. They become part of the image and so of what is measured:
-- whoever compares PCRs knows them. All settings: config/node.lua.

return {
	-- Keys are made in the enclave, by this process; no other service has them.
	TEE = "nitro",

	-- The network's contracts, and the chain that they are on.
	NOVA_APP_REGISTRY_ADDRESS = "0x0000000000000000000000000000000000000000",
	KMS_REGISTRY_ADDRESS = "0x0000000000000000000000000000000000000000",
	KMS_APP_ID = "49",
	CHAIN_ID = 84532,

	-- The light client of enclaver.yaml: it checks what an RPC server says against the chain.
	HELIOS_RPC_URL = "http://127.0.0.1:18545",

	-- Made at the start by whoever the node runs as, and stays empty.
	DATA_DIR = "/tmp/nova-kms",
}
