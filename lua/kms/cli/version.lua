--- `nova-kms version`: which build this is.

local args = require("kms.cli.args")
local json = require("kms.json")
local uv = require("luv")

local function run(parsed, io)
	local version = io.native().version
	if not parsed.json then
		io.out("nova-kms " .. version)
		return args.EXIT.OK
	end
	io.out(json.encode({ version = version, lua = _VERSION, libuv = uv.version_string() }))
	return args.EXIT.OK
end

return {
	name = "version",
	summary = "show the version",
	options = { args.JSON },
	run = run,
}
