/* What is decided about a message's records and applications before they are merged. */
#include "bind/sync.h"

#include <stdio.h>

#include "bind/store.h"
#include "bind/topics.h"

static kms_sync *check_message(lua_State *L)
{
	return bind_check(L, 1, &bind_sync_type);
}

static size_t check_index(lua_State *L)
{
	return (size_t)bind_arg_integer(L, 2, 1, LUA_MAXINTEGER) - 1;
}

/*
 * message:record(index) -> { app_id, key, size (of the ciphertext), updated_at_ms, tombstone,
 * ttl_ms } | nil after the last one. Well-formed records only, counted from 1; never a value.
 */
static int message_record(lua_State *L)
{
	kms_record record;
	uint64_t app_id;
	char id[24];
	const kms_sync *message = check_message(L);
	if (!kms_sync_record(&record, &app_id, message, check_index(L))) return 0;
	int id_len = snprintf(id, sizeof(id), "%llu", (unsigned long long)app_id);
	lua_createtable(L, 0, 8);
	lua_pushlstring(L, id, (size_t)id_len);
	lua_setfield(L, -2, "app_id");
	lua_pushlstring(L, record.key.text, record.key.len);
	lua_setfield(L, -2, "key");
	bind_set_integer(L, "size", record.value.len);
	bind_set_integer(L, "updated_at_ms", record.updated_at_ms);
	bind_set_integer(L, "ttl_ms", record.ttl_ms);
	lua_pushboolean(L, record.state == KMS_RECORD_TOMBSTONE);
	lua_setfield(L, -2, "tombstone");
	return 1;
}

/* message:defer(index): apply() will count that record as `later` */
static int message_defer(lua_State *L)
{
	kms_sync *message = check_message(L);
	kms_sync_defer(message, check_index(L));
	return 0;
}

/* message:refuse(index): apply() will reject that record */
static int message_refuse(lua_State *L)
{
	kms_sync *message = check_message(L);
	kms_sync_refuse(message, check_index(L));
	return 0;
}

/* ---- applications without a namespace -------------------------------------------------------- */

#define SCAN_APPS 4096 /* applications that one call looks at: well below a millisecond */

/* Adds an application to the two lists on top of the stack. */
static void add_app(lua_State *L, const kms_sync_app_walk *walk, lua_Integer at)
{
	char id[24];
	int len = snprintf(id, sizeof(id), "%llu", (unsigned long long)walk->app_id);
	lua_pushlstring(L, id, (size_t)len);
	lua_rawseti(L, -3, at);
	lua_pushinteger(L, (lua_Integer)walk->index + 1);
	lua_rawseti(L, -2, at);
}

/*
 * message:new_apps(store, from, max) -> ids, indexes, where to go on | nil at the end. At most `max`
 * applications, from the index `from` on, of which the store holds nothing; fewer, too, when there is more to
 * look at.
 */
static int message_new_apps(lua_State *L)
{
	const kms_sync *message = check_message(L);
	kms_store *store = bind_check(L, 2, &bind_store_type);
	lua_Integer from = bind_arg_integer(L, 3, 1, LUA_MAXINTEGER);
	lua_Integer max = bind_arg_integer(L, 4, 1, SCAN_APPS), found = 0;
	kms_sync_app_walk walk = { .index = (size_t)from - 1, .steps = SCAN_APPS };
	lua_newtable(L);
	lua_newtable(L);
	while (found < max && kms_sync_new_app(&walk, message, store)) {
		add_app(L, &walk, ++found);
		walk.index++;
	}
	if (walk.index >= kms_sync_apps(message)) return 2;
	lua_pushinteger(L, (lua_Integer)walk.index + 1);
	return 3;
}

/* message:admit(index): apply() may make a namespace for the application at this index */
static int message_admit(lua_State *L)
{
	kms_sync *message = check_message(L);
	kms_sync_admit(message, check_index(L));
	return 0;
}

void bind_add_sync_choice(lua_State *L)
{
	static const luaL_Reg methods[] = {
		{ "record", message_record },     { "refuse", message_refuse }, { "defer", message_defer },
		{ "new_apps", message_new_apps }, { "admit", message_admit },   { NULL, NULL },
	};
	bind_add_methods(L, &bind_sync_type, methods);
}
