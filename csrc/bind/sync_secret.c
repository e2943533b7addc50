/* The master secret that a newcomer receives: unsealing and sealing it, and the key that it is sealed to. */
#include "bind/bind.h"

#include <string.h>

#include "bind/crypto.h"
#include "bind/job.h"
#include "bind/keys.h"
#include "bind/sync.h"
#include "bind/topics.h"
#include "kms/codec.h"

typedef struct secret_job {
	bind_job job;
	kms_sync **message;   /* argument 1, held */
	const kms_p384 *p384; /* argument 2 */
	kms_secret **secret;  /* in the userdata that is the result */
	int secret_index;
	kms_status status;
} secret_job;

static void unseal_run(bind_job *base)
{
	secret_job *job = (secret_job *)base;
	job->status = kms_sync_unseal(job->secret, *job->message, job->p384);
}

static int unseal_finish(lua_State *L, bind_job *base)
{
	secret_job *job = (secret_job *)base;
	bind_hold_end(L, 1, (void **)job->message);
	if (job->status != KMS_OK) return bind_fail(L, job->status);
	lua_pushvalue(L, job->secret_index);
	return 1;
}

/* message:unseal(p384) -> the master secret in its member "sealed" | nil, message, code */
static int message_unseal(lua_State *L)
{
	(void)bind_check(L, 1, &bind_sync_type);
	const kms_p384 *p384 = bind_check(L, 2, &bind_p384_type);
	lua_settop(L, 2);
	kms_secret **secret = (kms_secret **)bind_new(L, &bind_secret_type);
	secret_job *job = bind_job_push(L, sizeof(*job), unseal_run, unseal_finish);
	job->job.heavy = true;
	job->p384 = p384;
	job->secret = secret;
	job->secret_index = 3;
	job->message = (kms_sync **)bind_hold(L, 1, &bind_sync_type);
	return bind_job_start(L, &job->job);
}

typedef struct seal_job {
	bind_job job;
	kms_secret **master;
	char pubkey[2 * KMS_P384_DER + 2];
	size_t pubkey_len;
	kms_sealed sealed;
	kms_status status;
} seal_job;

static void seal_run(bind_job *base)
{
	seal_job *job = (seal_job *)base;
	uint8_t point[KMS_P384_POINT];
	job->status = kms_p384_point_from_hex(point, kms_text_of(job->pubkey, job->pubkey_len));
	if (job->status == KMS_OK) job->status = kms_master_seal(&job->sealed, *job->master, point);
	bind_drop_secret(job->master);
}

static void set_hex(lua_State *L, const char *name, const uint8_t *bytes, size_t len)
{
	char digits[2 * KMS_P384_DER];
	kms_hex_encode(digits, kms_span_of(bytes, len));
	lua_pushlstring(L, digits, 2 * len);
	lua_setfield(L, -2, name);
}

static int seal_finish(lua_State *L, bind_job *base)
{
	seal_job *job = (seal_job *)base;
	uint8_t der[KMS_P384_DER];
	if (job->status != KMS_OK) return bind_fail(L, job->status);
	kms_p384_der(der, job->sealed.ephemeral_point97);
	lua_createtable(L, 0, 3);
	set_hex(L, "ephemeral_pubkey", der, sizeof(der));
	set_hex(L, "encrypted_data", job->sealed.data48, sizeof(job->sealed.data48));
	set_hex(L, "nonce", job->sealed.iv12, sizeof(job->sealed.iv12));
	return 1;
}

/*
 * master_seal(master_secret, requester_pubkey_hex) -> { ephemeral_pubkey=, encrypted_data=, nonce= }
 * in hexadecimal, ephemeral_pubkey as SubjectPublicKeyInfo | nil, message, code
 */
static int master_seal(lua_State *L)
{
	kms_secret *master = bind_check(L, 1, &bind_secret_type);
	size_t len;
	const char *pubkey = luaL_checklstring(L, 2, &len);
	seal_job *job = bind_job_push(L, sizeof(*job), seal_run, seal_finish);
	if (len > sizeof(job->pubkey)) return bind_fail(L, KMS_ERR_PEER_KEY);
	job->job.heavy = true;
	memcpy(job->pubkey, pubkey, len);
	job->pubkey_len = len;
	job->master = bind_hold_secret(L, master);
	return bind_job_start(L, &job->job);
}

typedef struct key_job {
	bind_job job;
	kms_p384 **key; /* in the userdata that is the result */
	int key_index;
	kms_status status;
} key_job;

static void key_run(bind_job *base)
{
	key_job *job = (key_job *)base;
	job->status = kms_p384_generate(job->key);
}

static int key_finish(lua_State *L, bind_job *base)
{
	key_job *job = (key_job *)base;
	if (job->status != KMS_OK) return bind_fail(L, job->status);
	lua_pushvalue(L, job->key_index);
	return 1;
}

/* p384_generate() -> a new P-384 key, for one exchange | nil, message, code */
static int generate_p384(lua_State *L)
{
	lua_settop(L, 0);
	kms_p384 **key = (kms_p384 **)bind_new(L, &bind_p384_type);
	key_job *job = bind_job_push(L, sizeof(*job), key_run, key_finish);
	job->job.heavy = true;
	job->key = key;
	job->key_index = 1;
	return bind_job_start(L, &job->job);
}

void bind_add_sync_secret(lua_State *L)
{
	static const luaL_Reg methods[] = { { "unseal", message_unseal }, { NULL, NULL } };
	static const luaL_Reg functions[] = {
		{ "master_seal", master_seal },
		{ "p384_generate", generate_p384 },
		{ NULL, NULL },
	};
	bind_add_methods(L, &bind_sync_type, methods);
	luaL_setfuncs(L, functions, 0);
}
