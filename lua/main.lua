--- The program's Lua side: hands the command line to its command. Without one it serves:
-- what starts containers and services often names the program alone.
-- @return function(root, args) -> exit status; root is the folder that holds lua/ and config/

return function(root, args)
	return require("kms.cli").main(root, #args > 0 and args or { "serve" })
end
