-- The status page in a real browser (headless Chromium): `make ui`. What it shows of a cluster of seven, of 200
-- namespaces, of custodians, on a narrow screen, by keyboard, when the node is gone. UI_SHOTS: a folder of pictures.

local apps = require("spec.support.app")
local browsers = require("spec.support.browser")
local crypto = require("spec.support.crypto")
local custodians = require("spec.support.custodians")
local expect = require("spec.support.expect")
local files = require("spec.support.files")
local nodes = require("spec.support.node")
local peers = require("spec.support.peer")
local wait = require("spec.support.wait")

local CHROMIUM = os.getenv("CHROMIUM")
local SHOTS = os.getenv("UI_SHOTS")
if SHOTS == "" then SHOTS = nil end
local HOSTILE = "https://example.org/?<img src=x onerror=alert(1)>"
local NAMESPACES, MEMBERS = 200, 7
local SHOWN = "document.querySelector('#members table') !== null"
-- WCAG 2.1, 1.4.3: the contrast of each text with its card must be 4.5 at least.
local CONTRAST = [[(() => {
  const rgb = (text) => text.match(/\d+(\.\d+)?/g).map(Number);
  const linear = (v) => v / 255 <= 0.03928 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4;
  const light = (c) => { const [r, g, b] = c.map(linear);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const back = (e) => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor);
    if (c.length < 4 || c[3] > 0) return c.slice(0, 3); } return [255, 255, 255]; };
  let least = 99;
  for (const e of document.querySelectorAll("h1, h2, dt, dd, dd span, th, td, p, caption, code, figcaption b")) {
    const a = light(rgb(getComputedStyle(e).color).slice(0, 3)), b = light(back(e));
    least = Math.min(least, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
  }
  return least;
})()]]

describe("the status page in a browser", function()
	local dir, node, port, browser

	local function start(env)
		port = nodes.free_port()
		env.METRICS_ADDR, env.MASTER_SECRET_HEX = "127.0.0.1:" .. port, ("2a"):rep(32)
		return nodes.start({ env = env })
	end

	setup(function()
		if not CHROMIUM then return end
		dir = files.temp_dir()
		files.write(dir .. "/custodians.lua", custodians.file(custodians.make(dir, { "alice", "bob", "carol" }), 2))
		node = start({
			AUDIT = dir .. "/audit.log", RECOVERY = dir .. "/custodians.lua", WRITE_COPIES = "1",
			RATE_LIMIT_PER_MINUTE = "0", NONCE_RATE_LIMIT_PER_MINUTE = "0",
		})
		local registered = {}
		for i = 1, NAMESPACES do registered[i] = apps.new(node, tostring(5000 + i), "ui app " .. i) end
		node:register(registered)
		for i = 1, NAMESPACES do
			expect.ok(registered[i]:put("key", ("x"):rep(i * 10)))
			registered[i]:close()
		end
		local members = {}
		for i = 1, MEMBERS - 1 do members[i] = peers.new(node, "ui peer " .. i) end
		node:register(members)
		node:edit_chain(function(chain) chain.instances[members[1].wallet].url = HOSTILE end)
		wait.until_true("the members are known", function() return node:status().cluster.total_instances == MEMBERS end)
		browser = browsers.start(CHROMIUM, dir .. "/profile")
	end)
	teardown(function()
		if browser then browser:close() end
		if node then node:stop() end
		if dir then files.remove_dir(dir) end
	end)

	local function test(name, fn)
		it(name, function()
			if not CHROMIUM then return pending("no browser: make ui") end
			fn()
		end)
	end

	local function open(options)
		browser:open(("http://127.0.0.1:%d/ui"):format(port), options)
		browser:wait(SHOWN)
	end

	local function text_of(id)
		return browser:eval(("document.getElementById('%s').innerText"):format(id))
	end

	local function picture(name)
		if SHOTS then browser:picture(("%s/%s.png"):format(SHOTS, name), crypto.unbase64) end
	end

	local function contains(id, text)
		local shown = text_of(id)
		assert.truthy(shown:find(text, 1, true), ("%s: %s"):format(id, shown))
	end

	test("shows a cluster of seven, 200 namespaces and the custodians, and says nothing on the console", function()
		open()
		contains("headline", "Serves applications")
		contains("members", MEMBERS .. " members of the cluster")
		assert.equal(MEMBERS, browser:eval("document.querySelectorAll('#members tbody tr').length"))
		contains("store", NAMESPACES .. " of 10,000")
		assert.equal(50, browser:eval("document.querySelectorAll('#largest rect').length"))
		contains("secret", "2 of 3 restore it")
		for _, name in ipairs({ "alice", "bob", "carol" }) do contains("custodians", name) end
		browser:wait("document.getElementById('audit').innerText.includes('ok')")
		browser:wait("document.querySelectorAll('#traffic path').length === 4") -- three events at least
		assert.same({}, browser.said)
		picture("cluster")
	end)

	test("shows a member's URL as text, whatever it is", function()
		open()
		contains("members", HOSTILE)
		assert.equal(0, browser:eval("document.querySelectorAll('img, iframe').length"))
		assert.same({}, browser.said)
	end)

	test("shows which rules are suspended", function()
		local path = "/policy/suspended/blacklist.rules.3/invalid_url"
		node:control("PUT", path .. "?for=3600")
		open()
		-- Values may be half a second old.
		browser:wait("document.getElementById('policy').innerText.includes('1 rule: what it refuses goes on')")
		contains("rules", "blacklist.rules.3/invalid_url")
		assert.truthy(text_of("rules"):find("%d+ min left"), text_of("rules"))
		assert.is_true(browser:eval(CONTRAST) >= 4.5)
		picture("suspended")
		node:control("DELETE", path)
		browser:wait("!document.getElementById('policy').innerText.includes('goes on')")
		assert.same({}, browser.said)
	end)

	test("fits a narrow screen: only tables scroll sideways", function()
		open({ width = 360 })
		assert.is_true(browser:eval("document.documentElement.scrollWidth <= 360"))
		assert.is_true(browser:eval("document.querySelector('#members .scroll').scrollWidth > 360"))
		picture("narrow")
	end)

	test("can be read: contrast, by day and by night", function()
		open()
		assert.is_true(browser:eval(CONTRAST) >= 4.5, "light")
		open({ dark = true })
		assert.is_true(browser:eval(CONTRAST) >= 4.5, "dark")
		picture("dark")
	end)

	test("has labels for what is no text, headings for sections, and is reached by keyboard", function()
		open()
		assert.equal(0, browser:eval("document.querySelectorAll('meter:not([aria-label]), svg:not([aria-label])').length"))
		assert.is_true(browser:eval("[...document.querySelectorAll('section')].every((s) => "
			.. "document.getElementById(s.getAttribute('aria-labelledby')).tagName === 'H2')"))
		assert.is_true(browser:eval("[...document.querySelectorAll('.scroll')].every((s) => s.tabIndex === 0)"))
		local function tab()
			for _, kind in ipairs({ "rawKeyDown", "keyUp" }) do
				browser:call("Input.dispatchKeyEvent", { type = kind, key = "Tab", code = "Tab", windowsVirtualKeyCode = 9 })
			end
		end
		tab()
		assert.equal("skip", browser:eval("document.activeElement.className"))
		tab()
		assert.equal("scroll", browser:eval("document.activeElement.className"))
		assert.is_true(browser:eval("getComputedStyle(document.activeElement).outlineStyle !== 'none'"))
	end)

	test("says why a node does not serve, and when it is gone", function()
		local first_port = port
		local other = start({})
		open()
		other:edit_chain(function(chain) chain.instances[other.wallet].status = 1 end)
		browser:wait("document.getElementById('headline').innerText.includes('self not in KMS node list')")
		picture("not-ready")
		other:stop()
		browser:wait("document.body.classList.contains('stale')")
		contains("contact", "No contact with the node since")
		contains("node", other.wallet)
		picture("gone")
		port = first_port
	end)
end)
