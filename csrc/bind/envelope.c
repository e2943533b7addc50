/* Envelopes as handles: parsed and authenticated first, opened later, here or by a TEE service. */
#include "bind/bind.h"

#include <string.h>

#include "bind/body.h"
#include "bind/body_job.h"
#include "bind/crypto.h"
#include "bind/envelope_handle.h"
#include "bind/http.h"
#include "bind/keys.h"
#include "bind/topics.h"
#include "base/mem.h"
#include "kms/codec.h"
#include "kms/crypto.h"
#include "kms/kdf.h"
#include "kms/odyn.h"
#include "kms/p384.h"
#include "net/http.h"

#define MAC_DIGITS 64

static void envelope_release(void *object)
{
	bind_envelope_free(object);
}

static int envelope_authentic(lua_State *L);
static int envelope_size(lua_State *L);
static int envelope_open(lua_State *L);
static int envelope_odyn_request(lua_State *L);
static int envelope_close(lua_State *L);

static const luaL_Reg envelope_methods[] = {
	{ "authentic", envelope_authentic },       { "size", envelope_size },   { "open", envelope_open },
	{ "odyn_request", envelope_odyn_request }, { "close", envelope_close }, { NULL, NULL },
};
/* Not closable: only an explicit close may touch the parser, which may be at another request when this
 * handle is collected. */
static const bind_type envelope_type = { "kms.envelope", envelope_release, envelope_methods, false };

static bind_envelope *check_envelope(lua_State *L)
{
	return bind_check(L, 1, &envelope_type);
}

/* envelope:close(): releases the body. Later calls do nothing. */
static int envelope_close(lua_State *L)
{
	if (!bind_is(L, 1, &envelope_type)) return luaL_typeerror(L, 1, envelope_type.name);
	void **box = lua_touserdata(L, 1);
	bind_envelope *e = *box;
	*box = NULL;
	if (e) bind_envelope_drop_body(e);
	bind_envelope_free(e);
	return 0;
}

/* envelope:authentic() -> whether the MAC given to envelope() is the body's. */
static int envelope_authentic(lua_State *L)
{
	lua_pushboolean(L, check_envelope(L)->authentic);
	return 1;
}

/* envelope:size() -> bytes of the body as received. */
static int envelope_size(lua_State *L)
{
	lua_pushinteger(L, (lua_Integer)check_envelope(L)->size);
	return 1;
}

/* ---- parsing --------------------------------------------------------------------------------- */

static kms_status parse(bind_body_job *job)
{
	bind_envelope *e = job->source;
	kms_secret *sync_key = NULL;
	char *text = (char *)(uintptr_t)e->data;
	const uint8_t *given = job->has_mac ? job->mac32 : NULL;
	kms_status status = KMS_OK;

	if (job->secret) status = kms_sync_key(&sync_key, job->secret);
	if (status == KMS_OK)
		status = sync_key ? kms_envelope_parse_mac(&e->parsed, &e->authentic, text, e->size, sync_key,
							   given)
				  : kms_envelope_parse(&e->parsed, text, e->size);
	if (status == KMS_OK) status = kms_envelope_check_sender(&e->parsed, e->peer97);
	kms_secret_unref(sync_key);
	if (status != KMS_OK) kms_buf_free(&e->body);
	return status;
}

/* The stack of native.envelope: four arguments, then the envelope. */
#define ENVELOPE_INDEX 5

static int push_envelope(lua_State *L, bind_body_job *job)
{
	(void)job;
	lua_pushvalue(L, ENVELOPE_INDEX);
	return 1;
}

/* Takes the body at argument 1 over, or borrows it from the parser. */
static void set_source(bind_envelope *e, lua_State *L)
{
	if (bind_is(L, 1, &bind_body_type)) {
		bind_body_take(&e->body, L, 1);
	} else {
		e->http = lua_touserdata(L, 1);
		lua_pushvalue(L, 1);
		lua_setiuservalue(L, ENVELOPE_INDEX, 1);
	}
	e->data = bind_envelope_body(e)->data;
	e->size = bind_envelope_body(e)->len;
}

/* Throws unless argument 1 is a parser or a public body. */
static void check_source(lua_State *L)
{
	if (!bind_is(L, 1, &bind_body_type))
		(void)bind_http_check(L, 1);
	else if (bind_body_check(L, 1)->kind != KMS_BUF_PLAIN)
		luaL_argerror(L, 1, "is not a public body");
}

/*
 * envelope(source, peer_point97 [, master_secret, mac_text]) -> envelope | nil, message, code
 * Parses an envelope and checks that its sender is the peer. source: a request's parser with a collected
 * body, which stays there; or a public body, which is taken over. With a master secret it also compares
 * mac_text (64 digits, any case) with the HMAC under the sync key (docs/protocol.md section 9), for
 * envelope:authentic().
 */
static int envelope_new(lua_State *L)
{
	check_source(L);
	const uint8_t *peer97 = bind_arg_bytes(L, 2, KMS_P384_POINT);
	kms_secret *master = lua_isnoneornil(L, 3) ? NULL : bind_check_master(L, 3);
	kms_text mac = bind_arg_text(L, 4);

	lua_settop(L, ENVELOPE_INDEX - 1);
	void **box = bind_new(L, &envelope_type);
	bind_body_job *job = bind_body_job_new(L, parse);
	bind_envelope *e = kms_heap_alloc(1, sizeof(*e));
	if (!job || !e) {
		kms_heap_free(e);
		return bind_fail(L, KMS_ERR_MEMORY);
	}
	job->source = e;
	job->source_box = box;
	job->push = push_envelope;
	memcpy(e->peer97, peer97, sizeof(e->peer97));
	set_source(e, L);
	job->has_mac = mac.len == MAC_DIGITS && kms_hex_decode(KMS_OUT(job->mac32), mac) == KMS_OK;
	if (master) job->secret = kms_secret_ref(master);
	return bind_body_job_start(L, job, false);
}

/* ---- opening --------------------------------------------------------------------------------- */

/* Starts a job that consumes the envelope at argument 1. */
static int start(lua_State *L, bind_body_job *job, bool heavy)
{
	job->source = check_envelope(L);
	job->source_box = lua_touserdata(L, 1);
	*job->source_box = NULL;
	job->consumes = true;
	return bind_body_job_start(L, job, heavy);
}

static kms_status channel_key(bind_body_job *job)
{
	if (job->secret) return KMS_OK;
	return kms_channels_get(&job->secret, job->channels, job->p384, job->key97);
}

static kms_status open_here(bind_body_job *job)
{
	kms_status status = channel_key(job);
	if (status != KMS_OK) return status;
	return kms_envelope_open(&job->out, &job->source->parsed, job->secret);
}

/*
 * envelope:open(p384, channels, "guarded"|"wiped") -> body with the plaintext | nil, message, code
 * Works once: it releases the body as received.
 */
static int envelope_open(lua_State *L)
{
	bind_envelope *e = check_envelope(L);
	kms_p384 *p384 = bind_check(L, 2, &bind_p384_type);
	kms_channels *channels = bind_check(L, 3, &bind_channels_type);
	kms_buf_kind kind = bind_arg_memory(L, 4);

	lua_settop(L, 4);
	if (!bind_envelope_parsed_body(e)) return bind_fail(L, KMS_ERR_STATE);
	bind_body_job *job = bind_body_job_new(L, open_here);
	if (!job) return bind_fail(L, KMS_ERR_MEMORY);
	job->p384 = p384;
	job->channels = channels;
	job->out = kms_buf_make(kind, BODY_JOB_MAX_BYTES);
	memcpy(job->key97, e->peer97, sizeof(job->key97));
	job->secret = kms_channels_find(channels, p384, e->peer97);
	return start(L, job, !job->secret);
}

static kms_status odyn_request(bind_body_job *job)
{
	return kms_odyn_decrypt_request(&job->out, &job->source->parsed, job->source->peer97);
}

/*
 * envelope:odyn_request() -> body (wiped): the request to Odyn to decrypt it | nil, message, code
 * Works once: it releases the body as received.
 */
static int envelope_odyn_request(lua_State *L)
{
	bind_envelope *e = check_envelope(L);
	lua_settop(L, 1);
	if (!bind_envelope_parsed_body(e)) return bind_fail(L, KMS_ERR_STATE);
	bind_body_job *job = bind_body_job_new(L, odyn_request);
	if (!job) return bind_fail(L, KMS_ERR_MEMORY);
	job->out = kms_buf_make(KMS_BUF_WIPED, BODY_JOB_MAX_BYTES);
	return start(L, job, false);
}

/* ---- sealing ---------------------------------------------------------------------------------- */

static kms_status seal(bind_body_job *job)
{
	kms_status status = channel_key(job);
	if (status != KMS_OK) return status;
	return kms_envelope_seal(&job->out, job->secret, kms_p384_public(job->p384), kms_buf_span(&job->in));
}

/*
 * seal(plain, p384, channels, peer_point97) -> body: a canonical envelope | nil, message, code
 * Takes `plain` over.
 */
static int envelope_seal(lua_State *L)
{
	(void)bind_body_check(L, 1);
	kms_p384 *p384 = bind_check(L, 2, &bind_p384_type);
	kms_channels *channels = bind_check(L, 3, &bind_channels_type);
	const uint8_t *peer97 = bind_arg_bytes(L, 4, KMS_P384_POINT);

	lua_settop(L, 4);
	bind_body_job *job = bind_body_job_new(L, seal);
	if (!job) return bind_fail(L, KMS_ERR_MEMORY);
	job->p384 = p384;
	job->channels = channels;
	memcpy(job->key97, peer97, sizeof(job->key97));
	bind_body_take(&job->in, L, 1);
	job->secret = kms_channels_find(channels, p384, peer97);
	return bind_body_job_start(L, job, !job->secret);
}

/* ---- the MAC of an outgoing envelope ------------------------------------------------------------- */

static kms_status sync_mac(bind_body_job *job)
{
	kms_secret *sync_key;
	kms_status status = kms_sync_key(&sync_key, job->secret);
	if (status != KMS_OK) return status;
	status = kms_hmac_sha256(job->mac32, sync_key, kms_buf_span(job->loan.body));
	kms_secret_unref(sync_key);
	return status;
}

static int push_mac(lua_State *L, bind_body_job *job)
{
	char text[MAC_DIGITS];
	kms_hex_encode(text, KMS_SPAN(job->mac32));
	lua_pushlstring(L, text, sizeof(text));
	return 1;
}

/*
 * sync_mac(envelope_body, master_secret) -> 64 digits: X-Sync-Signature | nil, message, code
 * The body is canonical JSON already.
 */
static int envelope_sync_mac(lua_State *L)
{
	(void)bind_body_check(L, 1);
	kms_secret *master = bind_check_master(L, 2);
	lua_settop(L, 2);
	bind_body_job *job = bind_body_job_new(L, sync_mac);
	if (!job) return bind_fail(L, KMS_ERR_MEMORY);
	job->push = push_mac;
	bind_body_lend(&job->loan, L, 1);
	job->secret = kms_secret_ref(master);
	return bind_body_job_start(L, job, false);
}

void bind_add_envelope(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{ "envelope", envelope_new },
		{ "seal", envelope_seal },
		{ "sync_mac", envelope_sync_mac },
		{ NULL, NULL },
	};
	bind_define(L, &envelope_type);
	bind_body_job_define(L);
	luaL_setfuncs(L, functions, 0);
}
