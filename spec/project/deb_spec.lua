--- The Debian package: what `make deb` puts into it, and .ci/deb where it cannot do its work. That it installs, serves
-- and is purged on fresh roots is `make test-deb`.

local files = require("spec.support.files")
local nodes = require("spec.support.node")

local function there(command)
	return os.execute("command -v " .. command .. " >/dev/null 2>&1") == true
end

local function output(command)
	local pipe = assert(io.popen(command .. " 2>&1"))
	local text = pipe:read("a")
	assert(pipe:close(), command .. ":\n" .. text)
	return text
end

local function lines(text)
	local set = {}
	for line in text:gmatch("[^\n]+") do set[line] = true end
	return set
end

describe("make deb", function()
	local dir, package, tree

	-- The path of the package that it writes.
	local function make(out)
		return output(("unset LD_PRELOAD; BUILD='%s' OUT='%s' packaging/deb"):format(nodes.build, out)):match("[^\n]+%.deb")
	end

	setup(function()
		if not there("dpkg-shlibdeps") then return end
		dir = files.temp_dir()
		package = make(dir)
		assert(os.rename(package, dir .. "/nova-kms.deb"))
		tree = dir .. "/tree"
		output(("dpkg-deb -R '%s/nova-kms.deb' '%s'"):format(dir, tree))
	end)
	teardown(function() if dir then files.remove_dir(dir) end end)

	local function field(name)
		return (output(("dpkg-deb -f '%s/nova-kms.deb' %s"):format(dir, name)):gsub("\n$", ""))
	end

	it("names the package by version and architecture, and what it needs", function()
		if not dir then return pending("dpkg-dev is not here") end
		local version = output(nodes.program .. " version"):match("%S+ (%S+)")
		local arch = output("dpkg --print-architecture"):match("%S+")
		assert.equal(("%s/nova-kms_%s_%s.deb"):format(dir, version, arch), package)
		assert.equal(version, field("Version"))
		for _, name in ipairs({ "libc6", "lua-luv", "lua-cjson", "ca-certificates", "adduser", "procps" }) do
			assert.truthy((" " .. field("Depends") .. " "):find("[ ,]" .. name:gsub("%-", "%%-") .. "[ ,]"), name)
		end
	end)

	it("holds the files of make install, Debian's own two, and the settings as the operator's", function()
		if not dir then return pending("dpkg-dev is not here") end
		local named = lines(files.read(tree .. "/usr/share/nova-kms/manifest"))
		local found = lines(output(("cd '%s' && find etc usr -type f -printf '/%%p\n'"):format(tree)))
		for _, path in ipairs({ "/usr/share/doc/nova-kms/copyright", "/usr/share/doc/nova-kms/changelog.gz",
			"/etc/nova-kms/node.lua" }) do
			assert.is_true(found[path], path)
			found[path] = nil
		end
		assert.same(named, found)
		assert.equal("/etc/nova-kms/node.lua\n", files.read(tree .. "/DEBIAN/conffiles"))
		assert.truthy(named["/usr/lib/systemd/system/nova-kms.service"])
		assert.truthy(named["/usr/share/zsh/vendor-completions/_nova-kms"])
	end)

	it("gives all to root, and nothing to be written by others", function()
		if not dir then return pending("dpkg-dev is not here") end
		for line in output(("dpkg-deb -c '%s/nova-kms.deb'"):format(dir)):gmatch("[^\n]+") do
			local mode, owner = line:match("^(%S+) (%S+)")
			assert.equal("root/root", owner, line)
			assert.truthy(mode:find("^[-d]rw[-x]r%-[-x]r%-[-x]$"), line)
		end
	end)

	it("is the same package when it is made again", function()
		if not dir then return pending("dpkg-dev is not here") end
		assert.equal(files.read(dir .. "/nova-kms.deb"), files.read(make(dir)))
	end)

	it("is what lintian takes", function()
		if not dir or not there("lintian") then return pending("dpkg-dev or lintian is not here") end
		assert.equal("", output(("unset LD_PRELOAD; lintian --allow-root '%s/nova-kms.deb'"):format(dir)))
	end)
end)

describe("purging", function()
	-- Runs postrm with stand-ins for what it calls. Returns what of them ran, one a line.
	local function purge(passwd_entry)
		local dir = files.temp_dir()
		finally(function() files.remove_dir(dir) end)
		for _, name in ipairs({ "rm", "chown", "userdel", "groupdel", "systemctl" }) do
			files.write(dir .. "/" .. name, ("#!/bin/sh\necho %s \"$*\" >>'%s/ran'\n"):format(name, dir), 493)
		end
		local getent = ("#!/bin/sh\n[ '%s' ] || exit 2\n[ \"$1\" = group ] || echo '%s'\n"):format(passwd_entry, passwd_entry)
		files.write(dir .. "/getent", getent, 493)
		output(("PATH='%s':\"$PATH\" sh packaging/debian/postrm purge"):format(dir))
		return files.read(dir .. "/ran")
	end

	it("removes the account that the package has made", function()
		local ran = purge("nova-kms:x:103:995:nova-kms node,,,:/var/lib/nova-kms:/usr/sbin/nologin")
		assert.truthy(ran:find("rm -rf /var/lib/nova-kms /etc/nova-kms\n", 1, true))
		assert.truthy(ran:find("\nuserdel nova-kms\ngroupdel nova-kms\n", 1, true))
	end)

	it("leaves an account that was there before it", function()
		for _, entry in ipairs({ "nova-kms:x:1000:1000:A person:/home/nova-kms:/bin/bash", "" }) do
			assert.is_nil(purge(entry):find("del nova-kms", 1, true), entry)
		end
	end)
end)

describe(".ci/deb", function()
	local dir

	before_each(function() dir = files.temp_dir() end)
	after_each(function() files.remove_dir(dir) end)

	-- Stands in for commands: name -> script.
	local function run(commands)
		local all = { id = "echo 0", mount = "exit 32", umount = "exit 0", mountpoint = "exit 1", ["apt-get"] = "exit 0",
			debootstrap = 'mkdir -p "$3/etc" && echo 12 >"$3/etc/debian_version"', chroot = "exit 1" }
		for name, script in pairs(commands) do all[name] = script end
		for name, script in pairs(all) do files.write(dir .. "/" .. name, "#!/bin/sh\n" .. script .. "\n", 493) end
		return output(("PATH='%s':\"$PATH\" TMPDIR='%s' .ci/deb '%s'"):format(dir, dir, nodes.build))
	end

	for what, case in pairs({
		["its user is not root"] = { { id = "echo 1000" }, "skipped, chroot needs root" },
		["root may not mount"] = { {}, "skipped, root may not mount here" },
		["the mirror no longer answers"] = {
			{ mount = "exit 0", ["apt-get"] = "echo http://mirror.example/debian/" }, "skipped, its mirror does not answer",
		},
		["debootstrap cannot reach its mirror"] = { { debootstrap = "exit 1" }, "skipped, debootstrap cannot make its root" },
	}) do
		it("says so and passes where " .. what, function()
			assert.truthy(run(case[1]):find("Debian package: " .. case[2], 1, true))
			assert.equal("", output(("find '%s' -mindepth 1 -maxdepth 1 -name 'tmp.*'"):format(dir)))
		end)
	end

	it("is part of .ci/run", function()
		assert.truthy(files.read(".ci/run"):find("\ncounted make test-deb\n", 1, true))
	end)
end)
