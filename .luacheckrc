std = "lua54"
max_line_length = 120
exclude_files = { "build/", "node_modules/" }
files["spec/"] = { std = "+busted", ignore = { "431/self", "432/self" } }
-- Only assignments, run in an environment of its own (lua/kms/config_file.lua).
files["config/node.lua"] = { allow_defined_top = true }
files[".busted"] = { std = "lua54" }
