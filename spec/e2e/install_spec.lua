-- `make install` puts a tree in place that works without the one it was built in; a later one and `make uninstall`
-- remove what it left, and nothing else.

local apps = require("spec.support.app")
local expect = require("spec.support.expect")
local files = require("spec.support.files")
local http = require("spec.support.http")
local nodes = require("spec.support.node")
local uv = require("luv")

local SHARE = "/share/nova-kms"
local SHARED = "/opt/kms" .. SHARE

-- Runs make; what it says, whether it succeeded.
local function make(target, dir, more)
	local command = "umask 077; make -s %s BUILD='%s' DESTDIR='%s' %s 2>&1"
	local pipe = io.popen(command:format(target, nodes.build, dir, more or "PREFIX=/opt/kms"))
	local out = pipe:read("a")
	return pipe:close() == true, out
end

-- Paths of the files below a folder, with their modes: path -> "644".
local function tree(dir)
	local found = {}
	local pipe <close> = io.popen(("cd '%s' && find . -type f -printf '%%m %%p\\n'"):format(dir))
	for mode, path in pipe:read("a"):gmatch("(%d+) %.([^\n]+)") do found[path] = mode end
	return found
end

local function set(text)
	local all = {}
	for line in text:gmatch("[^\n]+") do all[line] = true end
	return all
end

describe("make install", function()
	local dir, program

	setup(function()
		dir = files.temp_dir()
		program = dir .. "/opt/kms/bin/nova-kms"
		local ok, out = make("install", dir)
		assert.is_true(ok, out)
	end)
	teardown(function() files.remove_dir(dir) end)

	it("gives a program that finds its scripts and its configuration from any folder", function()
		local code, out = nodes.run({ "version" }, { program = program, cwd = "/" })
		assert.equal(0, code)
		assert.is_truthy(out:find("^nova%-kms %d"))
		local share = dir .. "/opt/kms/share/nova-kms"
		code, out = nodes.run({ "config", "check", "--config", share .. "/config/dev.lua" }, { program = program, cwd = "/" })
		assert.equal(0, code)
		assert.is_truthy(out:find("configuration is valid: " .. share, 1, true))
	end)

	it("installs no devnet: its fakes hold plaintext", function()
		assert.is_nil(uv.fs_stat(dir .. "/opt/kms/share/nova-kms/lua/devnet"))
		for _, command in ipairs({ "devnet", "devnet-odyn" }) do
			local code, _, errors = nodes.run({ command }, { program = program, cwd = dir })
			assert.equal(2, code)
			assert.truthy(errors:find(("unknown command '%s'"):format(command), 1, true), errors)
		end
	end)

	it("gives a program that serves, also as a user who owns none of it", function()
		assert(uv.fs_chmod(dir, 493)) -- 0755
		local user = uv.getuid() == 0 and 65534 or nil
		local data = files.temp_dir()
		finally(function() files.remove_dir(data) end)
		if user then assert(uv.fs_chown(data, user, user)) end
		local node = nodes.start({ program = program, dir = data, uid = user })
		assert.equal(200, http.get(node.port, "/health").status)
		local app = apps.new(node, "400", "installed")
		node:register({ app })
		if user then assert(uv.fs_chown(data .. "/chain.lua", user, user)) end
		expect.ok(app:derive({ path = "p" }))
		assert.equal(0, (node:stop()))
	end)

	it("installs unit, completion, manual, documents, policies and a configuration, readable by all", function()
		local found = tree(dir)
		for path, mode in pairs({
			["/opt/kms/bin/nova-kms"] = "755", ["/opt/kms/lib/systemd/system/nova-kms.service"] = "644",
			["/opt/kms/share/bash-completion/completions/nova-kms"] = "644", ["/opt/kms/etc/nova-kms/node.lua"] = "644",
			["/opt/kms/share/zsh/site-functions/_nova-kms"] = "644", ["/opt/kms/share/man/man1/nova-kms.1.gz"] = "644",
			["/opt/kms/share/doc/nova-kms/README.md"] = "644", ["/opt/kms/share/doc/nova-kms/docs/operating.md"] = "644",
			["/opt/kms/share/nova-kms/config/policy/access.lua"] = "644", ["/opt/kms/share/nova-kms/lua/main.lua"] = "644",
		}) do assert.equal(mode, found[path], path) end
		local pipe <close> = io.popen(("find '%s' -mindepth 1 -type d ! -perm 755"):format(dir))
		assert.equal("", pipe:read("a"))
		local unit = files.read(dir .. "/opt/kms/lib/systemd/system/nova-kms.service")
		assert.truthy(unit:find("\nExecStart=/opt/kms/bin/nova-kms serve --config /opt/kms/etc/nova-kms/node.lua\n", 1, true))
		local completion = dir .. "/opt/kms/share/bash-completion/completions/nova-kms"
		local shell <close> = io.popen(("bash -c '. \"%s\"; COMP_WORDS=(nova-kms ser); COMP_CWORD=1; _nova_kms; "
			.. "echo ${COMPREPLY[@]}; complete -p nova-kms'"):format(completion))
		assert.equal("serve\ncomplete -o default -F _nova_kms nova-kms\n", shell:read("a"))
		assert.is_nil(files.read(completion):find("devnet", 1, true))
	end)

	it("installs a manual and zsh's completion without commands that are not installed", function()
		for _, command in ipairs({ "zcat '%s/opt/kms/share/man/man1/nova-kms.1.gz'",
			"cat '%s/opt/kms/share/zsh/site-functions/_nova-kms'" }) do
			local pipe <close> = io.popen(command:format(dir))
			local text = pipe:read("a")
			assert.truthy(text:find("run a node until SIGTERM or SIGINT", 1, true), text)
			assert.is_nil(text:find("devnet", 1, true))
		end
	end)

	it("names every file in its manifest, except the operator's configuration", function()
		local named = set(files.read(dir .. "/opt/kms" .. SHARE .. "/manifest"))
		local found = tree(dir)
		found["/opt/kms/etc/nova-kms/node.lua"] = nil
		for path in pairs(found) do assert.is_true(named[path], path) end
		for path in pairs(named) do assert.truthy(found[path], path) end
	end)
end)

describe("a later make install", function()
	local dir

	before_each(function() dir = files.temp_dir() end)
	after_each(function() files.remove_dir(dir) end)

	local function installed(target, more)
		local ok, out = make(target or "install", dir, more)
		assert.is_true(ok, out)
		return tree(dir)
	end

	-- Adds files to the tree and, unless `foreign`, to the manifest: what an earlier version installed.
	local function leave(paths, foreign)
		local manifest = dir .. "/opt/kms" .. SHARE .. "/manifest"
		for _, path in ipairs(paths) do
			assert(os.execute(("mkdir -p \"$(dirname '%s')\" && echo old >'%s'"):format(dir .. path, dir .. path)))
			if not foreign then files.write(manifest, files.read(manifest) .. path .. "\n", 420) end
		end
	end

	it("removes what an earlier version left, with its empty folders, and nothing else", function()
		local first = installed()
		local old = { "/opt/kms/share/nova-kms/lua/kms/gone/module.lua", "/opt/kms/bin/nova-kms-old" }
		leave(old)
		leave({ "/opt/kms/share/nova-kms/config/mine.lua", "/opt/kms/bin/other" }, true)
		local second = installed()
		for _, path in ipairs(old) do assert.is_nil(second[path], path) end
		assert.is_nil(uv.fs_stat(dir .. "/opt/kms/share/nova-kms/lua/kms/gone"))
		for path in pairs(first) do assert.truthy(second[path], path) end
		assert.truthy(second["/opt/kms/share/nova-kms/config/mine.lua"] and second["/opt/kms/bin/other"])
		assert.is_nil(files.read(dir .. "/opt/kms" .. SHARE .. "/manifest"):find("gone", 1, true))
	end)

	it("moves code aside that no manifest names, so that it is neither loaded nor lost", function()
		leave({ SHARED .. "/lua/devnet/command.lua", SHARED .. "/lua/main.lua", SHARED .. "/mine.lua" }, true)
		local found = installed()
		assert.is_nil(found[SHARED .. "/lua/devnet/command.lua"])
		assert.is_nil(uv.fs_stat(dir .. SHARED .. "/lua/devnet"))
		assert.equal("old\n", files.read(dir .. SHARED .. "/lua.before/devnet/command.lua"))
		assert.is_nil(found[SHARED .. "/lua.before/main.lua"])
		assert.truthy(found[SHARED .. "/mine.lua"])
		assert.truthy(installed()[SHARED .. "/lua.before/devnet/command.lua"])
	end)

	it("leaves empty folders that it did not empty", function()
		installed()
		assert(os.execute(("mkdir -p '%s/policy/drafts'"):format(dir .. SHARED)))
		leave({ SHARED .. "/lua/kms/gone/a/module.lua" })
		installed()
		assert.truthy(uv.fs_stat(dir .. SHARED .. "/policy/drafts"))
		assert.is_nil(uv.fs_stat(dir .. SHARED .. "/lua/kms/gone"))
		assert.is_true(make("uninstall", dir))
		assert.truthy(uv.fs_stat(dir .. SHARED .. "/policy/drafts"))
		assert.is_nil(uv.fs_stat(dir .. SHARED .. "/lua"))
	end)

	it("removes nothing that lies elsewhere, whatever the manifest names", function()
		installed()
		leave({ "/etc/passwd", "/opt/kms-other/file", "/opt/kms/etc/nova-kms/node.lua" })
		installed()
		for _, path in ipairs({ "/etc/passwd", "/opt/kms-other/file", "/opt/kms/etc/nova-kms/node.lua" }) do
			assert.equal("old\n", files.read(dir .. path), path)
		end
	end)

	it("removes the unit from where it was before, and leaves the operator's configuration as it is", function()
		local config = dir .. "/opt/kms/etc/nova-kms/node.lua"
		installed("install", "PREFIX=/opt/kms UNITDIR=/usr/lib/systemd/system")
		assert.truthy(uv.fs_stat(dir .. "/usr/lib/systemd/system/nova-kms.service"))
		files.write(config, "return { TEE = 'sim' }", 416)
		installed()
		assert.is_nil(uv.fs_stat(dir .. "/usr/lib/systemd/system/nova-kms.service"))
		assert.truthy(uv.fs_stat(dir .. "/opt/kms/lib/systemd/system/nova-kms.service"))
		assert.equal("return { TEE = 'sim' }", files.read(config))
	end)

	it("keeps what a node runs: files are replaced, not written over", function()
		installed()
		local path = dir .. "/opt/kms/bin/nova-kms"
		local before = uv.fs_stat(path).ino
		local kept = assert(io.open(path, "rb"))
		installed()
		kept:close()
		assert.are_not.equal(before, uv.fs_stat(path).ino)
		assert.is_nil(uv.fs_stat(path .. ".new"))
	end)

	it("of the program alone leaves what a full one installed beside it, which uninstall still finds", function()
		local first = installed()
		local old = SHARED .. "/lua/kms/gone/module.lua"
		leave({ old, "/opt/kms/share/doc/nova-kms/old.md" })
		local second = installed("install-program")
		for path in pairs(first) do assert.truthy(second[path], path) end
		assert.is_nil(second[old])
		assert.truthy(second["/opt/kms/share/doc/nova-kms/old.md"])
		assert.is_true(make("uninstall", dir))
		local config = "/opt/kms/etc/nova-kms/node.lua"
		assert.same({ [config] = "644" }, tree(dir))
	end)

	it("of the program alone is what an enclave's image needs", function()
		local found = installed("install-program")
		for _, name in ipairs({ "page.html", "app.js", "charts.js", "style.css", "icon.svg" }) do
			assert.truthy(found["/opt/kms/share/nova-kms/lua/kms/admin/ui/" .. name], name)
		end
		for path in pairs(found) do
			assert.truthy(path:find("^/opt/kms/bin/nova%-kms$") or path:find("^/opt/kms/share/nova%-kms/")
				or path == "/opt/kms/etc/nova-kms/node.lua", path)
		end
	end)

	it("is undone by make uninstall, but for the configuration and files of others", function()
		installed()
		leave({ "/opt/kms/share/nova-kms/config/mine.lua", "/opt/kms/bin/other" }, true)
		local ok, out = make("uninstall", dir)
		assert.is_true(ok, out)
		assert.truthy(out:find("/opt/kms/etc/nova-kms/node.lua stays", 1, true), out)
		local left = {}
		for path in pairs(tree(dir)) do left[#left + 1] = path end
		table.sort(left)
		assert.same({
			"/opt/kms/bin/other", "/opt/kms/etc/nova-kms/node.lua", "/opt/kms/share/nova-kms/config/mine.lua",
		}, left)
		ok, out = make("uninstall", dir)
		assert.is_false(ok)
		assert.truthy(out:find("nothing to remove", 1, true), out)
	end)

	it("refuses a PREFIX that is no absolute path, and a manifest that leads elsewhere", function()
		for _, prefix in ipairs({ "opt/kms", "/opt/k ms", "/opt/../kms", "" }) do
			local ok, out = make("install", dir, ("PREFIX='%s'"):format(prefix))
			assert.is_false(ok, prefix)
			assert.truthy(out:find("not an absolute path", 1, true), out)
		end
		assert.same({}, tree(dir))
		installed()
		files.write(dir .. "/precious", "text")
		leave({}, false)
		local manifest = dir .. "/opt/kms" .. SHARE .. "/manifest"
		files.write(manifest, files.read(manifest) .. "/opt/kms/../../precious\n", 420)
		local ok, out = make("uninstall", dir)
		assert.is_false(ok)
		assert.truthy(out:find("is damaged", 1, true), out)
		assert.equal("text", files.read(dir .. "/precious"))
	end)
end)

describe("the demo application", function()
	it("has an id of its own where the node's application has its usual one", function()
		local node = nodes.start({ env = { KMS_APP_ID = "1000" } })
		node:edit_chain(function(chain)
			local ids = {}
			for _, instance in pairs(chain.instances) do ids[#ids + 1] = instance.app_id end
			table.sort(ids)
			assert.same({ "1000", "1001" }, ids)
		end)
		node:stop()
	end)
end)
