-- A node on one machine, without a chain and without a TEE service: what `make run` starts.
-- Every key is explained in node.lua.
return {
	IN_ENCLAVE = false,
	TEE = "sim",
	CHAIN = "local",
	BIND_ADDR = "127.0.0.1:8000",
	DATA_DIR = "build/node",
	LOG_FORMAT = "text", -- for people, also through a pipe
}
