--- A batch under way: which of its operations go into one message, what came of them, and which are sent again.
--
-- What a node answers is opened in guarded memory, which the process may have little of. A message whose answer has no
-- room there is sent again in halves, down to one operation.

local delivery = require("kms.client.delivery")
local failure = require("kms.client.failure")
local native = require("kms_native")

local M = {}

local MOST = 1 -- operations of a call that is not a batch
local TOO_LARGE = 413 -- HTTP status
local NO_ROOM = "ERR_LOCKED_MEMORY"
local REFUSED = 4 -- class of HTTP statuses with which nothing was done
local OVERTAKEN = "; not sent again, since a later operation of the batch has written its key, or may have"
local NOT_AGAIN = "; not sent again, since it may have been made (retry_writes allows it)"

-- What went wrong with an operation for which guarded memory had no room, even alone.
local function no_room(why)
	if why.code ~= NO_ROOM then return why end
	local size, used = native.guarded()
	return failure.new(("%s: of the %d bytes that this process has locked for secrets %d are in use, and this operation "
		.. "needs more: let it lock more (ulimit -l, LimitMEMLOCK= of systemd)"):format(why.message, size, used), NO_ROOM)
end

-- Takes operations from the front of the queue into a message. Those that no node takes get their outcome.
-- Returns message, positions of those in it, the queue behind them | nil, failure.
local function fill(run)
	local room, why = MOST, nil
	if #run.operations > 1 then room, why = run.delivery:room() end
	if not room then return nil, why end
	room = math.min(room, run.most or room)
	local message, text, code = native.client_message()
	if not message then return nil, failure.new(text, code) end
	local positions, at = {}, 1
	while run.queue[at] and #positions < room do
		local position = run.queue[at]
		local operation = run.operations[position]
		local added, reason, name = message:add(operation.kind, operation.fields)
		if added == false or name == NO_ROOM and #positions > 0 then break end
		if added then
			positions[#positions + 1] = position
		else
			run.outcomes[position] = no_room(failure.new(reason, name))
		end
		at = at + 1
	end
	return message, positions, table.move(run.queue, at, #run.queue, 1, {})
end

-- Gives out what is known, in the order of the operations.
local function give_out(run)
	while run.done and run.outcomes[run.next] do
		local outcome = run.outcomes[run.next]
		run.outcomes[run.next] = false
		run.next = run.next + 1
		run.done(run.next - 1, outcome)
	end
end

-- Whether an operation is to be sent again when its node is less busy. overtaken: a later one has written its key.
local function waits(run, operation, outcome, overtaken)
	if not run.busy or not failure.BUSY[outcome.status] then return false end
	local may_wait = run.delivery:may_wait(operation, outcome)
	if may_wait and not overtaken then return true end
	outcome.message = outcome.message .. (may_wait and OVERTAKEN or NOT_AGAIN)
	return false
end

-- Which operations of a message are to be sent again when its node is less busy, by position: in their order, so that
-- none comes behind a later write of its key that was made, or may have been.
local function busy_ones(run, positions)
	local busy, written = {}, {}
	for i = #positions, 1, -1 do
		local operation, outcome = run.operations[positions[i]], run.outcomes[positions[i]]
		local key = operation.fields.key
		if waits(run, operation, outcome, key and written[key]) then
			busy[positions[i]] = outcome
		elseif key and delivery.WRITES[operation.kind] and (outcome.status or 0) // 100 ~= REFUSED then
			written[key] = true
		end
	end
	return busy
end

-- Waits for the node of operations, by position. Returns whether it has.
local function wait_for(run, busy)
	local wait_s, message = 1, nil
	for _, outcome in pairs(busy) do
		message, wait_s = outcome.message, math.max(wait_s, outcome.wait_s or 1)
	end
	return message and run.busy(message, wait_s)
end

-- Which operations of a message are to be sent again: reads whose answers had no room beside others, and what
-- a node was too busy for, where the caller waits for it.
local function to_repeat(run, list, positions)
	local reads, more = not delivery.has_writes(list), false
	for _, position in ipairs(positions) do more = more or reads and run.outcomes[position].result end
	local busy = busy_ones(run, positions)
	local waited, again = wait_for(run, busy), {}
	for _, position in ipairs(positions) do
		local too_large = more and run.outcomes[position].status == TOO_LARGE
		if waited and busy[position] or too_large then again[#again + 1] = position end
	end
	return again
end

-- Whether a message that failed for want of guarded memory is sent again, with half as many operations.
local function halves(run, why, positions)
	if not why or why.code ~= NO_ROOM or #positions == 1 then return false end
	run.most = #positions // 2
	collectgarbage() -- frees the results that were opened before there was no more room
	return true
end

local function note(run, list, positions, got, why)
	for i, position in ipairs(positions) do
		run.outcomes[position] = got and got[i] or delivery.failed(list[i], #list == 1 and no_room(why) or why)
	end
end

-- Runs one message. Returns true | nil, failure.
local function run_message(run)
	local message, positions, rest = fill(run)
	if not message then
		local why = positions
		if failure.BUSY[why.status] and run.busy and run.busy(why.message, math.max(why.wait_s or 1, 1)) then return true end
		return nil, why
	end
	run.queue = rest
	if #positions == 0 then return true end
	local list = {}
	for i, position in ipairs(positions) do list[i] = run.operations[position] end
	local got, why = run.delivery:run(list, message)
	message:close()
	note(run, list, positions, got, why)
	-- Behind a write that may have been done or not, nothing is sent.
	local unknown = why and why.sent and delivery.has_writes(list)
	local again = not unknown and (halves(run, why, positions) and positions or to_repeat(run, list, positions)) or {}
	for _, position in ipairs(again) do run.outcomes[position] = nil end
	if #again > 0 then
		run.queue = table.move(rest, 1, #rest, #again + 1, again)
	elseif not got and (unknown or why.code ~= NO_ROOM) then
		return nil, why
	end
	return true
end

--- Runs operations, as kms.client's Client:batch says.
-- @param over kms.client.delivery
-- @return outcomes in the order of the operations, nil with `done`
function M.run(over, operations, done, busy)
	local run = { delivery = over, operations = operations, done = done, busy = busy, outcomes = {}, queue = {}, next = 1 }
	for position = 1, #operations do run.queue[position] = position end
	while #run.queue > 0 do
		local ok, why = run_message(run)
		if not ok then
			for _, position in ipairs(run.queue) do
				run.outcomes[position] = failure.new("not sent: " .. why.message, why.code, why.status, why.wait_s)
			end
			run.queue = {}
		end
		give_out(run)
	end
	return not done and run.outcomes or nil
end

return M
