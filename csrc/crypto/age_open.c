/* The reader of age files: strict, and bounded by KMS_AGE_MAX_FILE. */
#include <string.h>

#include "base/declassify.h"
#include "crypto/age_internal.h"
#include "crypto/chacha_internal.h"
#include "kms/codec.h"
#include "kms/crypto.h"

#define KEY 32
#define WRAPPED (AGE_FILE_KEY + KMS_CHACHA_TAG)
#define MAX_STANZAS 20

/* ---- lines ---- */

/* The text before the next LF, which is consumed. Returns: false where there is none. */
static bool take_line(kms_text *line, kms_reader *reader)
{
	const uint8_t *end =
	    kms_reader_left(reader) ? memchr(reader->at, '\n', kms_reader_left(reader)) : NULL;
	if (!end) return false;
	*line = kms_text_of((const char *)reader->at, (size_t)(end - reader->at));
	reader->at = end + 1;
	return true;
}

static bool is_text(kms_text text, kms_text wanted)
{
	return text.len == wanted.len && memcmp(text.text, wanted.text, text.len) == 0;
}

/* What follows a prefix. Returns: false where the text does not begin with it. */
static bool skip_prefix(kms_text *text, kms_text prefix)
{
	if (text->len < prefix.len || memcmp(text->text, prefix.text, prefix.len) != 0) return false;
	*text = kms_text_of(text->text + prefix.len, text->len - prefix.len);
	return true;
}

/* ---- armor ---- */

/* A line of armor: its end may be CR LF, too. */
static bool take_armor_line(kms_text *line, kms_reader *reader)
{
	if (!take_line(line, reader)) return false;
	if (line->len && line->text[line->len - 1] == '\r') line->len--;
	return true;
}

static bool is_blank(const kms_reader *reader)
{
	for (const uint8_t *at = reader->at; at < reader->end; at++)
		if (*at != ' ' && *at != '\t' && *at != '\r' && *at != '\n') return false;
	return true;
}

/* The lines between the marks, joined. */
static kms_status join_armor(kms_buf *base64, kms_text file)
{
	kms_text line;
	kms_reader reader = kms_reader_make(kms_text_span(file));
	ENSURE(take_armor_line(&line, &reader) && is_text(line, KMS_TEXT(AGE_BEGIN)), KMS_ERR_AGE);
	for (bool last = false;;) {
		ENSURE(take_armor_line(&line, &reader), KMS_ERR_AGE);
		if (is_text(line, KMS_TEXT(AGE_END))) break;
		/* All lines are full but the last one. */
		ENSURE(!last && line.len > 0 && line.len <= AGE_LINE, KMS_ERR_AGE);
		last = line.len < AGE_LINE;
		GUARD(kms_buf_append(base64, kms_text_span(line)));
	}
	return is_blank(&reader) ? KMS_OK : KMS_ERR_AGE;
}

static kms_status remove_armor(kms_buf *bytes, kms_text file)
{
	DEFER(kms_buf_free) kms_buf base64 = kms_buf_make(KMS_BUF_PLAIN, KMS_AGE_MAX_FILE);
	GUARD(join_armor(&base64, file));
	ENSURE(base64.len, KMS_ERR_AGE);
	GUARD(kms_buf_reserve(bytes, kms_base64_bound(base64.len)));
	kms_status status = kms_base64_decode(bytes->data, &bytes->len, kms_buf_text(&base64));
	return status == KMS_ERR_BASE64 ? KMS_ERR_AGE : status;
}

/* ---- header ---- */

/* 32 bytes of base64 that is not padded. */
static kms_status decode32(uint8_t bytes32[32], kms_text text)
{
	char padded[AGE_BASE64_32 + 1];
	uint8_t decoded[(AGE_BASE64_32 + 1) / 4 * 3];
	size_t len;
	ENSURE(text.len == AGE_BASE64_32, KMS_ERR_AGE);
	memcpy(padded, text.text, AGE_BASE64_32);
	padded[AGE_BASE64_32] = '=';
	ENSURE(kms_base64_decode(decoded, &len, kms_text_of(padded, sizeof(padded))) == KMS_OK && len == KEY,
	       KMS_ERR_AGE);
	memcpy(bytes32, decoded, KEY);
	return KMS_OK;
}

/* Unwraps a file key. Returns: KMS_OK; ERR_DECRYPT when the stanza is another recipient's. */
static kms_status unwrap(uint8_t *file_key, const kms_x25519 *key, kms_text share, kms_text body)
{
	uint8_t ephemeral[KEY], wrapped[WRAPPED];
	DEFER(kms_secret_release) kms_secret *shared = NULL;
	DEFER(kms_guarded_release) uint8_t *wrap_key = kms_guarded_alloc(KEY);
	ENSURE(wrap_key, KMS_ERR_LOCKED_MEMORY);
	GUARD(decode32(ephemeral, share));
	GUARD(decode32(wrapped, body));
	kms_status status = kms_x25519_agree(&shared, key, ephemeral);
	ENSURE(status != KMS_ERR_PEER_KEY, KMS_ERR_AGE);
	GUARD(status);
	GUARD(kms_age_wrap_key(wrap_key, shared, ephemeral, kms_x25519_public(key)));
	return kms_chacha_open(file_key, wrap_key, kms_age_wrap_nonce12, KMS_SPAN(wrapped));
}

/* The rest of a stanza's body, up to its first line that is not full. Out: first - its first line. */
static kms_status take_body(kms_text *first, kms_reader *reader)
{
	ENSURE(take_line(first, reader) && first->len <= AGE_LINE, KMS_ERR_AGE);
	for (kms_text line = *first; line.len == AGE_LINE;)
		ENSURE(take_line(&line, reader) && line.len <= AGE_LINE, KMS_ERR_AGE);
	return KMS_OK;
}

/* Stanzas and "---". Out: file_key - where `found`. mac - the text after "--- ". */
static kms_status read_stanzas(uint8_t *file_key, bool *found, kms_text *mac, kms_reader *reader,
			       const kms_x25519 *key)
{
	for (size_t count = 0; count <= MAX_STANZAS; count++) {
		kms_text line, body;
		ENSURE(take_line(&line, reader), KMS_ERR_AGE);
		*mac = line;
		if (skip_prefix(mac, KMS_TEXT("--- "))) return count ? KMS_OK : KMS_ERR_AGE;
		ENSURE(skip_prefix(&line, KMS_TEXT("-> ")), KMS_ERR_AGE);
		GUARD(take_body(&body, reader));
		if (*found || !skip_prefix(&line, KMS_TEXT(AGE_STANZA " "))) continue;
		kms_status status = unwrap(file_key, key, line, body);
		if (status == KMS_ERR_DECRYPT) continue;
		GUARD(status);
		*found = true;
	}
	return KMS_ERR_AGE;
}

static kms_status read_header(uint8_t *file_key, kms_reader *reader, const kms_x25519 *key)
{
	kms_text line, mac_text;
	uint8_t mac[32], made[32];
	bool found = false;
	const uint8_t *start = reader->at;
	ENSURE(take_line(&line, reader) && is_text(line, KMS_TEXT(AGE_VERSION)), KMS_ERR_AGE);
	GUARD(read_stanzas(file_key, &found, &mac_text, reader, key));
	ENSURE(found, KMS_ERR_AGE);
	GUARD(decode32(mac, mac_text));
	/* Without the space before the MAC. */
	size_t len = (size_t)((const uint8_t *)mac_text.text - 1 - start);
	GUARD(kms_age_header_mac(made, file_key, kms_span_of(start, len)));
	return kms_equal_ct(mac, made, sizeof(mac)) ? KMS_OK : KMS_ERR_AGE;
}

/* ---- payload ---- */

static kms_status read_payload(kms_buf *plain, kms_reader *reader, const uint8_t *file_key)
{
	const uint8_t *nonce;
	DEFER(kms_guarded_release) uint8_t *key = kms_guarded_alloc(KEY);
	ENSURE(key, KMS_ERR_LOCKED_MEMORY);
	ENSURE(kms_reader_take(&nonce, reader, AGE_NONCE) == KMS_OK, KMS_ERR_AGE);
	size_t left = kms_reader_left(reader);
	ENSURE(left >= KMS_CHACHA_TAG && left <= KMS_AGE_MAX_PLAIN + KMS_CHACHA_TAG, KMS_ERR_AGE);
	GUARD(kms_age_payload_key(key, file_key, nonce));
	GUARD(kms_buf_reserve(plain, left));
	GUARD(kms_chacha_open(plain->data, key, kms_age_chunk_nonce12, kms_span_of(reader->at, left)));
	plain->len = left - KMS_CHACHA_TAG;
	return KMS_OK;
}

static kms_status open_bytes(kms_buf *plain, const kms_x25519 *key, kms_span bytes)
{
	DEFER(kms_guarded_release) uint8_t *file_key = kms_guarded_alloc(AGE_FILE_KEY);
	ENSURE(file_key, KMS_ERR_LOCKED_MEMORY);
	kms_reader reader = kms_reader_make(bytes);
	GUARD(read_header(file_key, &reader, key));
	kms_status status = read_payload(plain, &reader, file_key);
	return status == KMS_ERR_DECRYPT ? KMS_ERR_AGE : status;
}

kms_status kms_age_open(kms_buf *plain, const kms_x25519 *key, kms_text file)
{
	ENSURE_REF(plain);
	kms_buf_clear(plain);
	ENSURE_REF(key);
	ENSURE(file.text || file.len == 0, KMS_ERR_ARGUMENT);
	ENSURE(plain->kind == KMS_BUF_GUARDED, KMS_ERR_ARGUMENT);
	ENSURE(file.len <= KMS_AGE_MAX_FILE, KMS_ERR_AGE);
	DEFER(kms_buf_free) kms_buf bytes = kms_buf_make(KMS_BUF_PLAIN, KMS_AGE_MAX_FILE);
	GUARD(remove_armor(&bytes, file));
	return open_bytes(plain, key, kms_buf_span(&bytes));
}
