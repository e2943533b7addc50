--- The chain, whichever backend reads it. Every backend has these methods; each may yield:
--
--   chain:introduce(identity)             true; this node's { wallet, tee_pubkey, url }, once before the first tick
--   chain:begin_tick()                    true: this tick's block is chosen and acceptable
--   chain:head()                          { number, time_ms } of the newest block at the tick
--   chain:contents()                      a table: that of the tick before, where all reads the same that was read then
--   chain:instance_by_wallet(wallet)      instance
--   chain:app(app_id)                     { id, status }
--   chain:version(app_id, version_id)     { id, status }
--   chain:active_instances(app_id)        list of wallets
--   chain:master_secret_hash()            "0x" + 64 digits, NO_HASH when none is set
--   chain:set_master_secret_hash(hash, tee)  true: sent or accepted (another node may still be first)
--   chain:snapshot()                      the chain at a block of now: an object with instance_by_wallet, app, version,
--                                         prefetch_apps(ids), which reads applications together, and
--                                         prefetch(wallet, hint { app_id, version_id } or nil), which reads what
--                                         authorization needs together; may be the chain itself
--   chain:anchor_snapshot(manifest, time_s, tee)  true: sent; only of `evm`, as are is_anchoring() (whether one is in
--                                         flight) and the snapshot's snapshot_anchor(wallet), newest_snapshot_anchor()
--   chain:describe()                      { confirmations, unconfirmed (whether they are given up for now) }
--   chain:counts()                        calls to servers and how many failed, since the start
--   chain:close()                         ends what runs in the background
--
-- A failure is nil, message, code: ERR_NOT_FOUND when the registry has no such entry, ERR_CHAIN when the chain cannot
-- be read.
--
-- The methods read at the tick's block. instance_by_wallet, app and version take { fresh = true } as their last
-- argument, to read at a block of now, past every cache.
--
-- instance: id, app_id, version_id (decimal texts: ids are unsigned 64-bit), operator and wallet (canonical), url,
-- tee_pubkey (bytes), zk_verified, status, registered_at (seconds). Statuses are the contract's numbers (below).

local M = {}

--- Statuses of applications, versions and instances.
M.APP = { ACTIVE = 0, INACTIVE = 1, REVOKED = 2 }
M.VERSION = { ENROLLED = 0, DEPRECATED = 1, REVOKED = 2 }
M.INSTANCE = { ACTIVE = 0, STOPPED = 1, FAILED = 2 }

--- The hash that a chain without a master secret shows.
M.NO_HASH = "0x" .. ("0"):rep(64)

--- The name of an instance's status, as GET /nodes shows it.
function M.instance_status_name(status)
	for name, value in pairs(M.INSTANCE) do
		if value == status then return name end
	end
	return "UNKNOWN"
end

--- Opens the backend that the configuration names.
-- @param deps config, log, wall_ms; for `local` only: machine_ms (clock of the machine), demo
-- @return chain | nil, message
function M.open(deps)
	return require("kms.chain." .. deps.config.CHAIN).open(deps)
end

return M
