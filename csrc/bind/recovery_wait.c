/* What a node that lost its master secret does: challenges custodians, checks their answers, puts shares
 * together. */
#include <string.h>

#include "base/ensure.h"
#include "bind/body.h"
#include "bind/crypto.h"
#include "bind/job.h"
#include "bind/options.h"
#include "bind/recovery.h"
#include "bind/sync.h"
#include "bind/topics.h"
#include "kms/age.h"
#include "kms/challenge.h"
#include "kms/crypto.h"

#define MAC 32

/* The id of an earlier set at `arg`, 32 bytes; empty for nil (may throw). */
static kms_span arg_set(lua_State *L, int arg)
{
	if (lua_isnoneornil(L, arg)) return KMS_NO_BYTES;
	return kms_span_of(bind_arg_bytes(L, arg, 32), 32);
}

static kms_status make_challenge(kms_buf *file, const kms_secret *key, const uint8_t wallet20[20], uint8_t x,
				 uint64_t hour, kms_span set, const uint8_t recipient32[32])
{
	DEFER(kms_secret_release) kms_secret *c = NULL;
	DEFER(kms_buf_free) kms_buf plain = kms_buf_make(KMS_BUF_GUARDED, KMS_CHALLENGE_BYTES);
	GUARD(kms_challenge_secret(&c, key, x, hour, set));
	GUARD(kms_challenge_write(&plain, wallet20, x, c));
	return kms_age_seal(file, recipient32, kms_buf_span(&plain));
}

/*
 * recovery_challenge(key, wallet, x, unix_hour, set_id|nil, recipient) -> age file to the recipient's 32
 * bytes | nil, message, code. key: a random secret of this process.
 */
static int challenge(lua_State *L)
{
	uint8_t wallet[20];
	const kms_secret *key = bind_check(L, 1, &bind_secret_type);
	bind_arg_address(wallet, L, 2);
	uint8_t x = (uint8_t)bind_arg_integer(L, 3, 1, KMS_SHARE_CUSTODIANS);
	uint64_t hour = (uint64_t)bind_arg_integer(L, 4, 0, LUA_MAXINTEGER);
	kms_span set = arg_set(L, 5);
	const uint8_t *recipient = bind_arg_bytes(L, 6, KMS_X25519_BYTES);
	kms_buf none = kms_buf_make(KMS_BUF_PLAIN, KMS_AGE_MAX_FILE);
	if (!bind_body_push(L, &none)) return bind_fail(L, KMS_ERR_MEMORY);
	kms_buf *file = bind_body_check(L, lua_gettop(L));
	kms_status status = make_challenge(file, key, wallet, x, hour, set, recipient);
	if (status != KMS_OK) return bind_fail(L, status);
	lua_pushlstring(L, (const char *)file->data, file->len);
	return 1;
}

static kms_status check_answer(bool *right, const kms_secret *key, uint8_t x, uint64_t hour, kms_span set,
			       kms_span body, const uint8_t mac32[MAC])
{
	uint8_t want[MAC];
	DEFER(kms_secret_release) kms_secret *c = NULL;
	GUARD(kms_challenge_secret(&c, key, x, hour, set));
	GUARD(kms_challenge_answer(want, c, body));
	*right = kms_equal_ct(want, mac32, sizeof(want));
	kms_wipe(want, sizeof(want));
	return KMS_OK;
}

/*
 * recovery_answers(key, x, unix_hour, set_id|nil, body, mac) -> boolean | nil, message, code: whether the 32
 * bytes are custodian x's answer to that challenge for this body
 */
static int answers(lua_State *L)
{
	size_t len;
	bool right = false;
	const kms_secret *key = bind_check(L, 1, &bind_secret_type);
	uint8_t x = (uint8_t)bind_arg_integer(L, 2, 1, KMS_SHARE_CUSTODIANS);
	uint64_t hour = (uint64_t)bind_arg_integer(L, 3, 0, LUA_MAXINTEGER);
	kms_span set = arg_set(L, 4);
	const char *body = luaL_checklstring(L, 5, &len);
	const uint8_t *mac = bind_arg_bytes(L, 6, MAC);
	kms_status status = check_answer(&right, key, x, hour, set, kms_span_of(body, len), mac);
	if (status != KMS_OK) return bind_fail(L, status);
	lua_pushboolean(L, right);
	return 1;
}

/* ---- putting shares together -------------------------------------------------------------------- */

typedef struct combine_job {
	bind_job job;
	kms_secret **held[KMS_SHARE_CUSTODIANS]; /* in userdata on the stack */
	uint8_t xs[KMS_SHARE_CUSTODIANS];
	size_t count;
	uint8_t threshold;
	uint8_t hash32[32];
	kms_secret **master; /* in the userdata that is the result */
	int master_index;
	uint32_t wrong;
	kms_status status;
} combine_job;

static void combine_run(bind_job *base)
{
	combine_job *job = (combine_job *)base;
	kms_share_part parts[KMS_SHARE_CUSTODIANS];
	for (size_t i = 0; i < job->count; i++)
		parts[i] = (kms_share_part){ job->xs[i], *job->held[i] };
	job->status =
	    kms_share_combine(job->master, &job->wrong, parts, job->count, job->threshold, job->hash32);
	for (size_t i = 0; i < job->count; i++)
		bind_drop_secret(job->held[i]);
}

static int combine_finish(lua_State *L, bind_job *base)
{
	const combine_job *job = (const combine_job *)base;
	if (job->status != KMS_OK) return bind_fail(L, job->status);
	lua_pushvalue(L, job->master_index);
	lua_newtable(L);
	for (uint8_t x = 1, n = 0; x <= KMS_SHARE_CUSTODIANS; x++) {
		if (!(job->wrong >> x & 1)) continue;
		lua_pushinteger(L, x);
		lua_rawseti(L, -2, ++n);
	}
	return 2;
}

/*
 * recovery_combine(shares, threshold, hash32) -> master secret, list of the x of shares that do not fit |
 * nil, message, code: ERR_SHARES when no subset of the shares gives the secret of that hash
 */
static int combine(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TTABLE);
	size_t count = lua_rawlen(L, 1);
	if (count < KMS_SHARE_LEAST || count > KMS_SHARE_CUSTODIANS) luaL_argerror(L, 1, "2 to 16 shares");
	uint8_t threshold = (uint8_t)bind_arg_integer(L, 2, KMS_SHARE_LEAST, (lua_Integer)count);
	const uint8_t *hash = bind_arg_bytes(L, 3, 32);
	lua_settop(L, 3);
	luaL_checkstack(L, KMS_SHARE_CUSTODIANS + 8, NULL);
	kms_secret **master = (kms_secret **)bind_new(L, &bind_secret_type);
	combine_job *job = bind_job_push(L, sizeof(*job), combine_run, combine_finish);
	job->job.heavy = true;
	job->master = master;
	job->master_index = 4;
	job->threshold = threshold;
	memcpy(job->hash32, hash, sizeof(job->hash32));
	for (size_t i = 0; i < count; i++) {
		const bind_share *share = bind_element_object(L, 1, (lua_Integer)i + 1, &bind_share_type);
		job->xs[i] = share->head.x;
		job->held[i] = bind_hold_secret(L, share->y32);
		lua_remove(L, -2);
	}
	job->count = count;
	return bind_job_start(L, &job->job);
}

void bind_add_recovery_wait(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{ "recovery_challenge", challenge },
		{ "recovery_answers", answers },
		{ "recovery_combine", combine },
		{ NULL, NULL },
	};
	luaL_setfuncs(L, functions, 0);
}
