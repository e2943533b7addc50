/* Cost of each primitive: hashes, signatures, P-384, envelopes, limits, JSON. */
#include <stdio.h>
#include <string.h>

#include "base/ensure.h"
#include "kms/codec.h"
#include "kms/crypto.h"
#include "kms/envelope.h"
#include "kms/eth_text.h"
#include "kms/json.h"
#include "kms/kdf.h"
#include "kms/limit.h"
#include "kms/p384.h"
#include "kms/pop.h"
#include "kms/wallet.h"
#include "lib/measure.h"

#define MIB (1u << 20)

/* The objects that the operations use; they live as long as the program. */
typedef struct world {
	kms_secret *master, *channel_key;
	kms_wallet *wallet;
	kms_p384 *own, *peer;
	kms_channels *channels;
	kms_limiter *limiter;
	uint8_t digest32[32], address20[20], sig65[65];
	char message[160];
	size_t message_len;
	kms_text signature;
	char signature_text[KMS_SIGNATURE_TEXT];
} world;

/* An envelope of some size, and buffers to make and open it repeatedly. */
typedef struct letter {
	const world *world;
	size_t size;
	uint8_t *plain; /* guarded */
	kms_buf body;   /* as sent */
	kms_buf copy;   /* parsing changes it */
	kms_buf opened; /* guarded */
	kms_buf sealed;
	kms_envelope envelope; /* of `copy` */
} letter;

static kms_status set_up(world *w)
{
	GUARD(kms_secret_random(&w->master, KMS_MASTER_BYTES));
	GUARD(kms_wallet_new(&w->wallet, w->master));
	GUARD(kms_p384_generate(&w->own));
	GUARD(kms_p384_generate(&w->peer));
	GUARD(kms_channels_new(&w->channels, 1024));
	GUARD(kms_channels_get(&w->channel_key, w->channels, w->own, kms_p384_public(w->peer)));
	GUARD(kms_limiter_new(&w->limiter, 1000000000, 1000000000, 10000));
	kms_wallet_address(w->address20, w->wallet);
	int len = snprintf(w->message, sizeof(w->message), "NovaKMS:AppAuth:%.24s:0x%040d:1700000000",
			   "AAAAAAAAAAAAAAAAAAAAAA==", 7);
	ENSURE(len > 0 && (size_t)len < sizeof(w->message), KMS_ERR_RANGE);
	w->message_len = (size_t)len;
	GUARD(kms_wallet_sign_message(w->sig65, w->wallet, kms_span_of(w->message, w->message_len)));
	kms_signature_format(w->signature_text, w->sig65);
	w->signature = (kms_text){ w->signature_text, sizeof(w->signature_text) };
	return KMS_OK;
}

/* ---- hashes, signatures, keys -------------------------------------------------------------- */

static kms_status run_keccak(void *context, size_t count)
{
	static uint8_t block[136];
	(void)context;
	for (size_t i = 0; i < count; i++)
		kms_keccak256(block, KMS_SPAN(block));
	return KMS_OK;
}

static kms_status run_sign(void *context, size_t count)
{
	world *w = context;
	for (size_t i = 0; i < count; i++)
		GUARD(kms_wallet_sign_message(w->sig65, w->wallet, kms_span_of(w->message, w->message_len)));
	return KMS_OK;
}

static kms_status run_response_sign(void *context, size_t count)
{
	world *w = context;
	char text[KMS_SIGNATURE_TEXT];
	for (size_t i = 0; i < count; i++)
		GUARD(kms_response_sign(text, w->wallet, w->signature));
	return KMS_OK;
}

static kms_status run_recover(void *context, size_t count)
{
	world *w = context;
	for (size_t i = 0; i < count; i++)
		GUARD(kms_message_recover(w->address20, kms_span_of(w->message, w->message_len), w->sig65));
	return KMS_OK;
}

static kms_status run_point(void *context, size_t count)
{
	world *w = context;
	uint8_t point97[KMS_P384_POINT];
	for (size_t i = 0; i < count; i++)
		GUARD(kms_p384_point_parse(point97, kms_span_of(kms_p384_public(w->peer), KMS_P384_POINT)));
	return KMS_OK;
}

static kms_status run_ecdh(void *context, size_t count)
{
	world *w = context;
	for (size_t i = 0; i < count; i++) {
		kms_secret *x48 = NULL;
		GUARD(kms_p384_ecdh(&x48, w->own, kms_p384_public(w->peer)));
		kms_secret_unref(x48);
	}
	return KMS_OK;
}

static kms_status run_channel(void *context, size_t count)
{
	world *w = context;
	for (size_t i = 0; i < count; i++) {
		kms_secret *key = kms_channels_find(w->channels, w->own, kms_p384_public(w->peer));
		ENSURE(key, KMS_ERR_NOT_FOUND);
		kms_secret_unref(key);
	}
	return KMS_OK;
}

static kms_status run_derive(void *context, size_t count)
{
	world *w = context;
	uint8_t *key = kms_guarded_alloc(32);
	kms_status status = key ? KMS_OK : KMS_ERR_LOCKED_MEMORY;
	for (size_t i = 0; i < count && status == KMS_OK; i++)
		status = kms_derive(kms_out_of(key, 32), w->master, 1000 + i, KMS_TEXT("wallets/main"),
				    KMS_TEXT(""));
	kms_guarded_free(key);
	return status;
}

static kms_status run_hmac(void *context, size_t count)
{
	world *w = context;
	uint8_t mac32[32];
	for (size_t i = 0; i < count; i++)
		GUARD(kms_hmac_sha256(mac32, w->master, kms_span_of(w->message, w->message_len)));
	return KMS_OK;
}

static kms_status run_limiter(void *context, size_t count)
{
	world *w = context;
	uint64_t retry_ms = 0;
	for (size_t i = 0; i < count; i++) {
		uint32_t key = (uint32_t)(i % 1000);
		GUARD(
		    kms_limiter_take(&retry_ms, w->limiter, kms_span_of(&key, sizeof(key)), 1000 + i / 100));
	}
	return KMS_OK;
}

static kms_status run_json(void *context, size_t count)
{
	static const char request[] =
	    "{\"context\":\"v1\",\"length\":32,\"path\":\"wallets/main\",\"pop\":\"0x"
	    "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
	    "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff1b\"}";
	char text[sizeof(request)];
	(void)context;
	for (size_t i = 0; i < count; i++) {
		kms_json json;
		memcpy(text, request, sizeof(request));
		kms_status status = kms_json_parse(&json, text, sizeof(request) - 1, 64);
		kms_json_free(&json);
		GUARD(status);
	}
	return KMS_OK;
}

static void bench_keys(world *w)
{
	const bench_case cases[] = {
		{ "keccak-256, 136 bytes", run_keccak, NULL, w, 0 },
		{ "EIP-191 sign", run_sign, NULL, w, 0 },
		{ "EIP-191 recover", run_recover, NULL, w, 0 },
		{ "response signature, text to text", run_response_sign, NULL, w, 0 },
		{ "P-384 point check", run_point, NULL, w, 0 },
		{ "P-384 ECDH", run_ecdh, NULL, w, 0 },
		{ "channel key, held", run_channel, NULL, w, 0 },
		{ "derive 32 bytes (HKDF-SHA256)", run_derive, NULL, w, 0 },
		{ "HMAC-SHA256, one message", run_hmac, NULL, w, 0 },
		{ "limiter take, 1000 keys", run_limiter, NULL, w, 0 },
		{ "JSON parse, derive request", run_json, NULL, w, 0 },
	};
	bench_title("Primitives");
	for (size_t i = 0; i < KMS_ARRAY_LEN(cases); i++)
		bench_row(&cases[i]);
}

/* ---- envelopes ------------------------------------------------------------------------------ */

static kms_status run_envelope_parse(void *context, size_t count)
{
	letter *l = context;
	for (size_t i = 0; i < count; i++) {
		memcpy(l->copy.data, l->body.data, l->body.len);
		GUARD(kms_envelope_parse(&l->envelope, (char *)l->copy.data, l->copy.len));
	}
	return KMS_OK;
}

static kms_status run_envelope_open(void *context, size_t count)
{
	letter *l = context;
	for (size_t i = 0; i < count; i++) {
		kms_buf_clear(&l->opened);
		GUARD(kms_envelope_open(&l->opened, &l->envelope, l->world->channel_key));
	}
	return KMS_OK;
}

static kms_status run_envelope_seal(void *context, size_t count)
{
	letter *l = context;
	for (size_t i = 0; i < count; i++) {
		kms_buf_clear(&l->sealed);
		GUARD(kms_envelope_seal(&l->sealed, l->world->channel_key, kms_p384_public(l->world->own),
					kms_span_of(l->plain, l->size)));
	}
	return KMS_OK;
}

static kms_status write_letter(letter *l)
{
	l->plain = kms_guarded_alloc(l->size);
	ENSURE(l->plain, KMS_ERR_LOCKED_MEMORY);
	memset(l->plain, 'x', l->size);
	l->body = kms_buf_make(KMS_BUF_PLAIN, 4 * MIB);
	l->copy = kms_buf_make(KMS_BUF_PLAIN, 4 * MIB);
	l->sealed = kms_buf_make(KMS_BUF_PLAIN, 4 * MIB);
	l->opened = kms_buf_make(KMS_BUF_GUARDED, 4 * MIB);
	GUARD(kms_envelope_seal(&l->body, l->world->channel_key, kms_p384_public(l->world->own),
				kms_span_of(l->plain, l->size)));
	GUARD(kms_buf_append(&l->copy, kms_buf_span(&l->body)));
	return run_envelope_parse(l, 1);
}

static void bench_envelopes(const world *w, size_t size, const char *const names[3])
{
	letter l = { .world = w, .size = size };
	kms_status status = write_letter(&l);
	if (status == KMS_OK) {
		bench_row(&(bench_case){ names[0], run_envelope_parse, NULL, &l, 0 });
		bench_row(&(bench_case){ names[1], run_envelope_open, NULL, &l, 0 });
		bench_row(&(bench_case){ names[2], run_envelope_seal, NULL, &l, 0 });
	} else {
		(void)bench_failed("envelope", status);
	}
	kms_guarded_free(l.plain);
	kms_buf_free(&l.body);
	kms_buf_free(&l.copy);
	kms_buf_free(&l.sealed);
	kms_buf_free(&l.opened);
}

int main(void)
{
	static world w;
	static const char *const small[] = { "envelope parse, 256 bytes", "envelope open, 256 bytes",
					     "envelope seal, 256 bytes" };
	static const char *const large[] = { "envelope parse, 1 MiB", "envelope open, 1 MiB",
					     "envelope seal, 1 MiB" };

	if (!bench_begin()) return 1;
	kms_status status = set_up(&w);
	if (status != KMS_OK) {
		(void)bench_failed("set-up", status);
		return bench_exit();
	}
	bench_keys(&w);
	bench_envelopes(&w, 256, small);
	bench_envelopes(&w, MIB, large);
	return bench_exit();
}
