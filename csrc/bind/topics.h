/* The topics of kms_native: each function adds its topic's functions to the module table on top of the stack.
 */
#ifndef BIND_TOPICS_H
#define BIND_TOPICS_H

#include <lua.h>

void bind_add_process(lua_State *L);
void bind_add_job(lua_State *L);
void bind_add_background(lua_State *L);
void bind_add_crypto(lua_State *L);
void bind_add_keys(lua_State *L);
void bind_add_limits(lua_State *L);
void bind_add_store(lua_State *L);
void bind_add_service(lua_State *L);
void bind_add_request(lua_State *L);
void bind_add_execute(lua_State *L);
void bind_add_session(lua_State *L);
void bind_add_session_opening(lua_State *L);
void bind_add_session_message(lua_State *L);
void bind_add_session_answer(lua_State *L);
void bind_add_session_caller(lua_State *L);
void bind_add_session_offer(lua_State *L);
void bind_add_session_member(lua_State *L);
void bind_add_http(lua_State *L);
void bind_add_http_reply(lua_State *L);
void bind_add_body(lua_State *L);
void bind_add_fetch(lua_State *L);
void bind_add_endpoint(lua_State *L);
void bind_add_envelope(lua_State *L);
void bind_add_odyn(lua_State *L);
void bind_add_odyn_fake(lua_State *L);
void bind_add_nsm(lua_State *L);
void bind_add_client(lua_State *L);
void bind_add_client_session(lua_State *L);
void bind_add_abi(lua_State *L);
void bind_add_pop(lua_State *L);
void bind_add_sync(lua_State *L);
void bind_add_sync_choice(lua_State *L);
void bind_add_sync_secret(lua_State *L);
void bind_add_sync_store(lua_State *L);
void bind_add_sync_walk(lua_State *L);
void bind_add_snapshot(lua_State *L);
void bind_add_audit(lua_State *L);
void bind_add_files(lua_State *L);
void bind_add_sigv4(lua_State *L);
void bind_add_tree(lua_State *L);
void bind_add_digest(lua_State *L);
void bind_add_policy(lua_State *L);
void bind_add_attest(lua_State *L);
void bind_add_attest_make(lua_State *L);
void bind_add_recovery(lua_State *L);
void bind_add_recovery_share(lua_State *L);
void bind_add_recovery_wait(lua_State *L);

#endif
