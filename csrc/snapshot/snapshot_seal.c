#include "snapshot/snapshot_seal.h"

#include <string.h>

#include "base/bits.h"
#include "base/ensure.h"
#include "kms/kdf.h"

#define KEY_LABEL "nova-kms:snapshot:"
#define LABEL_BYTES (sizeof(KEY_LABEL) - 1)
#define KEY_BYTES 32
#define NUMBER_AT 7 /* of the IV, before the last byte, which marks the last chunk */

kms_status kms_snapshot_file_key(kms_secret **key32, const kms_secret *master32,
				 const kms_snapshot_name *name, const uint8_t salt32[32])
{
	uint8_t info[LABEL_BYTES + 1 + sizeof(name->wallet20) + 8];
	*key32 = NULL;
	ENSURE(name->kind == KMS_SNAPSHOT_RECORDS || name->kind == KMS_SNAPSHOT_MANIFEST, KMS_ERR_RANGE);
	DEFER(kms_secret_release) kms_secret *snapshot_key = NULL;
	GUARD(kms_snapshot_key(&snapshot_key, master32));
	DEFER(kms_guarded_release) uint8_t *key = kms_guarded_alloc(KEY_BYTES);
	ENSURE(key, KMS_ERR_LOCKED_MEMORY);
	memcpy(info, KEY_LABEL, LABEL_BYTES);
	info[LABEL_BYTES] = (uint8_t)name->kind;
	memcpy(info + LABEL_BYTES + 1, name->wallet20, sizeof(name->wallet20));
	kms_store64_be(info + LABEL_BYTES + 1 + sizeof(name->wallet20), name->sequence);
	GUARD(kms_hkdf_sha256(kms_out_of(key, KEY_BYTES), kms_secret_span(snapshot_key),
			      kms_span_of(salt32, SNAPSHOT_SALT_BYTES), KMS_SPAN(info)));
	return kms_secret_new(key32, kms_span_of(key, KEY_BYTES));
}

/* The IV names the chunk's place; under one key no place is used twice. */
static void chunk_iv(uint8_t iv12[KMS_GCM_IV], uint32_t number, bool last)
{
	memset(iv12, 0, KMS_GCM_IV);
	kms_store32_be(iv12 + NUMBER_AT, number);
	iv12[KMS_GCM_IV - 1] = last ? 1 : 0;
}

kms_status kms_snapshot_chunk_seal(uint8_t tag16[16], kms_out bytes, const kms_secret *key32, uint32_t number,
				   bool last)
{
	uint8_t iv[KMS_GCM_IV];
	chunk_iv(iv, number, last);
	return kms_gcm_seal_in_place(tag16, bytes, kms_secret_bytes(key32), iv, KMS_BYTES(SNAPSHOT_MAGIC));
}

kms_status kms_snapshot_chunk_open(kms_out bytes, const kms_secret *key32, uint32_t number, bool last,
				   const uint8_t tag16[16])
{
	uint8_t iv[KMS_GCM_IV];
	chunk_iv(iv, number, last);
	return kms_gcm_open_in_place(bytes, kms_secret_bytes(key32), iv, KMS_BYTES(SNAPSHOT_MAGIC), tag16);
}
