--- Makes the store's hash tree ready to be compared (docs/protocol.md section 9.1).

local M = {}

--- Keeps the tree under a master secret, and computes the digests that changed, in jobs so short that others have
-- their turn between them. Yields.
-- @param secret  master secret in use, or nil: there is none yet
-- @return true | nil, message, code: ERR_NOT_READY without a secret, or while another coroutine builds the tree
function M.prepare(store, secret)
	if not secret then return nil, "there is no master secret yet", "ERR_NOT_READY" end
	local ok, message, code = store:tree_key(secret)
	if not ok then return nil, message, code end
	local more
	repeat more, message, code = store:tidy_tree() until not more
	if more == false then return true end
	if code == "ERR_STATE" then return nil, "the hash tree is being built", "ERR_NOT_READY" end
	return nil, message, code
end

return M
