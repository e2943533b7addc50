/*
 * `kms`: what a policy can ask and say. Nothing in it reaches out: log lines and counters are
 * collected and given to the caller with the verdict, time and peers come from the caller.
 */
#include "policy/vm_internal.h"

#include <string.h>

#include "kms/codec.h"

#define MAX_GLOB 256
#define MAX_SUBJECT 8192
#define STEPS_PER_CHARGE 16
#define MAX_NAME 64
#define MAX_LABELS 4
#define MAX_FIELDS 16
#define MAX_KEY 256

/* A helper that means nothing while a file is loaded. */
static vm_state *in_hook(lua_State *L, const char *name)
{
	vm_state *vm = vm_of(L);
	if (!vm->in_hook) luaL_error(L, "kms.%s can be called by a hook only", name);
	return vm;
}

static const char *short_text(lua_State *L, int arg, size_t max)
{
	size_t len;
	const char *text = luaL_checklstring(L, arg, &len);
	if (len > max) luaL_argerror(L, arg, lua_pushfstring(L, "is longer than %d bytes", (int)max));
	return text;
}

/* ---- match ------------------------------------------------------------------------------------ */

/*
 * Whether a text is what a glob says: `*` any bytes, `?` one, all others themselves. Goes back to
 * the last star only, so that the work is at most the product of both lengths.
 */
static bool glob_matches(size_t *steps, const char *glob, size_t glob_len, const char *text, size_t text_len)
{
	size_t g = 0, t = 0, star = SIZE_MAX, resume = 0;
	while (t < text_len) {
		++*steps;
		if (g < glob_len && glob[g] == '*') {
			star = g++;
			resume = t;
		} else if (g < glob_len && (glob[g] == '?' || glob[g] == text[t])) {
			g++;
			t++;
		} else if (star != SIZE_MAX) {
			g = star + 1;
			t = ++resume;
		} else {
			return false;
		}
	}
	while (g < glob_len && glob[g] == '*')
		g++;
	return g == glob_len;
}

/* kms.match(glob, text) -> boolean */
static int helper_match(lua_State *L)
{
	size_t glob_len, text_len, steps = 0;
	const char *glob = (short_text(L, 1, MAX_GLOB), lua_tolstring(L, 1, &glob_len));
	const char *text = (short_text(L, 2, MAX_SUBJECT), lua_tolstring(L, 2, &text_len));
	bool matches = glob_matches(&steps, glob, glob_len, text, text_len);
	vm_charge(L, steps / STEPS_PER_CHARGE);
	lua_pushboolean(L, matches);
	return 1;
}

/* ---- limit, now ------------------------------------------------------------------------------- */

/* kms.limit(key, rate, burst) -> whether there is a token: `rate` a second, `burst` at once */
static int helper_limit(lua_State *L)
{
	vm_state *vm = in_hook(L, "limit");
	size_t len;
	const char *key = (short_text(L, 1, MAX_KEY), lua_tolstring(L, 1, &len));
	lua_Number rate = luaL_checknumber(L, 2);
	lua_Number burst = luaL_checknumber(L, 3);
	luaL_argcheck(L, rate > 0 && rate <= 1e9, 2, "must be above 0 and at most 1e9 a second");
	luaL_argcheck(L, burst >= 1 && burst <= 1e12, 3, "must be 1 to 1e12");
	kms_status status =
	    vm->buckets ? kms_buckets_take(vm->buckets, kms_span_of(key, len), rate, burst, vm->mono_ms)
			: KMS_OK;
	lua_pushboolean(L, status == KMS_OK);
	return 1;
}

/* kms.now() -> Unix time in milliseconds, as the caller says */
static int helper_now(lua_State *L)
{
	vm_state *vm = in_hook(L, "now");
	lua_pushinteger(L, vm->wall_ms);
	return 1;
}

/* ---- log, count ------------------------------------------------------------------------------- */

/* Whether the text at `index` is a name; what stands behind a NUL belongs to it too. */
static bool is_name(lua_State *L, int index)
{
	size_t len;
	const char *text = lua_tolstring(L, index, &len);
	return len > 0 && len <= MAX_NAME && strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_") == len &&
	       (*text < '0' || *text > '9');
}

/* Pushes a copy of the flat table at `arg`: names, and values of at most `max_value` bytes. */
static void push_flat(lua_State *L, int arg, int max_members, size_t max_value)
{
	int members = 0;
	lua_newtable(L);
	if (lua_isnoneornil(L, arg)) return;
	luaL_checktype(L, arg, LUA_TTABLE);
	for (lua_pushnil(L); lua_next(L, arg); lua_pop(L, 1)) {
		int kind = lua_type(L, -1);
		if (lua_type(L, -2) != LUA_TSTRING || !is_name(L, -2))
			luaL_argerror(L, arg, "has a key that is not a name (a-z, 0-9, _; at most 64)");
		if (kind != LUA_TSTRING && kind != LUA_TNUMBER && kind != LUA_TBOOLEAN)
			luaL_argerror(L, arg, "has a value that is neither text, number nor boolean");
		if (kind == LUA_TSTRING && lua_rawlen(L, -1) > max_value)
			luaL_argerror(L, arg, "has a value that is too long");
		if (++members > max_members) luaL_argerror(L, arg, "has too many members");
		lua_pushvalue(L, -2);
		lua_pushvalue(L, -2);
		lua_rawset(L, -5);
	}
}

/* Adds the table on top to the effects of this call; those beyond the limit are counted, not kept. */
static void add_effect(lua_State *L, vm_state *vm)
{
	if (vm->effect_count++ >= VM_MAX_EFFECTS) return;
	lua_rawgeti(L, LUA_REGISTRYINDEX, vm->effects);
	lua_insert(L, -2);
	lua_rawseti(L, -2, vm->effect_count);
}

/* kms.log(level, message, fields) */
static int helper_log(lua_State *L)
{
	static const char *const levels[] = { "error", "warn", "info", "debug", NULL };
	vm_state *vm = in_hook(L, "log");
	int level = luaL_checkoption(L, 1, NULL, levels);
	short_text(L, 2, VM_MAX_TEXT);
	lua_settop(L, 3);
	lua_createtable(L, 0, 3);
	lua_pushstring(L, levels[level]);
	lua_setfield(L, -2, "level");
	lua_pushvalue(L, 2);
	lua_setfield(L, -2, "message");
	push_flat(L, 3, MAX_FIELDS, VM_MAX_TEXT);
	lua_setfield(L, -2, "fields");
	add_effect(L, vm);
	return 0;
}

/* kms.count(name, labels) */
static int helper_count(lua_State *L)
{
	vm_state *vm = in_hook(L, "count");
	luaL_checkstring(L, 1);
	if (!is_name(L, 1)) luaL_argerror(L, 1, "is not a name (a-z, 0-9, _; at most 64)");
	lua_settop(L, 2);
	lua_createtable(L, 0, 2);
	lua_pushvalue(L, 1);
	lua_setfield(L, -2, "count");
	push_flat(L, 2, MAX_LABELS, MAX_NAME);
	lua_setfield(L, -2, "labels");
	add_effect(L, vm);
	return 0;
}

/* ---- peers, store ----------------------------------------------------------------------------- */

/* Pushes a fresh copy of what was provided under a name, nil where nothing was. */
static void push_provided(lua_State *L, const vm_state *vm, const char *name)
{
	lua_rawgeti(L, LUA_REGISTRYINDEX, vm->provided);
	lua_getfield(L, -1, name);
	const char *wrong = vm_copy(L, vm_of(L), L, -1, VM_FUNCTIONS_REFUSED);
	if (wrong) luaL_error(L, "%s", wrong);
}

/* kms.peers() -> list of the members of the cluster, as the caller last provided it */
static int helper_peers(lua_State *L)
{
	push_provided(L, in_hook(L, "peers"), "peers");
	if (lua_isnil(L, -1)) lua_newtable(L);
	return 1;
}

/* kms.store(app_id) -> { keys, bytes } of an application's records */
static int helper_store(lua_State *L)
{
	vm_state *vm = in_hook(L, "store");
	kms_store_stats stats = { 0 };
	uint64_t app_id;
	const char *id = short_text(L, 1, 20);
	if (kms_app_id_parse(&app_id, kms_text_from(id)) != KMS_OK)
		luaL_argerror(L, 1, "is no application id");
	lua_rawgeti(L, LUA_REGISTRYINDEX, vm->provided);
	if (lua_getfield(L, -1, "store") == LUA_TTABLE && lua_getfield(L, -1, id) == LUA_TTABLE) {
		const char *wrong = vm_copy(L, vm, L, -1, VM_FUNCTIONS_REFUSED);
		return wrong ? luaL_error(L, "%s", wrong) : 1;
	}
	if (vm->store) kms_store_get_app_stats(&stats, vm->store, app_id);
	lua_createtable(L, 0, 2);
	lua_pushinteger(L, (lua_Integer)stats.live_keys);
	lua_setfield(L, -2, "keys");
	lua_pushinteger(L, (lua_Integer)stats.live_bytes);
	lua_setfield(L, -2, "bytes");
	return 1;
}

void vm_push_kms(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{ "match", helper_match }, { "limit", helper_limit },
		{ "now", helper_now },     { "log", helper_log },
		{ "count", helper_count }, { "peers", helper_peers },
		{ "store", helper_store }, { NULL, NULL },
	};
	luaL_newlib(L, functions);
}
