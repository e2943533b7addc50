--- A supervisor as the node sees one: a real datagram socket at NOTIFY_SOCKET. libuv has none, so perl reads it, which
-- every Debian has.

local uv = require("luv")
local files = require("spec.support.files")
local nodes = require("spec.support.node")
local wait = require("spec.support.wait")

local M = {}

local Supervisor = {}
Supervisor.__index = Supervisor

-- Writes each message as a line: its own lines are joined by spaces.
local LISTENER = [[
use strict; use Socket;
my ($name, $heard) = @ARGV;
socket(my $socket, PF_UNIX, SOCK_DGRAM, 0) or die "socket: $!";
$name =~ s/^@/\0/;
bind($socket, pack_sockaddr_un($name)) or die "bind: $!";
open(my $out, ">>", $heard) or die "open: $!";
$out->autoflush(1);
print $out "listening\n";
while (defined recv($socket, my $message, 4096, 0)) { $message =~ tr/\n/ /; print $out "$message\n"; }
]]

-- Sends a message of the spec's own.
local TELL = [[
use strict; use Socket;
my ($name, $message) = @ARGV;
socket(my $socket, PF_UNIX, SOCK_DGRAM, 0) or die "socket: $!";
$name =~ s/^@/\0/;
defined send($socket, $message, 0, pack_sockaddr_un($name)) or die "send: $!";
]]
local MARK = "mark of the spec "

--- Starts one.
-- @param name  of the socket; nil: a path in a folder of its own
-- @return supervisor {name, messages(), wait_for(), catch_up(), stop()}
function M.start(name)
	local self = setmetatable({ dir = files.temp_dir(), marks = 0 }, Supervisor)
	self.name = name or self.dir .. "/notify"
	self.handle = assert(uv.spawn("setpriv", { args = {
		"--pdeathsig", "KILL", "perl", "-MIO::Handle", "-e", LISTENER, self.name, self.dir .. "/heard",
	}, stdio = { nil, nil, 2 } }, function() self.handle:close() end))
	wait.until_true("the supervisor to listen", function() return #self:lines() > 0 end)
	return self
end

function Supervisor:lines()
	local list = {}
	for line in (files.read(self.dir .. "/heard") or ""):gmatch("([^\n]+)\n") do list[#list + 1] = line end
	return list
end

--- The messages so far that begin with this text (plain; nil: all), in order.
function Supervisor:messages(text)
	local found = {}
	for i, line in ipairs(self:lines()) do
		local is_own = i == 1 or line:sub(1, #MARK) == MARK
		if not is_own and (not text or line:sub(1, #text) == text) then found[#found + 1] = line end
	end
	return found
end

--- Waits until so many messages begin with this text; the last of them.
function Supervisor:wait_for(text, count)
	return wait.until_true(text, function()
		local found = self:messages(text)
		return found[count or 1], table.concat(self:messages(), "; ")
	end)
end

--- Waits until all messages that were sent before this call have been read: they keep their order.
function Supervisor:catch_up()
	self.marks = self.marks + 1
	local mark = MARK .. self.marks
	local code, _, message = nodes.run({ "-e", TELL, self.name, mark }, { program = "perl" })
	if code ~= 0 then error(message, 2) end
	wait.until_true("the messages so far", function()
		local lines = self:lines()
		for i = #lines, 1, -1 do
			if lines[i] == mark then return true end
		end
		return false
	end)
end

--- Ends it.
function Supervisor:stop()
	if not self.handle:is_closing() then self.handle:kill("sigkill") end
	files.remove_dir(self.dir)
end

return M
