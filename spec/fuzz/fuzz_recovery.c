/*
 * Custodians: recipients are accepted in the one form that the writer gives them, a share likewise, and of
 * all age files only those open that the key's owner could have been sent.
 */
#include "codec/bech32.h"
#include "crypto/age_internal.h"
#include "kms/codec.h"
#include "kms/share.h"
#include "lib/fuzz.h"

enum { RECIPIENT, SHARE, AGE, HEADER, KINDS }; /* the first byte of an input */

const unsigned fuzz_kinds = KINDS;

static const uint8_t scalar32[32] = { 1, 2, 3 };
static const uint8_t file_key16[16] = { 4 };

static kms_x25519 *own_key(void)
{
	kms_secret *scalar;
	kms_x25519 *key;
	HOLDS_OK(kms_secret_new(&scalar, KMS_SPAN(scalar32)));
	HOLDS_OK(kms_x25519_new(&key, scalar));
	kms_secret_unref(scalar);
	return key;
}

static void fuzz_recipient(kms_span bytes)
{
	uint8_t key[32];
	char again[KMS_AGE_RECIPIENT];
	if (kms_age_recipient_parse(key, kms_span_text(bytes)) != KMS_OK) return;
	fuzz_accept(RECIPIENT);
	kms_age_recipient_format(again, key);
	HOLDS(bytes.len == sizeof(again) && memcmp(again, bytes.bytes, sizeof(again)) == 0);
}

static void fuzz_share(kms_span bytes)
{
	kms_share_head head;
	kms_secret *y;
	kms_status status = kms_share_read(&head, &y, bytes);
	HOLDS(status == KMS_OK || status == KMS_ERR_SHARE);
	HOLDS((status == KMS_OK) == (y != NULL));
	if (y) {
		fuzz_accept(SHARE);
		HOLDS(bytes.len == KMS_SHARE_BYTES && head.x >= 1 && head.x <= head.count);
		HOLDS(head.threshold >= 2 && head.threshold <= head.count &&
		      head.count <= KMS_SHARE_CUSTODIANS);
		HOLDS(memcmp(kms_secret_bytes(y), bytes.bytes + KMS_SHARE_BYTES - 32, 32) == 0);
	}
	kms_secret_unref(y);
}

/* Whole files: an accident does not make one, since its parts are authenticated. */
static void fuzz_age(kms_span bytes)
{
	kms_x25519 *key = own_key();
	kms_buf plain = kms_buf_make(KMS_BUF_GUARDED, 2 * KMS_AGE_MAX_PLAIN);
	kms_status status = kms_age_open(&plain, key, kms_span_text(bytes));
	HOLDS(status == KMS_OK || status == KMS_ERR_AGE);
	HOLDS(plain.len <= KMS_AGE_MAX_PLAIN && (status == KMS_OK || plain.len == 0));
	if (status == KMS_OK) fuzz_accept(AGE);
	kms_buf_free(&plain);
	kms_x25519_free(key);
}

/* A header as the input has it, armored, with a MAC and a payload that are right: what lies between is
 * reached. */
static void fuzz_header(kms_span bytes)
{
	static const uint8_t nonce[AGE_NONCE + 16] = { 0 };
	uint8_t mac[32];
	char base64[44];
	kms_x25519 *key = own_key();
	kms_buf whole = kms_buf_make(KMS_BUF_PLAIN, 2 * FUZZ_MAX_INPUT), lines = whole, file = whole;
	kms_buf plain = kms_buf_make(KMS_BUF_GUARDED, 2 * KMS_AGE_MAX_PLAIN);
	file.max = 2 * FUZZ_MAX_INPUT;
	HOLDS_OK(kms_buf_append_text(&whole, AGE_VERSION "\n"));
	HOLDS_OK(kms_buf_append(&whole, bytes));
	HOLDS_OK(kms_buf_append_text(&whole, "---"));
	HOLDS_OK(kms_age_header_mac(mac, file_key16, kms_buf_span(&whole)));
	kms_base64_encode(base64, KMS_SPAN(mac));
	HOLDS_OK(kms_buf_append_text(&whole, " "));
	HOLDS_OK(kms_buf_append(&whole, kms_span_of(base64, AGE_BASE64_32)));
	HOLDS_OK(kms_buf_append_text(&whole, "\n"));
	HOLDS_OK(kms_buf_append(&whole, KMS_SPAN(nonce)));
	HOLDS_OK(kms_buf_append_base64(&lines, kms_buf_span(&whole)));
	HOLDS_OK(kms_buf_append_text(&file, AGE_BEGIN "\n"));
	for (size_t at = 0; at < lines.len; at += AGE_LINE) {
		size_t len = lines.len - at < AGE_LINE ? lines.len - at : AGE_LINE;
		HOLDS_OK(kms_buf_append(&file, kms_span_of(lines.data + at, len)));
		HOLDS_OK(kms_buf_append_text(&file, "\n"));
	}
	HOLDS_OK(kms_buf_append_text(&file, AGE_END "\n"));
	/* The payload's tag is 16 zeros: it opens nothing. */
	HOLDS(kms_age_open(&plain, key, kms_buf_text(&file)) == KMS_ERR_AGE);
	fuzz_accept(HEADER);
	kms_buf_free(&whole);
	kms_buf_free(&lines);
	kms_buf_free(&file);
	kms_buf_free(&plain);
	kms_x25519_free(key);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const targets[KINDS])(kms_span) = { fuzz_recipient, fuzz_share, fuzz_age, fuzz_header };
	if (size == 0 || size > FUZZ_MAX_INPUT || data[0] >= KINDS) return 0;
	fuzz_start();
	kms_buf copy = fuzz_copy(KMS_BUF_PLAIN, kms_span_of(data + 1, size - 1));
	targets[data[0]](kms_buf_span(&copy));
	kms_buf_free(&copy);
	return 0;
}

static void seed_share(void)
{
	static const kms_share_set set = { .id32 = { 9 }, .threshold = 3, .count = 5 };
	kms_secret *master;
	kms_buf share = kms_buf_make(KMS_BUF_GUARDED, KMS_SHARE_BYTES);
	HOLDS_OK(kms_secret_new(&master, KMS_SPAN(scalar32)));
	HOLDS_OK(kms_share_make(&share, master, &set, 5, 20787));
	fuzz_seed_choice(SHARE, kms_buf_span(&share));
	kms_buf_free(&share);
	kms_secret_unref(master);
}

/* A file with fixed draws: seeds are the same at each run. */
static void seed_age(kms_span plain)
{
	static const uint8_t nonce16[16] = { 5 };
	kms_x25519 *key = own_key();
	const kms_age_draws draws = { key, file_key16, nonce16 };
	kms_buf file = kms_buf_make(KMS_BUF_PLAIN, FUZZ_MAX_INPUT);
	HOLDS_OK(kms_age_seal_with(&file, kms_x25519_public(key), plain, &draws));
	fuzz_seed_choice(AGE, kms_buf_span(&file));
	kms_buf_free(&file);
	kms_x25519_free(key);
}

void fuzz_seeds(void)
{
	char recipient[KMS_AGE_RECIPIENT];
	kms_x25519 *key = own_key();
	kms_age_recipient_format(recipient, kms_x25519_public(key));
	fuzz_seed_choice(RECIPIENT, KMS_SPAN(recipient));
	kms_x25519_free(key);
	seed_share();
	seed_age(KMS_BYTES("share"));
	seed_age(KMS_NO_BYTES);
	fuzz_seed_choice(HEADER, KMS_BYTES("-> X25519 TEiF0ypqr+bpvcqXNyCVJpL7OuwPdVwPL7KQEbFDOCc\n"
					   "EmECAEcKN+n/Vs9SbWiV+Hu0r+E8R77DdWYyd83nw7U\n"));
	fuzz_seed_choice(HEADER, KMS_BYTES("-> grease 1 2\n\n-> X25519 short\nAAAA\n"));
}
