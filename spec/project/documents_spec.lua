--- Every document: what it names exists (files, links, settings with their defaults, metrics, commands), and somebody
-- runs each of its commands, or it says why nobody does. spec/support/document.lua describes how a document says that.

local commands = require("spec.support.commands")
local documents = require("spec.support.document")
local files = require("spec.support.files")
local schema = require("kms.config.schema")
local uv = require("luv")

-- Words in capitals that are no settings: others' environment variables, and variables of commands and of make.
local OTHER_WORDS = {
	AWS_ACCESS_KEY_ID = true, AWS_DEFAULT_REGION = true, AWS_ENDPOINT_URL = true, AWS_ENDPOINT_URL_S3 = true,
	AWS_REGION = true, AWS_SECRET_ACCESS_KEY = true, AWS_SESSION_TOKEN = true, CAP_SYS_ADMIN = true, ETH_RPC_URL = true,
	FORGE_SNAPSHOT_CHECK = true, NOTIFY_SOCKET = true, SOURCE_DATE_EPOCH = true, XDG_STATE_HOME = true,
	NOVA_KMS_CONFIG = true, KMS_REGISTRY = true, KMS_VECTORS = true, RUN_TESTS = true,
	NEW_CLUSTER = true, NEW_VERSION = true, OLD_CLUSTER = true, OLD_KMS = true, TEE_PUBKEY = true, TEE_WALLET = true,
}
local PROGRAMS = {
	make = true, ["nova-kms"] = true, ["build/nova-kms"] = true, cast = true, curl = true, sudo = true, docker = true,
}
local COMMANDS_SPEC = "spec/project/commands_spec.lua" -- runs whatever names it

local all = {}
for i, path in ipairs(documents.paths()) do all[i] = documents.read(path) end

local settings = {}
for _, part in ipairs(schema.sections()) do
	for _, setting in ipairs(part.keys) do
		settings[setting.name] = setting
		if setting.alias then settings[setting.alias] = setting end
	end
end

local function lines_of(command)
	local set = {}
	local pipe <close> = assert(io.popen(command))
	for line in pipe:lines() do set[line] = true end
	return set
end

-- Calls of a function for every line outside blocks, with where it stands.
local function each_line(document, call)
	for _, line in ipairs(document.prose) do call(line.text, ("%s:%d"):format(document.path, line.number)) end
end

-- Whether a name that ends in `_` is how some of the metrics begin.
local function begins(metrics, name)
	for metric in pairs(metrics) do
		if name:find("_$") and metric:sub(1, #name) == name then return true end
	end
	return false
end

local function where(document, block) return ("%s:%d"):format(document.path, block.line) end

-- The program that a line of code begins with, if it is one that readers run; else nil.
local function command_in(line)
	local program = line:match("^%s*([%w/-]+) %S")
	return PROGRAMS[program] and program
end

-- A path as seen from a document's folder, without `..`.
local function from(document, path)
	local joined = (document.path:match("^(.*/)") or "") .. path
	local before
	repeat
		before, joined = joined, joined:gsub("[^/]+/%.%./", "", 1)
	until joined == before
	return joined
end

describe("every document", function()
	it("is found", function()
		local paths = {}
		for _, document in ipairs(all) do paths[document.path] = true end
		for _, path in ipairs({ "README.md", "SECURITY.md", "docs/operating.md", "clients/python/README.md" }) do
			assert.is_true(paths[path], path)
		end
	end)

	it("has links to files and headings that exist", function()
		local anchors, count = {}, 0
		for _, document in ipairs(all) do
			anchors[document.path] = {}
			for _, heading in ipairs(document.headings) do anchors[document.path][documents.anchor(heading)] = true end
		end
		for _, document in ipairs(all) do
			each_line(document, function(text, place)
				for link in text:gmatch("%]%(([^)%s]+)%)") do
					if not link:find("^https?://") then
						local file, anchor = link:match("^([^#]*)#?(.*)$")
						local path = file == "" and document.path or from(document, file)
						assert.truthy(uv.fs_stat(path), ("%s: no file %s"):format(place, path))
						if anchor ~= "" then
							assert.truthy(anchors[path] and anchors[path][anchor], ("%s: no heading %s"):format(place, link))
						end
						count = count + 1
					end
				end
			end)
		end
		assert.is_true(count > 100)
	end)

	it("names settings that exist, with their defaults", function()
		local count, defaults = 0, 0
		for _, document in ipairs(all) do
			each_line(document, function(text, place)
				for name in text:gmatch("%f[%w_]%u[%u%d]*_[%u%d_]+%f[^%w_]") do
					-- Codes of errors and names in C are checked where code is documented.
					local known = settings[name] or OTHER_WORDS[name] or name:find("^ERR_") or name:find("^KMS_[DO]")
						or files.read("Makefile"):find("%f[%w_]" .. name .. "%f[^%w_]")
					assert.truthy(known, ("%s: there is no setting %s"):format(place, name))
					count = count + 1
				end
				for name, value in text:gmatch("(%u[%u_]+) %(([%d,]+)%)") do
					local setting = settings[name]
					if setting then
						assert.equal(setting.default, math.tointeger(value:gsub(",", "")), place .. ": default of " .. name)
						defaults = defaults + 1
					end
				end
			end)
		end
		assert.is_true(count > 200)
		assert.is_true(defaults > 5)
	end)

	it("names metrics and functions that exist", function()
		local metrics = lines_of("grep -rhoE '\"(kms|process)_[a-z_]+\"' lua/kms | tr -d '\"' | sort -u")
		local code = lines_of("grep -rhoE '\\bkms_[a-z0-9_]+' include csrc spec/native spec/support | sort -u")
		local count = 0
		for _, document in ipairs(all) do
			each_line(document, function(text, place)
				text = text:gsub("kms_count_[%w_]+", "") -- those of operators' policies
				for name in text:gmatch("%f[%w_]kms_[%l%d_]+%f[^%w_]") do
					local known = metrics[name] or metrics[name:gsub("_bucket$", "")] or code[name] or begins(metrics, name)
					-- `kms_noun_verb` is a form; kms_app_id and kms_registry are members and an option.
					if name ~= "kms_noun_verb" and name ~= "kms_app_id" and name ~= "kms_registry" then
						assert.truthy(known, ("%s: there is no %s"):format(place, name))
						count = count + (metrics[name] and 1 or 0)
					end
				end
			end)
		end
		assert.is_true(count > 100)
	end)

	it("has commands that a spec runs, or says why none does", function()
		local run, looked_at = 0, 0
		for _, document in ipairs(all) do
			for _, block in ipairs(documents.commands(document)) do
				local place = where(document, block)
				if block.not_run then
					local count, wrong = commands.look(block.text)
					assert.truthy(count and count > 0, ("%s: %s"):format(place, wrong))
					looked_at = looked_at + 1
				else
					local spec = block.run_by
					assert.truthy(spec, place .. ": nobody runs this block: write `run by` or `not run` before it")
					local text = assert(files.read(spec), ("%s: no file %s"):format(place, spec))
					if spec ~= COMMANDS_SPEC then
						assert.truthy(text:find(('"%s"'):format(document.path), 1, true), ("%s: %s does not read it"):format(place, spec))
						assert.truthy(text:find(":unused()", 1, true), spec .. " does not check that it ran everything")
					end
					run = run + 1
				end
			end
		end
		assert.is_true(run >= 40, run)
		assert.is_true(looked_at <= 12, "too many blocks are not run: " .. looked_at)
	end)

	it("has commands in its sentences that exist", function()
		local count = 0
		for _, document in ipairs(all) do
			local lines = {}
			each_line(document, function(text) lines[#lines + 1] = text end)
			for code in table.concat(lines, " "):gmatch("`([^`]+)`") do
				local program = code:match("^(%S+) %-?%-?%w")
				if program == "make" or program == "nova-kms" or program == "build/nova-kms" then
					local looked, wrong = commands.look((code:gsub("[()]", " "):gsub("|%S+", "")))
					assert.truthy(looked, ("%s: %s"):format(document.path, wrong))
					count = count + 1
				end
				local option = code:match("^%-%-%l[%w-]*")
				if option then
					assert.is_true(commands.is_option(option), ("%s: no command has %s"):format(document.path, option))
				end
			end
		end
		assert.is_true(count > 60)
	end)

	it("has commands in blocks of `sh` only, and Lua that Lua reads", function()
		local languages = { sh = true, lua = true, js = true, python = true, go = true, html = true, json = true, c = true }
		local count = 0
		for _, document in ipairs(all) do
			for _, block in ipairs(document.blocks) do
				assert.is_true(languages[block.language] or block.language == "", where(document, block))
				if block.language == "lua" then
					assert.truthy(load(block.text) or load("return {" .. block.text .. "}"), where(document, block))
					count = count + 1
				elseif block.language == "" then
					for line in block.text:gmatch("[^\n]+") do assert.is_nil(command_in(line), where(document, block)) end
				end
			end
			each_line(document, function(text, place) assert.is_nil(text:match("^    ") and command_in(text), place) end)
		end
		assert.is_true(count >= 4)
	end)
end)

describe("README.md", function()
	it("is short", function()
		local lines = 0
		for _ in io.lines("README.md") do lines = lines + 1 end
		assert.is_true(lines <= 150)
	end)
end)

describe("spec/support/commands.lua", function()
	it("refuses what is not there", function()
		for _, text in ipairs({
			"make nothing", "make test NOTHING=1", "make build/obj/csrc/nothing.o", "nova-kms nothing",
			"nova-kms policy nothing",
			"nova-kms call get --nothing", "build/nova-kms call get -x", "sudo systemctl nothing nova-kms", "nothing-here -x",
			"docker build -f examples/enclave/Nothing .", "true && nova-kms nothing", "nova-kms status | nova-kms nothing",
			"A=$(nova-kms nothing)", "curl --nothing", "editor /usr/share/nova-kms/config/nothing.lua", "make \\\n nothing",
		}) do
			assert.is_nil(commands.look(text), text)
		end
	end)

	it("takes what is there", function()
		for text, count in pairs({
			["make test # everything"] = 1, ["make test-lua SPECS=spec/http"] = 1, ["make build/obj/csrc/store/store.o"] = 1,
			["nova-kms call get --key=k --url ..."] = 1, ["nova-kms loglevel [LEVEL]"] = 1, ["nova-kms policy show --help"] = 1,
			["sudo install -m 644 /dev/stdin x <<'END'\nnothing at all\nEND\nmake"] = 2, ["curl -s 'a; b' && \\\n make"] = 2,
			["sudo apt install ./build/nova-kms_*.deb"] = 1,
		}) do
			assert.same({ count }, { commands.look(text) })
		end
	end)
end)
