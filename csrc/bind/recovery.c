/* Custodians' keys, the age files with their shares, and the proof that a custodian still has one. */
#include <string.h>

#include "base/ensure.h"
#include "bind/body.h"
#include "bind/crypto.h"
#include "bind/job.h"
#include "bind/options.h"
#include "bind/recovery.h"
#include "bind/store.h"
#include "bind/sync.h"
#include "bind/topics.h"
#include "kms/age.h"
#include "kms/codec.h"
#include "kms/crypto.h"
#include "kms/kdf.h"
#include "kms/value_seal.h"

#define PROOF 32
#define PROOF_PREFIX "nova-kms:recovery-check:"
#define MAX_TEXT 512 /* of a nonce and a wallet */

/* recipient(text) -> 32 bytes | nil, message, code: the key of "age1..." */
static int recipient(lua_State *L)
{
	uint8_t key[KMS_X25519_BYTES];
	size_t len;
	const char *text = luaL_checklstring(L, 1, &len);
	kms_status status = kms_age_recipient_parse(key, kms_text_of(text, len));
	if (status != KMS_OK) return bind_fail(L, status);
	lua_pushlstring(L, (const char *)key, sizeof(key));
	return 1;
}

kms_share_set bind_arg_share_set(lua_State *L, int arg)
{
	static const char *const names[] = { "id", "threshold", "count", NULL };
	kms_share_set set = { { 0 }, 0, 0 };
	bind_options_check(L, arg, names);
	kms_text id = bind_option_text(L, arg, "id");
	if (id.len != sizeof(set.id32)) luaL_argerror(L, arg, "id must be 32 bytes");
	memcpy(set.id32, id.text, sizeof(set.id32));
	lua_pop(L, 1);
	set.count = (uint8_t)bind_option_integer(L, arg, "count", KMS_SHARE_LEAST, KMS_SHARE_CUSTODIANS, 0);
	set.threshold = (uint8_t)bind_option_integer(L, arg, "threshold", KMS_SHARE_LEAST, set.count, 0);
	return set;
}

/* ---- age files --------------------------------------------------------------------------------- */

typedef struct files_job {
	bind_job job;
	kms_secret **master; /* held: its handle may be closed meanwhile */
	kms_share_set set;
	uint32_t day;
	uint8_t keys[KMS_SHARE_CUSTODIANS][KMS_X25519_BYTES];
	kms_status status;
	kms_buf *files; /* in a body on the stack: one after the other */
	size_t ends[KMS_SHARE_CUSTODIANS];
} files_job;

static kms_status make_file(kms_buf *files, const files_job *job, uint8_t x)
{
	DEFER(kms_buf_free) kms_buf share = kms_buf_make(KMS_BUF_GUARDED, KMS_SHARE_BYTES);
	GUARD(kms_share_make(&share, *job->master, &job->set, x, job->day));
	return kms_age_seal(files, job->keys[x - 1], kms_buf_span(&share));
}

static void files_run(bind_job *base)
{
	files_job *job = (files_job *)base;
	for (uint8_t x = 1; x <= job->set.count && job->status == KMS_OK; x++) {
		job->status = make_file(job->files, job, x);
		job->ends[x - 1] = job->files->len;
	}
	bind_drop_secret(job->master);
}

static int files_finish(lua_State *L, bind_job *base)
{
	const files_job *job = (const files_job *)base;
	if (job->status != KMS_OK) return bind_fail(L, job->status);
	lua_createtable(L, job->set.count, 0);
	size_t start = 0;
	for (uint8_t x = 1; x <= job->set.count; x++) {
		lua_pushlstring(L, (const char *)job->files->data + start, job->ends[x - 1] - start);
		lua_rawseti(L, -2, x);
		start = job->ends[x - 1];
	}
	return 1;
}

/*
 * recovery_files(master, set, keys, unix_day) -> list of age files, armored: custodian x's share to key x |
 * nil, message, code. set: { id (32 bytes), threshold, count }; keys: 32 bytes each.
 */
static int recovery_files(lua_State *L)
{
	kms_share_set set = bind_arg_share_set(L, 2); /* first: a metatable of it can close the secret */
	kms_secret *master = bind_check_master(L, 1);
	luaL_checktype(L, 3, LUA_TTABLE);
	if (lua_rawlen(L, 3) != set.count) luaL_argerror(L, 3, "as many keys as custodians");
	uint32_t day = (uint32_t)bind_arg_integer(L, 4, 0, UINT32_MAX);
	lua_settop(L, 4);
	kms_buf files = kms_buf_make(KMS_BUF_PLAIN, (size_t)KMS_SHARE_CUSTODIANS * KMS_AGE_MAX_FILE);
	if (!bind_body_push(L, &files)) return bind_fail(L, KMS_ERR_MEMORY);
	files_job *job = bind_job_push(L, sizeof(*job), files_run, files_finish);
	job->job.heavy = true;
	job->set = set;
	job->day = day;
	job->files = bind_body_check(L, 5);
	for (int x = 1; x <= set.count; x++) {
		memcpy(job->keys[x - 1], bind_element_bytes(L, 3, x, KMS_X25519_BYTES), KMS_X25519_BYTES);
		lua_pop(L, 1);
	}
	job->master = bind_hold_secret(L, master);
	return bind_job_start(L, &job->job);
}

/* ---- rehearsal --------------------------------------------------------------------------------- */

kms_status bind_recovery_proof(uint8_t proof32[32], const kms_secret *y32, kms_text text)
{
	const kms_span parts[] = { KMS_BYTES(PROOF_PREFIX), kms_text_span(text) };
	return kms_hmac_sha256_spans(proof32, y32, parts, KMS_ARRAY_LEN(parts));
}

static kms_status check_proof(bool *fits, const kms_secret *master, const kms_share_set *set, uint8_t x,
			      kms_text text, const uint8_t proof32[PROOF])
{
	uint8_t want[PROOF];
	DEFER(kms_secret_release) kms_secret *y = NULL;
	*fits = false;
	GUARD(kms_share_y(&y, master, set, x));
	GUARD(bind_recovery_proof(want, y, text));
	*fits = kms_equal_ct(want, proof32, sizeof(want));
	kms_wipe(want, sizeof(want));
	return KMS_OK;
}

/*
 * recovery_proves(master, set, x, text, proof) -> boolean | nil, message, code: whether the 32 bytes are what
 * only custodian x's share makes of the text, nonce and wallet (docs/protocol.md section 16).
 */
static int recovery_proves(lua_State *L)
{
	kms_share_set set = bind_arg_share_set(L, 2); /* first: a metatable of it can close the secret */
	const kms_secret *master = bind_check_master(L, 1);
	uint8_t x = (uint8_t)bind_arg_integer(L, 3, 1, set.count);
	kms_text text = bind_arg_text(L, 4);
	if (!text.text || text.len > MAX_TEXT) luaL_argerror(L, 4, "a text of at most 512 bytes");
	const uint8_t *proof = bind_arg_bytes(L, 5, PROOF);
	bool fits;
	kms_status status = check_proof(&fits, master, &set, x, text, proof);
	if (status != KMS_OK) return bind_fail(L, status);
	lua_pushboolean(L, fits);
	return 1;
}

/* An empty value: the time is the record's own stamp. */
static kms_status note(uint64_t *stamp_ms, kms_store *store, const kms_secret *master, uint64_t app_id,
		       kms_text key, uint64_t now_ms)
{
	DEFER(kms_secret_release) kms_secret *data_key = NULL;
	DEFER(kms_buf_free) kms_buf sealed = kms_buf_make(KMS_BUF_PLAIN, KMS_VALUE_SEAL_OVERHEAD);
	GUARD(kms_data_key(&data_key, master, app_id));
	GUARD(kms_value_seal(&sealed, data_key, KMS_NO_BYTES));
	return kms_store_put(stamp_ms, store, app_id, key, kms_buf_span(&sealed), 0, now_ms);
}

/*
 * recovery_note(store, master, app_id, key, wall_ms) -> Unix ms | nil, message, code: writes a record whose
 * stamp says when a custodian showed its share.
 */
static int recovery_note(lua_State *L)
{
	uint64_t stamp_ms;
	kms_store *store = bind_check(L, 1, &bind_store_type);
	const kms_secret *master = bind_check_master(L, 2);
	uint64_t app_id = bind_arg_app_id(L, 3);
	kms_text key = bind_arg_text(L, 4);
	uint64_t now_ms = (uint64_t)bind_arg_integer(L, 5, 0, LUA_MAXINTEGER);
	kms_status status = note(&stamp_ms, store, master, app_id, key, now_ms);
	if (status != KMS_OK) return bind_fail(L, status);
	lua_pushinteger(L, (lua_Integer)stamp_ms);
	return 1;
}

static kms_status noted(uint64_t *stamp_ms, kms_store *store, uint64_t app_id, kms_text key, uint64_t now_ms)
{
	DEFER(kms_buf_free) kms_buf sealed = kms_buf_make(KMS_BUF_PLAIN, KMS_VALUE_SEAL_OVERHEAD);
	return kms_store_get(stamp_ms, &sealed, store, app_id, key, now_ms);
}

/* recovery_noted(store, app_id, key, wall_ms) -> Unix ms of that record | nil, message, code */
static int recovery_noted(lua_State *L)
{
	uint64_t stamp_ms;
	kms_store *store = bind_check(L, 1, &bind_store_type);
	uint64_t app_id = bind_arg_app_id(L, 2);
	kms_text key = bind_arg_text(L, 3);
	uint64_t now_ms = (uint64_t)bind_arg_integer(L, 4, 0, LUA_MAXINTEGER);
	kms_status status = noted(&stamp_ms, store, app_id, key, now_ms);
	if (status != KMS_OK) return bind_fail(L, status);
	lua_pushinteger(L, (lua_Integer)stamp_ms);
	return 1;
}

void bind_add_recovery(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{ "age_recipient", recipient },         { "recovery_files", recovery_files },
		{ "recovery_proves", recovery_proves }, { "recovery_note", recovery_note },
		{ "recovery_noted", recovery_noted },   { NULL, NULL },
	};
	luaL_setfuncs(L, functions, 0);
}
