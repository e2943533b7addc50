-- Partitions between real nodes in network namespaces (spec/support/separate.lua). The tests are in partitions.lua,
-- which runs in namespaces of its own, so nothing of the machine's network changes; it takes root, ip and unshare.

local clusters = require("spec.support.cluster")

local ALONE = "unshare --net --mount --propagation private sh -c 'mount -t tmpfs none /run && %s' 2>&1"
local PROBE = "ip netns add n && ip link add v type veth peer name eth0 netns n && ip link add hub type bridge"
local RUN = "exec timeout -k 5 1200 busted --lua=lua5.4 -o TAP spec/cluster/partitions.lua"

local function run(command)
	local pipe <close> = assert(io.popen(ALONE:format(command) .. "; echo status $?"))
	local output = pipe:read("a")
	return output:find("status 0\n$") ~= nil, output
end

describe("nodes in networks that are cut", function()
	local able = run(PROBE)
	local test = able and clusters.test(it, pending) or function(name)
		pending(name .. ": network namespaces take root, ip and unshare")
	end

	test("hold the same when the networks are one again, with all that was acknowledged on either side", function()
		local ok, output = run(RUN)
		assert.is_true(ok, output)
		assert.equal(4, select(2, output:gsub("\nok ", "")) + (output:find("^ok ") and 1 or 0), output)
	end)
end)
