/* The store: creating it, its upkeep and counts. Messages to peers: sync_store.c; keys and values: execute.c.
 */
#include "bind/store.h"

#include "bind/options.h"
#include "bind/topics.h"

static void store_release(void *object)
{
	kms_store_free(object);
}

static void push_stats(lua_State *L, const kms_store_stats *stats)
{
	lua_createtable(L, 0, 7);
	bind_set_integer(L, "namespaces", stats->namespaces);
	bind_set_integer(L, "live_keys", stats->live_keys);
	bind_set_integer(L, "live_bytes", stats->live_bytes);
	bind_set_integer(L, "tombstones", stats->tombstones);
	bind_set_integer(L, "stubs", stats->stubs);
	bind_set_integer(L, "total_bytes", stats->total_bytes);
	bind_set_integer(L, "evictions", stats->evictions);
}

/* store:stats([app_id]) -> table of counts, of the whole store or of one namespace */
static int store_stats(lua_State *L)
{
	kms_store_stats stats;
	kms_store *store = bind_check(L, 1, &bind_store_type);
	if (lua_isnoneornil(L, 2))
		kms_store_get_stats(&stats, store);
	else
		kms_store_get_app_stats(&stats, store, bind_arg_app_id(L, 2));
	push_stats(L, &stats);
	return 1;
}

enum { MAX_LARGEST = 1000 };

/* store:largest(count) -> bytes of the largest namespaces, largest first, at most `count` of them (1000) */
static int store_largest(lua_State *L)
{
	kms_store *store = bind_check(L, 1, &bind_store_type);
	size_t count = (size_t)bind_arg_integer(L, 2, 1, MAX_LARGEST);
	uint64_t *sizes = lua_newuserdatauv(L, count * sizeof(*sizes), 0);
	size_t found = kms_store_largest(sizes, count, store);
	lua_createtable(L, (int)found, 0);
	for (size_t i = 0; i < found; i++) {
		lua_pushinteger(L, (lua_Integer)sizes[i]);
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	return 1;
}

/* store:expire(wall_ms, max) -> records handled (0: nothing is due) */
static int store_expire(lua_State *L)
{
	kms_store *store = bind_check(L, 1, &bind_store_type);
	uint64_t now = (uint64_t)bind_arg_integer(L, 2, 0, LUA_MAXINTEGER);
	size_t max = (size_t)bind_arg_integer(L, 3, 1, 100000);
	lua_pushinteger(L, (lua_Integer)kms_store_expire(store, now, max));
	return 1;
}

/* store:sequence() -> number of the newest change */
static int store_sequence(lua_State *L)
{
	lua_pushinteger(L, (lua_Integer)kms_store_sequence(bind_check(L, 1, &bind_store_type)));
	return 1;
}

/* Parses the addresses of the list at `arg` into a userdata that it pushes (may throw). */
static uint8_t (*check_wallets(lua_State *L, int arg, size_t *count))[20]
{
	luaL_checktype(L, arg, LUA_TTABLE);
	*count = lua_rawlen(L, arg);
	if (*count > 4096) luaL_argerror(L, arg, "at most 4096 wallets");
	uint8_t(*wallets)[20] = lua_newuserdatauv(L, *count * 20 + 1, 0);
	for (size_t i = 0; i < *count; i++)
		bind_element_address(wallets[i], L, arg, (lua_Integer)i + 1);
	return wallets;
}

/* store:set_self(wallet): names this node's wallet to a store that was made without; throws when it has one.
 */
static int store_set_self(lua_State *L)
{
	uint8_t self20[20];
	kms_store *store = bind_check(L, 1, &bind_store_type);
	bind_arg_address(self20, L, 2);
	if (kms_store_set_self(store, self20) != KMS_OK) luaL_argerror(L, 1, "has a wallet");
	return 0;
}

/*
 * store:set_members(wallets) -> true | nil, message, code: the wallets of all members of the cluster.
 * store:set_acknowledged(sequence|nil): the newest change that all other members have; nil when
 * there is no other.
 */
static int store_set_members(lua_State *L)
{
	size_t count;
	kms_store *store = bind_check(L, 1, &bind_store_type);
	uint8_t(*wallets)[20] = check_wallets(L, 2, &count);
	return bind_result(L, kms_store_set_members(store, (const uint8_t(*)[20])wallets, count));
}

static int store_set_acknowledged(lua_State *L)
{
	kms_store *store = bind_check(L, 1, &bind_store_type);
	uint64_t sequence = UINT64_MAX;
	if (!lua_isnoneornil(L, 2)) sequence = (uint64_t)bind_arg_integer(L, 2, 0, LUA_MAXINTEGER);
	kms_store_set_acknowledged(store, sequence);
	return 0;
}

/* store:count_from_one(boolean): kms_store_count_from_one */
static int store_count_from_one(lua_State *L)
{
	kms_store *store = bind_check(L, 1, &bind_store_type);
	luaL_checktype(L, 2, LUA_TBOOLEAN);
	kms_store_count_from_one(store, lua_toboolean(L, 2));
	return 0;
}

static const luaL_Reg store_methods[] = {
	{ "stats", store_stats },
	{ "largest", store_largest },
	{ "expire", store_expire },
	{ "sequence", store_sequence },
	{ "set_self", store_set_self },
	{ "set_members", store_set_members },
	{ "set_acknowledged", store_set_acknowledged },
	{ "count_from_one", store_count_from_one },
	{ NULL, NULL },
};
const bind_type bind_store_type = { "kms.store", store_release, store_methods, false };

/*
 * store{self=, max_key=, ...} -> store | nil, message, code; members as kms_store_config names them. Without
 * self it takes no record until store:set_self.
 */
static int store_new(lua_State *L)
{
	static const char *const names[] = { "self",
					     "max_key",
					     "max_value",
					     "max_app_bytes",
					     "max_app_total",
					     "max_total_bytes",
					     "max_namespaces",
					     "max_tombstones",
					     "tombstone_retention_ms",
					     "max_clock_skew_ms",
					     NULL };
	const lua_Integer large = (lua_Integer)1 << 50;
	kms_store_config config = { 0 };

	bind_options_check(L, 1, names);
	(void)bind_option_address(config.self20, L, 1, "self");
	config.max_key = (size_t)bind_option_integer(L, 1, "max_key", 1, KMS_STORE_MAX_PEER_KEY, 4096);
	config.max_value = (size_t)bind_option_integer(L, 1, "max_value", 1, large, 1 << 20);
	config.max_app_bytes = (size_t)bind_option_integer(L, 1, "max_app_bytes", 1, large, 10 << 20);
	config.max_app_total = (size_t)bind_option_integer(L, 1, "max_app_total", 0, large, 0);
	config.max_total_bytes = (size_t)bind_option_integer(L, 1, "max_total_bytes", 1, large, 512 << 20);
	config.max_namespaces = (size_t)bind_option_integer(L, 1, "max_namespaces", 1, large, 10000);
	config.max_tombstones = (size_t)bind_option_integer(L, 1, "max_tombstones", 1, large, 100000);
	config.tombstone_retention_ms =
	    (uint64_t)bind_option_integer(L, 1, "tombstone_retention_ms", 0, large, 86400000);
	config.max_clock_skew_ms = (uint64_t)bind_option_integer(L, 1, "max_clock_skew_ms", 0, large, 15000);

	kms_store **box = (kms_store **)bind_new(L, &bind_store_type);
	kms_status status = kms_store_new(box, &config);
	return status == KMS_OK ? 1 : bind_fail(L, status);
}

void bind_add_store(lua_State *L)
{
	lua_pushcfunction(L, store_new);
	lua_setfield(L, -2, "store");
	bind_define(L, &bind_store_type);
}
