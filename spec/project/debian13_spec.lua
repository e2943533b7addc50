--- .ci/debian13 where it cannot do its work: it says why and passes, so that .ci/run goes on. Commands of the system
-- that it calls are stood in for.

local files = require("spec.support.files")

describe(".ci/debian13", function()
	local dir

	before_each(function() dir = files.temp_dir() end)
	after_each(function() files.remove_dir(dir) end)

	-- Stands in for commands: name -> script. None of them mounts or unmounts anything.
	local function run(commands)
		local all = {
			id = "echo 0", mount = "exit 0", umount = "exit 0", mountpoint = "exit 1", git = "printf 'Makefile\\0'",
			["apt-get"] = "echo http://mirror.example/debian/", -- the real one takes seconds
			debootstrap = 'mkdir -p "$3/etc" "$3/proc" "$3/dev" && echo 13 >"$3/etc/debian_version"', chroot = "exit 0",
		}
		for name, script in pairs(commands) do all[name] = script end
		for name, script in pairs(all) do files.write(dir .. "/" .. name, "#!/bin/sh\n" .. script .. "\n", 493) end
		local pipe = io.popen(("PATH='%s':\"$PATH\" TMPDIR='%s' .ci/debian13 2>&1"):format(dir, dir))
		local out = pipe:read("a")
		return pipe:close() == true, out
	end

	-- What it leaves beside the stand-ins.
	local function left()
		local pipe <close> = io.popen(("find '%s' -mindepth 1 -maxdepth 1 -name 'tmp.*'"):format(dir))
		return pipe:read("a")
	end

	for what, case in pairs({
		["its user is not root"] = { { id = "echo 1000" }, "skipped, chroot needs root" },
		["debootstrap cannot reach its mirror"] = {
			{ debootstrap = "echo 'E: Failed getting release file' >&2; mkdir \"$3/etc\"; exit 1" },
			"E: Failed getting release file\nDebian 13: skipped, debootstrap cannot make its root here",
		},
		["root may not mount"] = { { mount = "exit 32" }, "skipped, root may not mount here" },
		["the mirror no longer answers"] = {
			{ chroot = "case $2 in apt-get | dpkg-query) exit 1 ;; esac" }, "skipped, its mirror does not answer",
		},
	}) do
		it("says so and passes where " .. what, function()
			local ok, out = run(case[1])
			assert.is_true(ok, out)
			assert.truthy(out:find(case[2], 1, true), out)
			assert.equal("", left())
		end)
	end

	it("takes the usual mirror where apt names none", function()
		local ok, out = run({ ["apt-get"] = "exit 0", debootstrap = "echo mirror $4; exit 1" })
		assert.is_true(ok, out)
		assert.truthy(out:find("mirror http://deb.debian.org/debian\n", 1, true), out)
	end)

	it("needs no mirror for a root that has all packages", function()
		local ok, out = run({ chroot = 'case $2 in apt-get) exit 1 ;; esac; echo "$@"' })
		assert.is_true(ok, out)
		assert.is_nil(out:find("skipped", 1, true), out)
		assert.truthy(out:find("spec/run build", 1, true), out)
	end)

	it("fails where the build or the tests fail there, or Debian 13 lacks a package", function()
		for _, fault in ipairs({
			'case "$*" in *"make -j2"*) exit 2 ;; esac', 'case "$*" in *"spec/run build"*) exit 1 ;; esac',
			'case "$*" in *"apt-get install"*) exit 100 ;; esac',
		}) do
			local ok, out = run({ chroot = fault })
			assert.is_false(ok, fault)
			assert.is_nil(out:find("skipped", 1, true), out)
		end
		assert.equal("", left())
	end)

	it("is part of .ci/run", function()
		assert.truthy(files.read(".ci/run"):find("\ncounted make test-debian13\n", 1, true))
	end)
end)
