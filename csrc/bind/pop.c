/* Proof of possession on the caller's side: responses of nodes that this node has called. */
#include "bind/bind.h"

#include "bind/topics.h"
#include "kms/pop.h"

/*
 * response_check(response_signature, caller_signature, wallet) -> true | nil, message, code
 * Checks that the wallet has signed the response to the call that carried `caller_signature`. A nil
 * signature is an absent one, which fails.
 */
static int response_check(lua_State *L)
{
	uint8_t node20[20];
	kms_text response = bind_arg_text(L, 1), caller = bind_arg_text(L, 2);
	bind_arg_address(node20, L, 3);
	return bind_result(L, kms_response_check(response, caller, node20));
}

void bind_add_pop(lua_State *L)
{
	lua_pushcfunction(L, response_check);
	lua_setfield(L, -2, "response_check");
}
