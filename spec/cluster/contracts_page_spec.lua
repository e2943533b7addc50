-- contracts/README.md: every command of it, on a chain that it starts.

local clusters = require("spec.support.cluster")
local files = require("spec.support.files")
local ports = require("spec.support.ports")
local runbooks = require("spec.support.runbook")
local uv = require("luv")
local wait = require("spec.support.wait")

local MOST_S = 300 -- for which the chain may live
local OPERATOR, WALLET = "0x" .. ("1a"):rep(20), "0x" .. ("2b"):rep(20)
local DEPLOYED = '"novaAppRegistry":"(0x%x+)","kmsRegistry":"(0x%x+)","kmsAppId":1}'

describe("contracts/README.md", function()
	local dir, book

	setup(function()
		if clusters.missing() then return end
		dir = files.temp_dir()
		local port = ports.take()
		book = runbooks.read("contracts/README.md", dir, "spec/cluster/contracts_page_spec.lua")
		book.words = {
			["http://127.0.0.1:8545"] = "http://127.0.0.1:" .. port,
			["anvil --silent --block-time 1 &"] =
				("timeout %d anvil --port %d --silent --block-time 1 & echo $! >%s/anvil"):format(MOST_S, port, dir),
		}
	end)

	teardown(function()
		if not dir then return end
		local pid = tonumber(files.read(dir .. "/anvil") or "")
		if pid then
			uv.kill(pid, "sigterm") -- timeout passes it on
			wait.holds(function() return not uv.kill(pid, 0) end)
		end
		files.remove_dir(dir)
	end)

	clusters.test(it, pending)("has commands that work", function()
		local here = { dir = uv.cwd() .. "/contracts" }
		assert.truthy(book:paste("Build and test", here):find("0 failed", 1, true))
		local apps, kms = book:paste("Deploy to a local network", here):match(DEPLOYED)
		assert.truthy(kms, "no addresses")
		here.vars = { APPS = apps, KMS = kms, OPERATOR = OPERATOR, TEE_WALLET = WALLET, TEE_PUBKEY = "0x04" }
		local said = book:paste("Deploy to a local network", here)
		assert.equal(2, select(2, said:gsub("status +1 %(success%)", "")))
		assert.truthy(said:find("0x" .. ("0"):rep(64) .. "\n$"), said)
		assert.same({}, book:unused())
	end)
end)
