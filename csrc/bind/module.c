/* The module kms_native: luv's loop first, then each topic in the order of the list. */
#include "bind/module.h"

#include "bind/attest.h"
#include "bind/topics.h"
#include "kms/kms.h"

/* In this order: a topic that adds methods to a type comes after the topic that defines the type. */
static void (*const topics[])(lua_State *L) = {
	bind_add_process,
	bind_add_job,
	bind_add_background,
	bind_add_crypto,
	bind_add_keys,
	bind_add_limits,
	bind_add_store,
	bind_add_body,
	bind_add_service,
	bind_add_request,
	bind_add_execute,
	bind_add_http,
	bind_add_session,
	bind_add_session_opening,
	bind_add_session_message,
	bind_add_session_answer,
	bind_add_session_caller,
	bind_add_session_offer,
	bind_add_session_member,
	bind_add_http_reply,
	bind_add_fetch,
	bind_add_endpoint,
	bind_add_envelope,
	bind_add_odyn,
	bind_add_odyn_fake,
	bind_add_nsm,
	bind_add_client,
	bind_add_client_session,
	bind_add_abi,
	bind_add_pop,
	bind_add_sync,
	bind_add_sync_choice,
	bind_add_sync_secret,
	bind_add_sync_store,
	bind_add_policy,
	bind_add_attest,
	bind_add_attest_make,
	bind_add_tree,
	bind_add_digest,
	bind_add_sync_walk,
	bind_add_snapshot,
	bind_add_audit,
	bind_add_files,
	bind_add_recovery,
	bind_add_recovery_share,
	bind_add_recovery_wait,
	bind_add_sigv4,
};

int luaopen_kms_native(lua_State *L)
{
	/* luv makes the loop that jobs run on. */
	lua_getglobal(L, "require");
	lua_pushliteral(L, "luv");
	lua_call(L, 1, 0);

	lua_newtable(L);
	lua_pushliteral(L, KMS_VERSION);
	lua_setfield(L, -2, "version");
	for (size_t i = 0; i < sizeof(topics) / sizeof(topics[0]); i++)
		topics[i](L);
	return 1;
}
