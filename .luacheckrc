std = "lua54"
max_line_length = 120
exclude_files = { "build/", "node_modules/" }
files["spec/"] = { std = "+busted", ignore = { "431/self", "432/self" } }
-- Only assignments, run in an environment of its own (lua/kms/config/file.lua).
files["config/node.lua"] = { allow_defined_top = true }
files[".busted"] = { std = "lua54" }
-- What operators read and change: hooks keep their arguments, and `kms` is what they can ask.
files["config/policy/"] = { read_globals = { "kms" }, ignore = { "212" } }
files["examples/policy/"] = { read_globals = { "kms" } }
files["examples/policy/**/*_spec.lua"] = { std = "+busted" }
