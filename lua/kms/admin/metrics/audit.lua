--- Metrics of the audit log, on nodes that write one.

local needs = require("kms.base.needs")

local M = {}

--- Declares them.
-- @param set kms.admin.metrics
-- @param deps audit (kms.audit)
function M.declare(set, deps)
	local audit = needs.take(deps, "audit").audit
	if not audit.is_on then return end
	local writer, refusals = audit.writer, audit.refusals
	local function read(kind, name, help, value)
		set:read(kind, name, help, nil, function(put) put(value(audit:status())) end)
	end
	read("counter", "kms_audit_lines_total", "Lines of the audit log that were written.",
		function(status) return status.lines end)
	read("counter", "kms_audit_lost_lines_total", "Lines of the audit log that had no room while it could not be written.",
		function(status) return status.lost_lines end)
	read("gauge", "kms_audit_failing", "1 while the audit log cannot be written.",
		function(status) return status.state == "failing" and 1 or 0 end)
	read("gauge", "kms_audit_waiting_bytes", "Bytes of lines that wait to be written.",
		function(status) return status.waiting_bytes end)
	read("gauge", "kms_audit_unsigned_lines", "Lines in the file that no signature covers yet.",
		function(status) return status.unsigned_lines end)
	read("counter", "kms_audit_bytes_total", "Bytes of the audit log that were written.",
		function() return writer.state.bytes end)
	read("counter", "kms_audit_failures_total", "How often the audit log could not be written any more.",
		function() return writer.failures end)
	read("counter", "kms_audit_suppressed_total", "Refusals that the audit log counts, without a line of their own.",
		function() return refusals.suppressed end)
	set:read("counter", "kms_audit_signatures_total", "Signatures of the audit log by how making them ended.",
		{ { "result", { "ok", "failed" } } }, function(put)
			put(writer.signatures.ok, "ok")
			put(writer.signatures.failed, "failed")
		end)
end

return M
