/* Envelopes as handles: parsed and authenticated, opened later, here or by the TEE service. */
#include "bind/envelope.h"

#include <string.h>

#include "bind/body_job.h"
#include "base/mem.h"
#include "kms/codec.h"
#include "kms/crypto.h"
#include "kms/kdf.h"
#include "kms/odyn.h"
#include "kms/p384.h"
#include "net/http.h"

#define MAC_DIGITS 64

/* ---- the body ------------------------------------------------------------------------------- */

static kms_buf *body_of(kms_received *e)
{
	if (!e->http) return &e->body;
	return *e->http ? kms_http_body(*e->http) : NULL;
}

/* The body as it was parsed; NULL where the server has dropped it. */
static kms_buf *parsed_body(kms_received *e)
{
	kms_buf *body = body_of(e);
	return body && e->data && body->data == e->data && body->len == e->size ? body : NULL;
}

void kms_received_drop(kms_received *e)
{
	bool held = parsed_body(e) != NULL;
	if (held && e->http) kms_http_release_body(*e->http);
	if (held && !e->http) kms_buf_free(&e->body);
	e->data = NULL;
}

void kms_received_free(kms_received *e)
{
	if (!e) return;
	kms_buf_free(&e->body);
	kms_heap_free(e);
}

static void envelope_release(void *object)
{
	kms_received_free(object);
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
/* Not closable as others are: only an explicit close may touch the parser, which a collection finds
 * at work on another request. */
static const kms_bind_type envelope_type = { "kms.envelope", envelope_release, envelope_methods, false };

static kms_received *check_envelope(lua_State *L)
{
	return kms_bind_check(L, 1, &envelope_type);
}

/* envelope:close(): gives the body's memory back. Again is fine. */
static int envelope_close(lua_State *L)
{
	if (!kms_bind_is(L, 1, &envelope_type)) return luaL_typeerror(L, 1, envelope_type.name);
	void **box = lua_touserdata(L, 1);
	kms_received *e = *box;
	*box = NULL;
	if (e) kms_received_drop(e);
	kms_received_free(e);
	return 0;
}

/* envelope:authentic() -> whether the MAC it was parsed with is the body's. */
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

static kms_status parse(kms_convert *convert)
{
	kms_received *e = convert->source;
	kms_secret *sync_key = NULL;
	char *text = (char *)(uintptr_t)e->data;
	const uint8_t *given = convert->has_mac ? convert->mac32 : NULL;
	kms_status status = KMS_OK;

	if (convert->secret) status = kms_sync_key(&sync_key, convert->secret);
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

static int push_envelope(lua_State *L, kms_convert *convert)
{
	(void)convert;
	lua_pushvalue(L, ENVELOPE_INDEX);
	return 1;
}

/* Where the envelope's body is: taken over, or borrowed from the parser. */
static void set_source(kms_received *e, lua_State *L)
{
	if (kms_bind_is(L, 1, &kms_bind_body_type)) {
		kms_bind_take_body(&e->body, L, 1);
	} else {
		e->http = lua_touserdata(L, 1);
		lua_pushvalue(L, 1);
		lua_setiuservalue(L, ENVELOPE_INDEX, 1);
	}
	e->data = body_of(e)->data;
	e->size = body_of(e)->len;
}

/* Throws unless argument 1 is a parser or a public body. */
static void check_source(lua_State *L)
{
	if (!kms_bind_is(L, 1, &kms_bind_body_type))
		(void)kms_bind_check_http(L, 1);
	else if (kms_bind_check_body(L, 1)->kind != KMS_BUF_PLAIN)
		luaL_argerror(L, 1, "is no public body");
}

/*
 * envelope(source, peer_point97 [, master_secret, mac_text]) -> envelope | nil, message, code
 * Parses what arrived and checks that it names the peer's key. source: a request's parser with a
 * collected body, which is used where it is; or a public body, which is taken over.
 * With a master secret: whether mac_text (64 digits, any case) is the HMAC under the sync key of
 * the whole object's canonical JSON, envelope:authentic() says.
 */
static int envelope_new(lua_State *L)
{
	check_source(L);
	const uint8_t *peer97 = kms_bind_bytes(L, 2, KMS_P384_POINT);
	kms_secret *master = kms_bind_check_optional(L, 3, &kms_bind_secret_type);
	kms_text mac = kms_bind_text(L, 4);

	if (master && kms_secret_len(master) != KMS_MASTER_BYTES)
		luaL_argerror(L, 3, "a master secret has 32 bytes");
	lua_settop(L, ENVELOPE_INDEX - 1);
	void **box = kms_bind_new(L, &envelope_type);
	kms_convert *convert = kms_convert_new(L, parse);
	kms_received *e = kms_heap_alloc(1, sizeof(*e));
	if (!convert || !e) {
		kms_heap_free(e);
		return kms_bind_fail(L, KMS_ERR_MEMORY);
	}
	convert->source = e;
	convert->source_box = box;
	convert->push = push_envelope;
	memcpy(e->peer97, peer97, sizeof(e->peer97));
	set_source(e, L);
	convert->has_mac = mac.len == MAC_DIGITS && kms_hex_decode(convert->mac32, sizeof(convert->mac32),
								   mac.text, mac.len) == KMS_OK;
	if (master) convert->secret = kms_secret_ref(master);
	return kms_convert_start(L, convert, e->size > CONVERT_INLINE_BYTES);
}

/* ---- opening --------------------------------------------------------------------------------- */

/* Starts work on the envelope at argument 1, which can be done once. */
static int start(lua_State *L, kms_convert *convert, bool heavy)
{
	kms_received *e = check_envelope(L);
	convert->source_box = lua_touserdata(L, 1);
	*convert->source_box = NULL;
	convert->source = e;
	convert->consumes = true;
	return kms_convert_start(L, convert, heavy || e->size > CONVERT_INLINE_BYTES);
}

static kms_status channel_key(kms_convert *convert)
{
	if (convert->secret) return KMS_OK;
	return kms_channels_get(&convert->secret, convert->channels, convert->p384, convert->key97);
}

static kms_status open_here(kms_convert *convert)
{
	kms_status status = channel_key(convert);
	if (status != KMS_OK) return status;
	return kms_envelope_open(&convert->out, &convert->source->parsed, convert->secret);
}

/* The kind of memory that argument `arg` names, for plaintext. */
static kms_buf_kind check_kind(lua_State *L, int arg)
{
	static const char *const kinds[] = { "guarded", "wiped", NULL };
	return luaL_checkoption(L, arg, NULL, kinds) == 0 ? KMS_BUF_GUARDED : KMS_BUF_WIPED;
}

/*
 * envelope:open(p384, channels, "guarded"|"wiped") -> body with the plaintext | nil, message,
 * code. Once; the body as received is gone then.
 */
static int envelope_open(lua_State *L)
{
	kms_received *e = check_envelope(L);
	kms_p384 *p384 = kms_bind_check(L, 2, &kms_bind_p384_type);
	kms_channels *channels = kms_bind_check(L, 3, &kms_bind_channels_type);
	kms_buf_kind kind = check_kind(L, 4);

	lua_settop(L, 4);
	if (!parsed_body(e)) return kms_bind_fail(L, KMS_ERR_STATE);
	kms_convert *convert = kms_convert_new(L, open_here);
	if (!convert) return kms_bind_fail(L, KMS_ERR_MEMORY);
	convert->p384 = p384;
	convert->channels = channels;
	convert->out = kms_buf_make(kind, CONVERT_MAX_BYTES);
	memcpy(convert->key97, e->peer97, sizeof(convert->key97));
	convert->secret = kms_channels_find(channels, p384, e->peer97);
	return start(L, convert, !convert->secret);
}

static kms_status odyn_request(kms_convert *convert)
{
	return kms_odyn_decrypt_request(&convert->out, &convert->source->parsed, convert->source->peer97);
}

/*
 * envelope:odyn_request() -> body (wiped): what Odyn is asked to decrypt | nil, message, code.
 * Once; the body as received is gone then.
 */
static int envelope_odyn_request(lua_State *L)
{
	kms_received *e = check_envelope(L);
	lua_settop(L, 1);
	if (!parsed_body(e)) return kms_bind_fail(L, KMS_ERR_STATE);
	kms_convert *convert = kms_convert_new(L, odyn_request);
	if (!convert) return kms_bind_fail(L, KMS_ERR_MEMORY);
	convert->out = kms_buf_make(KMS_BUF_WIPED, CONVERT_MAX_BYTES);
	return start(L, convert, false);
}

/* ---- sealing ---------------------------------------------------------------------------------- */

static kms_status seal(kms_convert *convert)
{
	kms_status status = channel_key(convert);
	if (status != KMS_OK) return status;
	return kms_envelope_seal(&convert->out, convert->secret, kms_p384_public(convert->p384),
				 convert->in.data, convert->in.len);
}

/*
 * seal(plain, p384, channels, peer_point97) -> body: the envelope as canonical JSON |
 * nil, message, code. `plain` is taken over.
 */
static int envelope_seal(lua_State *L)
{
	size_t size = kms_bind_check_body(L, 1)->len;
	kms_p384 *p384 = kms_bind_check(L, 2, &kms_bind_p384_type);
	kms_channels *channels = kms_bind_check(L, 3, &kms_bind_channels_type);
	const uint8_t *peer97 = kms_bind_bytes(L, 4, KMS_P384_POINT);

	lua_settop(L, 4);
	kms_convert *convert = kms_convert_new(L, seal);
	if (!convert) return kms_bind_fail(L, KMS_ERR_MEMORY);
	convert->p384 = p384;
	convert->channels = channels;
	memcpy(convert->key97, peer97, sizeof(convert->key97));
	kms_bind_take_body(&convert->in, L, 1);
	convert->secret = kms_channels_find(channels, p384, peer97);
	return kms_convert_start(L, convert, !convert->secret || size > CONVERT_INLINE_BYTES);
}

/* ---- the MAC of what is sent -------------------------------------------------------------------- */

static kms_status sync_mac(kms_convert *convert)
{
	kms_secret *sync_key;
	kms_status status = kms_sync_key(&sync_key, convert->secret);
	if (status != KMS_OK) return status;
	status = kms_hmac_sha256(convert->mac32, sync_key, convert->loan.body->data, convert->loan.body->len);
	kms_secret_unref(sync_key);
	return status;
}

static int push_mac(lua_State *L, kms_convert *convert)
{
	char text[MAC_DIGITS];
	kms_hex_encode(text, convert->mac32, sizeof(convert->mac32));
	lua_pushlstring(L, text, sizeof(text));
	return 1;
}

/*
 * sync_mac(envelope_body, master_secret) -> 64 digits: X-Sync-Signature of a body that is canonical
 * JSON already | nil, message, code
 */
static int envelope_sync_mac(lua_State *L)
{
	size_t size = kms_bind_check_body(L, 1)->len;
	kms_secret *master = kms_bind_check(L, 2, &kms_bind_secret_type);
	if (kms_secret_len(master) != KMS_MASTER_BYTES) luaL_argerror(L, 2, "a master secret has 32 bytes");
	lua_settop(L, 2);
	kms_convert *convert = kms_convert_new(L, sync_mac);
	if (!convert) return kms_bind_fail(L, KMS_ERR_MEMORY);
	convert->push = push_mac;
	kms_bind_lend_body(&convert->loan, L, 1);
	convert->secret = kms_secret_ref(master);
	return kms_convert_start(L, convert, size > CONVERT_INLINE_BYTES);
}

void kms_bind_envelope(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{ "envelope", envelope_new },
		{ "seal", envelope_seal },
		{ "sync_mac", envelope_sync_mac },
		{ NULL, NULL },
	};
	kms_bind_define(L, &envelope_type);
	kms_convert_define(L);
	luaL_setfuncs(L, functions, 0);
}
