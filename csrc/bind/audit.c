/* The audit log: names are hashed, and lines added, without a plain name in Lua. */
#include "kms/audit.h"

#include "bind/bind.h"
#include "bind/crypto.h"
#include "bind/job.h"
#include "bind/options.h"
#include "bind/service.h"
#include "bind/session_message.h"
#include "bind/topics.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "kms/codec.h"
#include "kms/crypto.h"
#include "kms/kdf.h"

#define NAME_DIGITS (2 * KMS_AUDIT_NAME_BYTES)

typedef struct bind_audit {
	kms_audit *log;
	kms_hmac_key *key; /* NULL: there is no master secret yet */
	bool writing;
} bind_audit;

static void audit_release(void *object)
{
	bind_audit *audit = object;
	kms_audit_free(audit->log);
	kms_hmac_key_free(audit->key);
	kms_heap_free(audit);
}

static const bind_type audit_type;

/* ---- names ------------------------------------------------------------------------------------------- */

static kms_status make_key(kms_hmac_key **key, const kms_secret *master)
{
	DEFER(kms_secret_release) kms_secret *secret = NULL;
	GUARD(kms_audit_key(&secret, master));
	return kms_hmac_key_new(key, secret);
}

/* audit:set_key(master) -> true | nil, message, code: from now on names are hashed under this secret's key */
static int audit_set_key(lua_State *L)
{
	bind_audit *audit = bind_check(L, 1, &audit_type);
	kms_hmac_key *key, *old = audit->key;
	kms_status status = make_key(&key, bind_check_master(L, 2));
	if (status != KMS_OK) return bind_fail(L, status);
	audit->key = key;
	kms_hmac_key_free(old);
	return bind_result(L, KMS_OK);
}

/* Pushes the digits of a name's hash. */
static kms_status push_hash(lua_State *L, const bind_audit *audit, kms_audit_kind kind, uint64_t app_id,
			    const uint8_t digest32[KMS_AUDIT_HASH_BYTES])
{
	uint8_t hash16[KMS_AUDIT_NAME_BYTES];
	char digits[NAME_DIGITS];
	GUARD(kms_audit_name(hash16, audit->key, kind, app_id, digest32));
	kms_hex_encode(digits, KMS_SPAN(hash16));
	lua_pushlstring(L, digits, sizeof(digits));
	return KMS_OK;
}

/* Pushes the hash of a name, or nil: it is absent or empty, or cannot be hashed. */
static void push_name(lua_State *L, const bind_audit *audit, kms_audit_kind kind, uint64_t app_id,
		      kms_text name)
{
	uint8_t digest32[KMS_AUDIT_HASH_BYTES];
	bool made = audit->key && name.len > 0 && kms_sha256(digest32, kms_text_span(name)) == KMS_OK &&
		    push_hash(L, audit, kind, app_id, digest32) == KMS_OK;
	if (!made) lua_pushnil(L);
}

/* The opened request, or the selected operation of a message, at `arg`. */
static const kms_request *check_opened(lua_State *L, int arg)
{
	if (bind_is(L, arg, &bind_request_type)) return bind_check(L, arg, &bind_request_type);
	const bind_message *message = bind_check(L, arg, &bind_message_type);
	if (!message->selected) luaL_argerror(L, arg, "has no selected operation");
	return message->selected;
}

/*
 * audit:names(app_id, opened) -> hash of the path, key or prefix of an opened request or of the selected
 * operation of a message, hash of its context; each nil where there is none
 */
static int audit_names(lua_State *L)
{
	const bind_audit *audit = bind_check(L, 1, &audit_type);
	uint64_t app_id = bind_arg_app_id(L, 2);
	const kms_request *request = check_opened(L, 3);
	switch (request->kind) {
	case KMS_REQUEST_DERIVE:
		push_name(L, audit, KMS_AUDIT_PATH, app_id, request->path);
		push_name(L, audit, KMS_AUDIT_CONTEXT, app_id, request->context);
		return 2;
	case KMS_REQUEST_LIST:
		push_name(L, audit, KMS_AUDIT_PREFIX, app_id, request->prefix);
		return 1;
	case KMS_REQUEST_PUT:
	case KMS_REQUEST_DELETE:
	case KMS_REQUEST_GET:
		push_name(L, audit, KMS_AUDIT_KEY, app_id, request->key);
		return 1;
	}
	return 0;
}

/* audit:hash(app_id, kind, sha256) -> hash of a name of which only SHA-256 (32 bytes) is known | nil,
 * message, code */
static int audit_hash(lua_State *L)
{
	static const char *const kinds[] = { "path", "context", "key", "prefix", NULL };
	const bind_audit *audit = bind_check(L, 1, &audit_type);
	uint64_t app_id = bind_arg_app_id(L, 2);
	kms_audit_kind kind = (kms_audit_kind)(luaL_checkoption(L, 3, NULL, kinds) + KMS_AUDIT_PATH);
	const uint8_t *digest32 = bind_arg_bytes(L, 4, KMS_AUDIT_HASH_BYTES);
	if (!audit->key) return bind_fail(L, KMS_ERR_STATE);
	kms_status status = push_hash(L, audit, kind, app_id, digest32);
	return status == KMS_OK ? 1 : bind_fail(L, status);
}

/* ---- lines ------------------------------------------------------------------------------------------- */

/*
 * audit:add(time_ms, event, wallet, app_id, name, context, request, operation, code, status, rule, more) ->
 * bytes that wait | nil, message, code: the line is lost, and counted Members that are nil are left out.
 * more: further members, as JSON without braces.
 */
static int audit_add(lua_State *L)
{
	const bind_audit *audit = bind_check(L, 1, &audit_type);
	kms_audit_event event = { .time_ms = (uint64_t)bind_arg_integer(L, 2, 0, LUA_MAXINTEGER),
				  .event = bind_arg_text(L, 3),
				  .wallet = bind_arg_text(L, 4),
				  .app = bind_arg_text(L, 5),
				  .name = bind_arg_text(L, 6),
				  .context = bind_arg_text(L, 7),
				  .request = bind_arg_text(L, 8),
				  .operation = bind_arg_text(L, 9),
				  .code = bind_arg_text(L, 10),
				  .status = (uint64_t)luaL_optinteger(L, 11, 0),
				  .rule = bind_arg_text(L, 12),
				  .more = bind_arg_text(L, 13) };
	kms_status status = kms_audit_add(audit->log, &event);
	if (status != KMS_OK) return bind_fail(L, status);
	lua_pushinteger(L, (lua_Integer)kms_audit_count(audit->log).waiting);
	return 1;
}

/* audit:counts() -> lines added, lines lost, since the start; bytes and lines that wait */
static int audit_counts(lua_State *L)
{
	const bind_audit *audit = bind_check(L, 1, &audit_type);
	kms_audit_counts counts = kms_audit_count(audit->log);
	lua_pushinteger(L, (lua_Integer)counts.added);
	lua_pushinteger(L, (lua_Integer)counts.lost);
	lua_pushinteger(L, (lua_Integer)counts.waiting);
	lua_pushinteger(L, (lua_Integer)counts.waiting_lines);
	return 4;
}

typedef struct write_job {
	bind_job job;
	bind_audit *audit; /* argument 1 */
	bool sync;
	kms_audit_state state;
	kms_status status;
} write_job;

static void write_run(bind_job *base)
{
	write_job *job = (write_job *)base;
	job->status = kms_audit_write(job->audit->log, &job->state, job->sync);
}

static void push_state(lua_State *L, const kms_audit_state *state)
{
	char digits[2 * KMS_AUDIT_HASH_BYTES];
	lua_createtable(L, 0, 6);
	bind_set_integer(L, "sequence", state->sequence);
	bind_set_integer(L, "lines", state->lines);
	bind_set_integer(L, "bytes", state->bytes);
	bind_set_integer(L, "file_bytes", state->file_bytes);
	bind_set_integer(L, "rotation_error", (uint64_t)state->rotation_error);
	kms_hex_encode(digits, KMS_SPAN(state->hash32));
	lua_pushlstring(L, digits, sizeof(digits));
	lua_setfield(L, -2, "hash");
}

static int write_finish(lua_State *L, bind_job *base)
{
	const write_job *job = (write_job *)base;
	job->audit->writing = false;
	push_state(L, &job->state);
	if (job->status == KMS_OK) return 1;
	return 1 + bind_fail_file(L, job->status, job->state.error);
}

/*
 * audit:write(time_ms, sync) -> state [, nil, message, code: not everything could be written; call it again]
 * Writes the lines that were added; one call at a time. sync: whether the file is on its disk then. state:
 * sequence, hash (hexadecimal) of the last line written; lines, bytes since the start; file_bytes;
 * rotation_error (errno or 0).
 */
static int audit_write(lua_State *L)
{
	bind_audit *audit = bind_check(L, 1, &audit_type);
	uint64_t time_ms = (uint64_t)bind_arg_integer(L, 2, 0, LUA_MAXINTEGER);
	bool sync = lua_toboolean(L, 3);
	if (audit->writing) luaL_argerror(L, 1, "is being written");
	lua_settop(L, 1);
	write_job *job = bind_job_push(L, sizeof(*job), write_run, write_finish);
	job->job.is_long = true;
	job->audit = audit;
	job->sync = sync;
	kms_audit_begin_write(audit->log, time_ms);
	audit->writing = true;
	return bind_job_start(L, &job->job);
}

/* ---- the object -------------------------------------------------------------------------------------- */

static const luaL_Reg audit_methods[] = {
	{ "set_key", audit_set_key }, { "names", audit_names }, { "hash", audit_hash }, { "add", audit_add },
	{ "counts", audit_counts },   { "write", audit_write }, { NULL, NULL },
};
static const bind_type audit_type = { "kms.audit", audit_release, audit_methods, false };

/*
 * audit{path=, start=, start_ms=, max_file=, max_waiting=} -> audit log | nil, message, code
 * path: of the file; absent: standard output. start: further members of the first line, as JSON without
 * braces.
 */
static int audit_new(lua_State *L)
{
	static const char *const names[] = { "path", "start", "start_ms", "max_file", "max_waiting", NULL };
	const lua_Integer large = (lua_Integer)1 << 40;
	bind_options_check(L, 1, names);
	lua_settop(L, 1);
	void **box = bind_new(L, &audit_type);
	kms_audit_options options = {
		.path = bind_option_text(L, 1, "path"),
		.start = bind_option_text(L, 1, "start"),
		.start_ms = (uint64_t)bind_option_integer(L, 1, "start_ms", 0, LUA_MAXINTEGER, 0),
		.max_file = (uint64_t)bind_option_integer(L, 1, "max_file", 1, large, large),
		.max_waiting = (size_t)bind_option_integer(L, 1, "max_waiting", 1, 1 << 30, 4 << 20),
	};
	bind_audit *audit = kms_heap_alloc(1, sizeof(*audit));
	if (!audit) return bind_fail(L, KMS_ERR_MEMORY);
	*box = audit;
	kms_status status = kms_audit_new(&audit->log, &options);
	if (status != KMS_OK) return bind_fail(L, status);
	lua_settop(L, 2);
	return 1;
}

void bind_add_audit(lua_State *L)
{
	lua_pushcfunction(L, audit_new);
	lua_setfield(L, -2, "audit");
	bind_define(L, &audit_type);
}
