--- Where the members of the table that a policy file returns stand in its source: for messages
-- that name file and line. The source compiles already; what is too clever for this reader
-- gets no line, and the message names the file alone.

local M = {}

-- Tokens looked at. A file has some hundred thousand at the most; one in which names stand for
-- tables of names that stand for tables would have this reader go on for ever.
local MAX_STEPS = 200000

local OPENS = { ["("] = true, ["{"] = true, ["["] = true, ["function"] = true, ["if"] = true, ["do"] = true,
	["repeat"] = true }
local CLOSES = { [")"] = true, ["}"] = true, ["]"] = true, ["end"] = true, ["until"] = true }

local function newlines(text)
	return select(2, text:gsub("\n", ""))
end

-- The end of a comment or a long string that begins at `at`, or nil.
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

-- One token from `at` on: its last byte, its kind (nil: nothing to keep).
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

-- The token behind the expression at i: a comma or what closes the table.
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

-- Key of the member at i and where its value begins; nil for one without a key.
local function key_at(self, i)
	local token = self.tokens[i]
	if token.kind == "name" and text_at(self, i + 1) == "=" then return "." .. token.text, i + 2 end
	if token.text ~= "[" or text_at(self, i + 2) ~= "]" or text_at(self, i + 3) ~= "=" then return nil, i end
	local key = self.tokens[i + 1]
	if key.kind == "number" then return "[" .. key.text .. "]", i + 4 end
	return "." .. key.text:gsub("^[\"']", ""):gsub("[\"']$", ""), i + 4
end

local read_table

local function read_value(self, i, path, depth)
	local behind = skip(self, i)
	if text_at(self, i) == "{" then
		read_table(self, i, path, depth)
	elseif behind == i + 1 and self.tables[text_at(self, i)] then
		read_table(self, self.tables[text_at(self, i)], path, depth)
	end
	return behind
end

-- Notes the members of the table that opens at i.
function read_table(self, i, path, depth)
	if depth > 8 then return end
	local position = 0
	i = i + 1
	while self.tokens[i] and self.tokens[i].text ~= "}" and self.left > 0 do
		local key, value = key_at(self, i)
		if not key then
			position = position + 1
			key = "[" .. position .. "]"
		end
		self.lines[path .. key] = self.lines[path .. key] or self.tokens[i].line
		i = read_value(self, value, path .. key, depth + 1)
		if text_at(self, i) ~= "}" then i = i + 1 end
	end
end

-- What a statement at the top says of tables: local T = {, T.x = , function T.x(.
local function read_statement(self, i)
	local tokens = self.tokens
	if tokens[i].text == "local" and text_at(self, i + 2) == "=" and text_at(self, i + 3) == "{" then
		self.tables[tokens[i + 1].text] = i + 3
	elseif text_at(self, i + 1) == "." and tokens[i].kind == "name" and tokens[i + 2] then
		self.assigned[#self.assigned + 1] = { of = tokens[i].text, key = "." .. tokens[i + 2].text, line = tokens[i].line,
			table_at = text_at(self, i + 3) == "=" and text_at(self, i + 4) == "{" and i + 4 or nil }
	end
end

local function read_return(self, i)
	if text_at(self, i + 1) == "{" then return read_table(self, i + 1, "", 0) end
	local name = text_at(self, i + 1)
	for _, entry in ipairs(self.assigned) do
		if entry.of == name then
			self.lines[entry.key] = entry.line
			if entry.table_at then read_table(self, entry.table_at, entry.key, 1) end
		end
	end
	if self.tables[name] then read_table(self, self.tables[name], "", 0) end
end

--- Lines of members.
-- @param source  text of a policy file
-- @return table: ".rules[2].count" -> line
function M.of(source)
	local self = { tokens = tokens_of(source), tables = {}, assigned = {}, lines = {}, left = MAX_STEPS }
	local depth = 0
	for i, token in ipairs(self.tokens) do
		if depth == 0 and token.text == "return" then
			read_return(self, i)
			break
		end
		-- The name behind "function" stands where the function's own depth has begun.
		if depth == 0 or (depth == 1 and text_at(self, i - 1) == "function") then read_statement(self, i) end
		if OPENS[token.text] then depth = depth + 1 elseif CLOSES[token.text] then depth = depth - 1 end
	end
	return self.lines
end

return M
