--- Finds the lines of the members of the table that a policy file returns, for messages that name file and line.
-- The source is known to compile. A member that this reader cannot follow gets no line of its own.

local M = {}

-- Tokens that are read. A file has some hundred thousand at most, but tables that name tables that name tables
-- could make the reader visit the same ones without end.
local MAX_STEPS = 200000
local MAX_DEPTH = 8

local OPENS = { ["("] = true, ["{"] = true, ["["] = true, ["function"] = true, ["if"] = true, ["do"] = true,
	["repeat"] = true }
local CLOSES = { [")"] = true, ["}"] = true, ["]"] = true, ["end"] = true, ["until"] = true }

local function newlines(text)
	return select(2, text:gsub("\n", ""))
end

-- Last byte of the long string or long comment whose bracket begins at `at`, or nil.
local function long_end(source, at)
	local level = source:match("^%[(=*)%[", at)
	if not level then return nil end
	local _, last = source:find("]" .. level .. "]", at, true)
	return last or #source
end

local function comment_end(source, at)
	if source:sub(at, at + 1) ~= "--" then return nil end
	return long_end(source, at + 2) or (source:find("\n", at, true) or #source + 1) - 1
end

local function quoted_end(source, at)
	local quote = source:sub(at, at)
	if quote ~= '"' and quote ~= "'" then return nil end
	local last = at + 1
	while last <= #source and source:sub(last, last) ~= quote do
		last = last + (source:sub(last, last) == "\\" and 2 or 1)
	end
	return last
end

-- The token that begins at `at`. Returns its last byte, and its kind (nil: space or a comment).
local function next_token(source, at)
	local last = select(2, source:find("^%s+", at)) or comment_end(source, at)
	if last then return last, nil end
	last = long_end(source, at) or quoted_end(source, at)
	if last then return last, "text" end
	last = select(2, source:find("^[%a_][%w_]*", at))
	if last then return last, "name" end
	last = select(2, source:find("^%d[%w.]*", at))
	if last then return last, "number" end
	return select(2, source:find("^[=~<>]=", at)) or at, "sign"
end

local function tokens_of(source)
	local tokens, at, line = {}, 1, 1
	while at <= #source do
		local last, kind = next_token(source, at)
		local text = source:sub(at, last)
		if kind then tokens[#tokens + 1] = { kind = kind, text = text, line = line } end
		line, at = line + newlines(text), last + 1
	end
	return tokens
end

local function text_at(self, i)
	return self.tokens[i] and self.tokens[i].text
end

-- Index of the token after the expression at i: a separator or the brace that closes the table.
local function skip(self, i)
	local depth = 0
	while self.tokens[i] do
		self.left = self.left - 1
		local text = self.tokens[i].text
		if depth == 0 and (text == "," or text == ";" or text == "}") then return i end
		if OPENS[text] then depth = depth + 1 elseif CLOSES[text] then depth = depth - 1 end
		i = i + 1
	end
	return i
end

-- The member at i: its key (nil: it has none) and the index of its value.
local function key_at(self, i)
	local token = self.tokens[i]
	if token.kind == "name" and text_at(self, i + 1) == "=" then return "." .. token.text, i + 2 end
	if token.text ~= "[" or text_at(self, i + 2) ~= "]" or text_at(self, i + 3) ~= "=" then return nil, i end
	local key = self.tokens[i + 1]
	if key.kind == "number" then return "[" .. key.text .. "]", i + 4 end
	return "." .. key.text:gsub("^[\"']", ""):gsub("[\"']$", ""), i + 4
end

local read_table

-- Reads the value at i, which ends before `after`. A name stands for its table: the member's line is then the
-- table's own, since a list may name many on one line.
local function read_value(self, i, after, path, depth)
	local named = after == i + 1 and self.tables[text_at(self, i)]
	if named then self.lines[path] = self.tokens[named].line end
	if named or text_at(self, i) == "{" then read_table(self, named or i, path, depth) end
end

-- Records the lines of the members of the table that opens at i.
function read_table(self, i, path, depth)
	if depth > MAX_DEPTH then return end
	local position = 0
	i = i + 1
	while self.tokens[i] and self.tokens[i].text ~= "}" and self.left > 0 do
		local key, value = key_at(self, i)
		if not key then
			position = position + 1
			key = "[" .. position .. "]"
		end
		self.lines[path .. key] = self.lines[path .. key] or self.tokens[i].line
		i = skip(self, value)
		read_value(self, value, i, path .. key, depth + 1)
		if text_at(self, i) ~= "}" then i = i + 1 end
	end
end

-- Index of the token after the value of an assignment: the next one, when a statement can begin there.
local function assigned_end(self, i)
	local after = self.tokens[i + 1]
	local ends = not after or after.text == ";"
		or after.kind == "name" and after.text ~= "and" and after.text ~= "or"
	return ends and i + 1 or nil
end

-- Reads a statement at the top level that may define a table or a member: local T = {...}, T.x = value,
-- function T.x(...).
local function read_statement(self, i)
	local tokens = self.tokens
	if tokens[i].text == "local" and text_at(self, i + 2) == "=" and text_at(self, i + 3) == "{" then
		self.tables[tokens[i + 1].text] = i + 3
	elseif text_at(self, i + 1) == "." and tokens[i].kind == "name" and tokens[i + 2] then
		self.assigned[#self.assigned + 1] = { of = tokens[i].text, key = "." .. tokens[i + 2].text, line = tokens[i].line,
			value_at = text_at(self, i + 3) == "=" and i + 4 or nil }
	end
end

local function read_return(self, i)
	if text_at(self, i + 1) == "{" then return read_table(self, i + 1, "", 0) end
	local name = text_at(self, i + 1)
	for _, entry in ipairs(self.assigned) do
		if entry.of == name then
			self.lines[entry.key] = entry.line
			local at = entry.value_at
			if at then read_value(self, at, assigned_end(self, at), entry.key, 1) end
		end
	end
	if self.tables[name] then read_table(self, self.tables[name], "", 0) end
end

--- Finds the lines of all members.
-- @param source  text of a policy file
-- @return table: path of a member (".rules[2].count") -> line
function M.of(source)
	local self = { tokens = tokens_of(source), tables = {}, assigned = {}, lines = {}, left = MAX_STEPS }
	local depth = 0
	for i, token in ipairs(self.tokens) do
		if depth == 0 and token.text == "return" then
			read_return(self, i)
			break
		end
		-- In "function T.x(", the depth has already grown when the name is reached.
		if depth == 0 or (depth == 1 and text_at(self, i - 1) == "function") then read_statement(self, i) end
		if OPENS[token.text] then depth = depth + 1 elseif CLOSES[token.text] then depth = depth - 1 end
	end
	return self.lines
end

return M
