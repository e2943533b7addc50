--- kms_native, initialised once in this process, for specs.

local native = require("kms_native")

if not native.ready() then assert(native.init(8 << 20)) end

return native
