/* Sync messages: parsing them, reading their members, merging their records. */
#include "bind/sync.h"

#include "bind/body.h"
#include "bind/crypto.h"
#include "bind/job.h"
#include "bind/store.h"
#include "bind/topics.h"
#include "base/ensure.h"

/* Larger messages are parsed on the pool; for smaller ones the way there costs more than parsing. */
#define PARSE_INLINE_BYTES 16384
/* More of them take some milliseconds to check and merge. */
#define LONG_RECORDS 2048

static void message_release(void *object)
{
	kms_sync_free(object);
}

static kms_sync *check_message(lua_State *L)
{
	return bind_check(L, 1, &bind_sync_type);
}

void **bind_hold(lua_State *L, int arg, const bind_type *type)
{
	void **held = bind_new(L, type);
	void **box = lua_touserdata(L, arg);
	*held = *box;
	*box = NULL;
	return held;
}

void bind_hold_end(lua_State *L, int arg, void **held)
{
	*(void **)lua_touserdata(L, arg) = *held;
	*held = NULL;
}

kms_secret **bind_hold_secret(lua_State *L, kms_secret *secret)
{
	kms_secret **held = (kms_secret **)bind_new(L, &bind_secret_type);
	*held = kms_secret_ref(secret);
	return held;
}

void bind_drop_secret(kms_secret **held)
{
	kms_secret_unref(*held);
	*held = NULL;
}

/* ---- parsing --------------------------------------------------------------------------------- */

typedef struct parse_job {
	bind_job job;
	kms_sync **message; /* in the userdata that is the result */
	kms_buf **plain;    /* argument 1, held */
	int message_index;
	const char *field;
	bool base64;
	kms_status status;
} parse_job;

static void parse_run(bind_job *base)
{
	parse_job *job = (parse_job *)base;
	job->status = job->base64 ? kms_sync_parse_base64(job->message, &job->field, *job->plain)
				  : kms_sync_parse(job->message, &job->field, *job->plain);
}

static int parse_finish(lua_State *L, bind_job *base)
{
	parse_job *job = (parse_job *)base;
	const char *text = kms_status_text(job->status);
	if (job->status != KMS_OK && job->field)
		return bind_fail_text(L, job->status, lua_pushfstring(L, "%s: %s", job->field, text));
	if (job->status != KMS_OK) return bind_fail(L, job->status);
	lua_pushvalue(L, job->message_index);
	return 1;
}

static int parse(lua_State *L, bool base64)
{
	const kms_buf *plain = bind_check(L, 1, &bind_body_type);
	size_t size = plain->len;
	lua_settop(L, 1);
	kms_sync **message = (kms_sync **)bind_new(L, &bind_sync_type);
	parse_job *job = bind_job_push(L, sizeof(*job), parse_run, parse_finish);
	job->message = message;
	job->message_index = 2;
	job->base64 = base64;
	job->plain = (kms_buf **)bind_hold(L, 1, &bind_body_type);
	if (size <= PARSE_INLINE_BYTES) {
		parse_run(&job->job);
		return parse_finish(L, &job->job);
	}
	job->job.heavy = true;
	job->job.is_long = size > BIND_LONG_BYTES;
	return bind_job_start(L, &job->job);
}

/*
 * sync_parse(plain_body) -> message | nil, message, code
 * The body (WIPED) is taken over: it is closed in any case.
 */
static int sync_parse(lua_State *L)
{
	return parse(L, false);
}

/* sync_parse_base64(plain_body): the same for a message of a session, whose values are in base64. */
static int sync_parse_base64(lua_State *L)
{
	return parse(L, true);
}

/* ---- members --------------------------------------------------------------------------------- */

/* message:text(name) -> string | nil: type, sender_wallet, pop, ecdh_pubkey, status, store, attestation,
 * digest, mac
 */
static int message_text(lua_State *L)
{
	const char *names[KMS_SYNC_TEXTS + 1] = { NULL };
	const kms_sync *message = check_message(L);
	for (int i = 0; i < KMS_SYNC_TEXTS; i++)
		names[i] = kms_sync_text_member((kms_sync_text_name)i);
	int name = luaL_checkoption(L, 2, NULL, names);
	return bind_push_text(L, kms_sync_text(message, (kms_sync_text_name)name));
}

/*
 * message:flag(name) -> boolean | nil. "complete": whether the sender says that its store is; "data":
 * true when the message has that member, even without records.
 */
static int message_flag(lua_State *L)
{
	static const char *const names[] = { "complete", "data", NULL };
	bool value = true;
	const kms_sync *message = check_message(L);
	bool present = luaL_checkoption(L, 2, NULL, names) == 0 ? kms_sync_complete(&value, message)
								: kms_sync_has_data(message);
	if (present)
		lua_pushboolean(L, value);
	else
		lua_pushnil(L);
	return 1;
}

/* message:features() -> { name = true } */
static int message_features(lua_State *L)
{
	const kms_sync *message = check_message(L);
	lua_newtable(L);
	for (size_t i = 0;; i++) {
		kms_text feature = kms_sync_feature(message, i);
		if (!feature.text) return 1;
		lua_pushlstring(L, feature.text, feature.len);
		lua_pushboolean(L, 1);
		lua_rawset(L, -3);
	}
}

/* message:counts() -> { total=, merged=, skipped=, rejected=, future=, later= }, without those that are
 * absent */
static int message_counts(lua_State *L)
{
	const kms_sync *message = check_message(L);
	lua_newtable(L);
	for (int i = 0; i < KMS_SYNC_TIME; i++) {
		uint64_t number;
		if (kms_sync_number(&number, message, (kms_sync_number_name)i))
			bind_set_integer(L, kms_sync_number_member((kms_sync_number_name)i), number);
	}
	return 1;
}

/* message:time() -> Unix ms by the sender's clock | nil */
static int message_time(lua_State *L)
{
	uint64_t time;
	if (!kms_sync_number(&time, check_message(L), KMS_SYNC_TIME)) return 0;
	lua_pushinteger(L, (lua_Integer)time);
	return 1;
}

/* message:number(name) -> integer | nil: since, until, sequence, max_bytes, and those of counts() */
static int message_number(lua_State *L)
{
	const char *names[KMS_SYNC_NUMBERS + 1] = { NULL };
	uint64_t number;
	const kms_sync *message = check_message(L);
	for (int i = 0; i < KMS_SYNC_NUMBERS; i++)
		names[i] = kms_sync_number_member((kms_sync_number_name)i);
	int name = luaL_checkoption(L, 2, NULL, names);
	if (kms_sync_number(&number, message, (kms_sync_number_name)name))
		lua_pushinteger(L, (lua_Integer)number);
	else
		lua_pushnil(L);
	return 1;
}

/* message:records() -> number of its records, malformed ones included */
static int message_records(lua_State *L)
{
	lua_pushinteger(L, (lua_Integer)kms_sync_records(check_message(L)));
	return 1;
}

/* ---- merging --------------------------------------------------------------------------------- */

typedef struct apply_job {
	bind_job job;
	kms_sync **message; /* argument 1, held */
	kms_store *store;   /* argument 2 */
	kms_secret **master;
	uint32_t origin;
	uint64_t now_ms;
	kms_sync_counts counts;
	kms_status status;
} apply_job;

static void apply_run(bind_job *base)
{
	apply_job *job = (apply_job *)base;
	job->status =
	    kms_sync_apply(&job->counts, *job->message, job->store, *job->master, job->origin, job->now_ms);
	bind_drop_secret(job->master);
}

static void push_skip_reasons(lua_State *L, const kms_sync_counts *counts)
{
	static const kms_merge skips[] = { KMS_MERGE_IGNORED_EQUAL_VERSION,
					   KMS_MERGE_IGNORED_EXISTING_NEWER_VERSION,
					   KMS_MERGE_IGNORED_CONCURRENT_TIE_BREAK };
	lua_newtable(L);
	for (size_t i = 0; i < KMS_ARRAY_LEN(skips); i++) {
		uint64_t count = counts->outcomes[skips[i]];
		if (count) bind_set_integer(L, kms_merge_name(skips[i]), count);
	}
	if (counts->stubs) bind_set_integer(L, "stub", counts->stubs);
}

static int apply_finish(lua_State *L, bind_job *base)
{
	apply_job *job = (apply_job *)base;
	bind_hold_end(L, 1, (void **)job->message);
	if (job->status != KMS_OK) return bind_fail(L, job->status);
	lua_createtable(L, 0, 9);
	bind_set_integer(L, "total", job->counts.total);
	bind_set_integer(L, "merged", job->counts.merged);
	bind_set_integer(L, "skipped", job->counts.skipped);
	bind_set_integer(L, "rejected", job->counts.rejected);
	bind_set_integer(L, "later", job->counts.later);
	bind_set_integer(L, "future", job->counts.future);
	bind_set_integer(L, "poisoned", job->counts.poisoned);
	bind_set_integer(L, "refused", job->counts.refused);
	push_skip_reasons(L, &job->counts);
	lua_setfield(L, -2, "skip_reasons");
	return 1;
}

/*
 * message:apply(store, master, origin, wall_ms) -> { total=, merged=, skipped=, rejected=, later=, future=,
 * poisoned=, refused=, skip_reasons = { name = count } } | nil, message, code (the records before
 * the failure are merged)
 */
static int message_apply(lua_State *L)
{
	bool is_long = kms_sync_records(check_message(L)) > LONG_RECORDS;
	kms_store *store = bind_check(L, 2, &bind_store_type);
	kms_secret *master = bind_check(L, 3, &bind_secret_type);
	uint32_t origin = (uint32_t)bind_arg_integer(L, 4, 1, UINT32_MAX);
	uint64_t now_ms = (uint64_t)bind_arg_integer(L, 5, 0, LUA_MAXINTEGER);
	lua_settop(L, 5);
	apply_job *job = bind_job_push(L, sizeof(*job), apply_run, apply_finish);
	job->job.heavy = true;
	job->job.is_long = is_long;
	job->store = store;
	job->origin = origin;
	job->now_ms = now_ms;
	job->master = bind_hold_secret(L, master);
	job->message = (kms_sync **)bind_hold(L, 1, &bind_sync_type);
	return bind_job_start(L, &job->job);
}

/* ---- registration ----------------------------------------------------------------------------- */

/* message:set_settles(): its sender settles versions with equal clocks (kms_sync_set_settles) */
static int message_set_settles(lua_State *L)
{
	kms_sync_set_settles(check_message(L));
	return 0;
}

static const luaL_Reg message_methods[] = {
	{ "time", message_time },
	{ "text", message_text },
	{ "flag", message_flag },
	{ "features", message_features },
	{ "counts", message_counts },
	{ "records", message_records },
	{ "set_settles", message_set_settles },
	{ "apply", message_apply },
	{ "number", message_number },
	{ NULL, NULL },
};
const bind_type bind_sync_type = { "kms.sync", message_release, message_methods, true };

void bind_add_sync(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{ "sync_parse", sync_parse },
		{ "sync_parse_base64", sync_parse_base64 },
		{ NULL, NULL },
	};
	bind_define(L, &bind_sync_type);
	luaL_setfuncs(L, functions, 0);
}
