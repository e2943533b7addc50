--- The program's Lua side: hands the command line to its command.
-- @return function(root, args) -> exit status; root is the folder that holds lua/ and config/

return function(root, args)
	return require("kms.cli").main(root, args)
end
