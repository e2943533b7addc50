/*
 * What is derived from the cluster's master secret (docs/protocol.md section 7), and how that
 * secret travels sealed to a new node (section 9). Stateless; any thread.
 */
#ifndef KMS_KDF_H
#define KMS_KDF_H

#include "kms/buf.h"
#include "kms/keys.h"

#define KMS_DERIVE_MAX 1024
#define KMS_MASTER_BYTES 32

/*
 * HKDF-SHA256(master, salt "nova-kms:app:<app id>", info = path or path ":" context).
 * Out: key - `len` bytes (1 to KMS_DERIVE_MAX) in guarded memory of the caller.
 * In: context may be empty. App id 0 is reserved: ERR_RANGE.
 */
kms_status kms_derive(uint8_t *key, size_t len, const kms_secret *master32, uint64_t app_id, const char *path,
		      size_t path_len, const char *context, size_t context_len);

/* Key of an application's stored records: path "data_key". */
kms_status kms_data_key(kms_secret **key32, const kms_secret *master32, uint64_t app_id);

/* HMAC key of POST /sync: app id 0, path "sync_hmac_key". */
kms_status kms_sync_key(kms_secret **key32, const kms_secret *master32);

/* The sealed master secret of a master_secret_request, in binary. */
typedef struct kms_sealed {
	uint8_t ephemeral_point97[97];
	uint8_t iv12[12];
	uint8_t data48[48]; /* 32 bytes of ciphertext and the tag */
} kms_sealed;

/* Seals to a requester's ephemeral key with a fresh key of our own. */
kms_status kms_master_seal(kms_sealed *sealed, const kms_secret *master32,
			   const uint8_t requester_point97[97]);
/* The same with a given key and IV: for known answers only. */
kms_status kms_master_seal_with(kms_sealed *sealed, const kms_secret *master32,
				const uint8_t requester_point97[97], const kms_p384 *ephemeral,
				const uint8_t iv12[12]);
/* Opens with the requester's ephemeral key; ERR_SEALED when it was not made for it, ERR_PEER_KEY. */
kms_status kms_master_unseal(kms_secret **master32, const kms_sealed *sealed, const kms_p384 *requester);

/*
 * A stored value: 12-byte IV || AES-256-GCM(data key, value) || tag (section 8).
 * seal appends len + 28 bytes to `record` under a fresh IV; open appends the value to `value`
 * (a guarded buffer), ERR_RECORD below 28 bytes, ERR_DECRYPT when it is not under this key.
 */
#define KMS_RECORD_OVERHEAD 28
kms_status kms_record_seal(kms_buf *record, const kms_secret *data_key32, const uint8_t *value, size_t len);
kms_status kms_record_open(kms_buf *value, const kms_secret *data_key32, const uint8_t *record, size_t len);
/* Whether it opens: as kms_record_open, but the value is wiped piece by piece and never held whole. */
kms_status kms_record_verify(const kms_secret *data_key32, const uint8_t *record, size_t len);

#endif
