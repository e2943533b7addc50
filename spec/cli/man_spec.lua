--- `nova-kms man`: what --help says is in the manual page, and groff takes it without a warning.

local nodes = require("spec.support.node")
local files = require("spec.support.files")

local _, PAGE = nodes.run({ "man" })

-- The page as a terminal shows it, without line breaks, and what groff warns about; nil where man is not here.
local function shown()
	if not os.execute("command -v man >/dev/null 2>&1 && command -v groff >/dev/null 2>&1") then return nil end
	local dir = files.temp_dir()
	files.write(dir .. "/nova-kms.1", PAGE)
	local function output(command)
		local pipe <close> = io.popen(("cd %s && unset LD_PRELOAD; LC_ALL=C.UTF-8 MANWIDTH=400 %s"):format(dir, command))
		return pipe:read("a")
	end
	local text = output("man --no-hyphenation --no-justification ./nova-kms.1 2>/dev/null | col -b")
	local warnings = output("man --warnings ./nova-kms.1 2>&1 >/dev/null")
	files.remove_dir(dir)
	return text, warnings
end

-- Without the language of the page.
local function plain(text)
	return (text:gsub("\\f[BIR]", ""):gsub("\\%-", "-"):gsub("\\%(aq", "'"):gsub("\\%(ha", "^"):gsub("\\%(ti", "~")
		:gsub("\\&", ""):gsub("\\e", "\\"))
end

-- Calls each(line) with each line that --help has for a command and those below it.
local function help_lines(command, each)
	local words = { table.unpack(command) }
	words[#words + 1] = "--help"
	local code, out = nodes.run(words)
	assert.equal(0, code, table.concat(words, " "))
	for line in out:gmatch("[^\n]+") do each(line:match("^%s*(.-)%s*$")) end
	for name in (out:match("\nCommands:\n(.-)\n\n") or ""):gmatch("  ([%w-]+)[^\n]*") do
		if #command < 2 and not name:find("^devnet") then
			words = { table.unpack(command) }
			words[#words + 1] = name
			help_lines(words, each)
		end
	end
end

describe("the manual page", function()
	it("says what --help of each command says", function()
		local page, count = plain(PAGE), 0
		help_lines({}, function(line)
			-- Help has term and text in columns, the page on lines of their own.
			for text in (line:gsub("  +", "\n") .. "\n"):gmatch("([^\n]+)\n") do
				if not text:find("^Usage:") and not text:find("^%u%l+:$") then
					text = text:gsub("^Exit codes: ", "")
					assert.truthy(page:find(text, 1, true) or page:lower():find(text:lower(), 1, true), text)
					count = count + 1
				end
			end
		end)
		assert.is_true(count > 200)
	end)

	it("names the version, the files and the exit codes", function()
		local _, version = nodes.run({ "version" })
		assert.truthy(PAGE:find('.TH NOVA-KMS 1 "" "' .. version:match("[^\n]+") .. '"', 1, true))
		for _, text in ipairs({ ".SH EXIT STATUS\n0 success", "/etc/nova\\-kms/node.lua", "NOTIFY_SOCKET" }) do
			assert.truthy(PAGE:find(text, 1, true), text)
		end
	end)

	it("is what groff takes, to the last sign", function()
		local text, warnings = shown()
		if not text then return pending("man is not here") end
		assert.equal("", warnings)
		assert.truthy(text:find("nova-kms - a key-management node", 1, true), text:sub(1, 300))
		assert.truthy(text:find("~/.local/state by default", 1, true))
		assert.is_nil(text:find("\\[f(&-]"))
	end)
end)
