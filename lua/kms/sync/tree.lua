--- Makes the store's hash tree ready to be compared (docs/protocol.md section 9.1).

local M = {}

-- Of building, and of tidying, milliseconds each: sustained writes, or a caller with another secret, must not keep one
-- caller at it for ever.
local MAX_STEPS = 4096

--- What a call of the store's hash tree gave, with ERR_STATE as callers are told it.
-- @return the same | nil, message, code
function M.given(value, message, code)
	if value == nil and code == "ERR_STATE" then return nil, "the hash tree is being built", "ERR_NOT_READY" end
	return value, message, code
end

-- Returns true: it is built | nil, message, code.
local function build(store, secret)
	for _ = 1, MAX_STEPS do
		local built, message, code = M.given(store:tree_key(secret))
		if built ~= false then return built, message, code end
	end
	return nil, "the hash tree is being built", "ERR_NOT_READY"
end

--- Keeps the tree under a master secret, and computes the digests that changed, in jobs so short that others have
-- their turn between them. Yields.
-- @param secret  master secret in use, or nil: there is none yet
-- @return true | nil, message, code: ERR_NOT_READY without a secret, while another coroutine builds the tree, or when
--   others change it faster than its digests are computed
function M.prepare(store, secret)
	if not secret then return nil, "there is no master secret yet", "ERR_NOT_READY" end
	local ok, message, code = build(store, secret)
	if not ok then return nil, message, code end
	for _ = 1, MAX_STEPS do
		local more
		more, message, code = M.given(store:tidy_tree())
		if more == false then return true end
		if more == nil then return nil, message, code end
	end
	return nil, "the hash tree changes too fast", "ERR_NOT_READY"
end

return M
