#include "kms/keyfile.h"

#include <string.h>

#include "base/file.h"
#include "base/ensure.h"
#include "kms/codec.h"
#include "kms/crypto.h"
#include "kms/p384.h"
#include "kms/value_seal.h"
#include "kms/wallet.h"

#define SEED_BYTES 32
#define SEED_TEXT (2 * SEED_BYTES + 1) /* digits and a newline */
#define WALLET_BYTES 32
#define P384_BYTES 48
#define SALT "nova-kms:identity"

#define SEALED_HEAD "nova-kms sealed v1\n"
#define SEALED_HEAD_LEN (sizeof(SEALED_HEAD) - 1)
#define SEALED_BYTES (SEED_BYTES + KMS_VALUE_SEAL_OVERHEAD)
#define SEALED_TEXT (SEALED_HEAD_LEN + 2 * SEALED_BYTES + 1)

/* ---- seeds ---- */

kms_status kms_seed_load(kms_secret **seed32, const char *path)
{
	ENSURE_REF(seed32);
	*seed32 = NULL;
	ENSURE_REF(path);
	DEFER(kms_guarded_release) uint8_t *text = kms_guarded_alloc(SEED_TEXT);
	ENSURE(text, KMS_ERR_LOCKED_MEMORY);
	GUARD(kms_file_read(kms_out_of(text, SEED_TEXT), path));
	ENSURE(text[SEED_TEXT - 1] == '\n', KMS_ERR_FILE_FORMAT);
	kms_status status =
	    kms_secret_from_hex(seed32, kms_text_of((const char *)text, SEED_TEXT - 1), SEED_BYTES);
	return status == KMS_ERR_HEX ? KMS_ERR_FILE_FORMAT : status;
}

kms_status kms_seed_create(kms_secret **seed32, const char *path)
{
	ENSURE_REF(seed32);
	*seed32 = NULL;
	ENSURE_REF(path);
	DEFER(kms_guarded_release) uint8_t *text = kms_guarded_alloc(SEED_TEXT);
	DEFER(kms_secret_release) kms_secret *seed = NULL;
	ENSURE(text, KMS_ERR_LOCKED_MEMORY);
	GUARD(kms_secret_random(&seed, SEED_BYTES));
	kms_hex_encode((char *)text, kms_span_of(kms_secret_bytes(seed), SEED_BYTES));
	text[SEED_TEXT - 1] = '\n';
	GUARD(kms_file_write(path, kms_span_of(text, SEED_TEXT), false));
	*seed32 = seed;
	seed = NULL;
	return KMS_OK;
}

/* The key for one use of a seed. */
static kms_status seed_key(kms_secret **key, size_t len, const kms_secret *seed32, kms_span use)
{
	ENSURE(kms_secret_len(seed32) == SEED_BYTES, KMS_ERR_RANGE);
	DEFER(kms_guarded_release) uint8_t *bytes = kms_guarded_alloc(len);
	ENSURE(bytes, KMS_ERR_LOCKED_MEMORY);
	GUARD(kms_hkdf_sha256(kms_out_of(bytes, len), kms_secret_span(seed32), KMS_BYTES(SALT), use));
	return kms_secret_new(key, kms_span_of(bytes, len));
}

kms_status kms_seed_identity(kms_wallet **wallet, kms_p384 **p384, const kms_secret *seed32)
{
	ENSURE_REF(wallet);
	ENSURE_REF(p384);
	*wallet = NULL;
	*p384 = NULL;
	ENSURE_REF(seed32);
	DEFER(kms_secret_release) kms_secret *wallet_key = NULL;
	DEFER(kms_secret_release) kms_secret *scalar = NULL;
	DEFER(kms_wallet_release) kms_wallet *made = NULL;
	GUARD(seed_key(&wallet_key, WALLET_BYTES, seed32, KMS_BYTES("wallet")));
	GUARD(seed_key(&scalar, P384_BYTES, seed32, KMS_BYTES("p384")));
	GUARD(kms_wallet_new(&made, wallet_key));
	GUARD(kms_p384_new(p384, scalar));
	*wallet = made;
	made = NULL;
	return KMS_OK;
}

/* ---- sealed secrets ---- */

kms_status kms_sealfile_save(const char *path, const kms_secret *secret32, const kms_secret *seed32)
{
	ENSURE_REF(path);
	ENSURE_REF(secret32);
	ENSURE_REF(seed32);
	ENSURE(kms_secret_len(secret32) == SEED_BYTES, KMS_ERR_RANGE);
	DEFER(kms_secret_release) kms_secret *key = NULL;
	DEFER(kms_buf_free) kms_buf record = kms_buf_make(KMS_BUF_PLAIN, SEALED_BYTES);
	DEFER(kms_buf_free) kms_buf text = kms_buf_make(KMS_BUF_PLAIN, SEALED_TEXT);
	GUARD(seed_key(&key, 32, seed32, KMS_BYTES("seal")));
	GUARD(kms_value_seal(&record, key, kms_secret_span(secret32)));
	GUARD(kms_buf_append_text(&text, SEALED_HEAD));
	GUARD(kms_buf_append_hex(&text, kms_buf_span(&record)));
	GUARD(kms_buf_append_text(&text, "\n"));
	return kms_file_write(path, kms_buf_span(&text), true);
}

kms_status kms_sealfile_load(kms_secret **secret32, const char *path, const kms_secret *seed32)
{
	ENSURE_REF(secret32);
	*secret32 = NULL;
	ENSURE_REF(path);
	ENSURE_REF(seed32);
	uint8_t text[SEALED_TEXT], record[SEALED_BYTES];
	DEFER(kms_secret_release) kms_secret *key = NULL;
	DEFER(kms_buf_free) kms_buf plain = kms_buf_make(KMS_BUF_GUARDED, SEED_BYTES);
	GUARD(kms_file_read(KMS_OUT(text), path));
	ENSURE(memcmp(text, SEALED_HEAD, SEALED_HEAD_LEN) == 0, KMS_ERR_FILE_FORMAT);
	ENSURE(text[SEALED_TEXT - 1] == '\n', KMS_ERR_FILE_FORMAT);
	kms_status status = kms_hex_decode(
	    KMS_OUT(record), kms_text_of((const char *)text + SEALED_HEAD_LEN, 2 * SEALED_BYTES));
	ENSURE(status == KMS_OK, KMS_ERR_FILE_FORMAT);
	GUARD(seed_key(&key, 32, seed32, KMS_BYTES("seal")));
	status = kms_value_open(&plain, key, KMS_SPAN(record));
	ENSURE(status != KMS_ERR_DECRYPT, KMS_ERR_SEALED);
	GUARD(status);
	return kms_secret_new(secret32, kms_buf_span(&plain));
}
