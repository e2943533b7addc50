/*
 * Inner messages of POST /sync (docs/protocol.md section 9): reading them, merging the records that
 * they bring, and writing what goes to peers. Neither a key nor a value's plaintext ever leaves
 * here; envelopes, signatures and who may send what are the caller's.
 */
#ifndef KMS_SYNC_H
#define KMS_SYNC_H

#include "kms/buf.h"
#include "kms/p384.h"
#include "kms/pop.h"
#include "kms/sealed.h"
#include "kms/store.h"

/* ---- messages -------------------------------------------------------------------------------- */

#define KMS_SYNC_MAX_MEMBERS 64          /* of a message */
#define KMS_SYNC_MAX_APPS 1000000        /* of its "data" */
#define KMS_SYNC_MAX_TEXT 1024           /* bytes of a text below */
#define KMS_SYNC_MAX_ATTESTATION 22528   /* the same of "attestation": a document in base64 */
#define KMS_SYNC_MAX_VALUES 4096         /* JSON values of any member but "data" */
#define KMS_SYNC_MAX_RECORD_VALUES 65536 /* JSON values of one record */

typedef enum kms_sync_text_name {
	KMS_SYNC_TYPE,
	KMS_SYNC_SENDER_WALLET,
	KMS_SYNC_POP,
	KMS_SYNC_ECDH_PUBKEY,
	KMS_SYNC_STATUS,
	KMS_SYNC_STORE,
	KMS_SYNC_ATTESTATION,
	KMS_SYNC_TEXTS,
} kms_sync_text_name;

typedef enum kms_sync_number_name {
	KMS_SYNC_TOTAL,
	KMS_SYNC_MERGED,
	KMS_SYNC_SKIPPED,
	KMS_SYNC_REJECTED,
	KMS_SYNC_FUTURE,
	KMS_SYNC_NUMBERS,
} kms_sync_number_name;

/*
 * A request or an answer; it owns the text that it was read from. Only read after it is made,
 * but for what kms_sync_refuse marks.
 */
typedef struct kms_sync kms_sync;

/* Names of the members, in the order of the enumerations. */
const char *kms_sync_text_member(kms_sync_text_name name);
const char *kms_sync_number_member(kms_sync_number_name name);

/*
 * Reads a message. Strict JSON to the last byte, so that a message that is not is refused whole;
 * a record that is JSON but no record is counted (kms_sync_apply rejects it). Beside
 * the text it takes 40 bytes a record and 32 an application, whatever else is in it.
 * Out: field - the member at fault where one is (static text), else NULL.
 * In-out: plain - a WIPED buffer, taken over in any case.
 * Returns: KMS_OK; what kms_json_parse says (ERR_JSON_SIZE beyond the bounds above);
 * ERR_APP_ID_IN_REQUEST, ERR_FIELD_TYPE (null included), ERR_FIELD_VALUE (text too long,
 * number negative or above 2^63 - 1); ERR_TOO_LARGE from 4 GiB on; ERR_MEMORY.
 */
kms_status kms_sync_parse(kms_sync **message, const char **field, kms_buf *plain);
void kms_sync_free(kms_sync *message);

/* A text member, borrowed; text NULL where it is absent. */
kms_text kms_sync_text(const kms_sync *message, kms_sync_text_name name);
/* Whether a number is there, and the number. */
bool kms_sync_number(uint64_t *number, const kms_sync *message, kms_sync_number_name name);
/* Whether "complete" is there, and what it says. */
bool kms_sync_complete(bool *complete, const kms_sync *message);
/* Whether "data" is there, and its records, well formed or not. */
bool kms_sync_has_data(const kms_sync *message);
uint64_t kms_sync_records(const kms_sync *message);
/* One of the sender's features, borrowed; text NULL from the last one on. */
kms_text kms_sync_feature(const kms_sync *message, size_t index);

/*
 * The master secret in "sealed". Returns: as kms_master_unseal, ERR_FIELD_MISSING without it
 * or one of its members, ERR_HEX.
 */
kms_status kms_sync_unseal(kms_secret **master32, const kms_sync *message, const kms_p384 *requester);

/* ---- records, before they are merged --------------------------------------------------------- */

/*
 * The well-formed record at `index` (from 0) and its application: for a policy that decides about
 * it. It points into the message, and nothing of it has been verified. False from the last one on.
 */
bool kms_sync_record(kms_record *record, uint64_t *app_id, const kms_sync *message, size_t index);
/* Marks such a record: kms_sync_apply rejects it, whatever it is. Nothing beyond the last one. */
void kms_sync_refuse(kms_sync *message, size_t index);

/* ---- merging ----------------------------------------------------------------------------------- */

typedef struct kms_sync_counts {
	uint64_t total;
	uint64_t merged;
	uint64_t skipped;
	uint64_t rejected;
	uint64_t future;                       /* of the rejected: nothing but their stamp is wrong */
	uint64_t poisoned;                     /* of the rejected: not under the application's key */
	uint64_t refused;                      /* of the rejected: marked by kms_sync_refuse */
	uint64_t outcomes[KMS_MERGE_OUTCOMES]; /* by kms_merge */
	uint64_t stubs;                        /* of the skipped */
} kms_sync_counts;

/*
 * Merges every record on its own: its ciphertext must open under its application's data key, then
 * kms_store_merge decides; a stub only raises counters (kms_store_note_stub).
 * Out: counts - after a failure, of what was done before it.
 * In: origin - who brought them, not 0 (ERR_RANGE).
 * Returns: KMS_OK however many were rejected; a failure that is no record's fault (ERR_MEMORY,
 * ERR_LOCKED_MEMORY, ERR_CRYPTO, ERR_RANGE): the rest was not looked at.
 */
kms_status kms_sync_apply(kms_sync_counts *counts, const kms_sync *message, kms_store *store,
			  const kms_secret *master32, uint32_t origin, uint64_t now_ms);

/* ---- writing ------------------------------------------------------------------------------------ */

#define KMS_DELTA_MAX_RECORDS 100000

typedef struct kms_delta_options {
	uint64_t since;          /* the peer's cursor */
	size_t max_records;      /* 1 to KMS_DELTA_MAX_RECORDS */
	size_t max_bytes;        /* of the data object; a single record may exceed it */
	size_t max_record_bytes; /* of a record's JSON: a longer one is passed over */
	bool local_only;         /* only what was written here */
	uint32_t except;         /* who gets nothing back that it brought; 0: nobody */
} kms_delta_options;

typedef struct kms_delta {
	uint64_t until;   /* the cursor once this is acknowledged */
	uint64_t records; /* 0: nothing to send, and nothing was written */
	uint64_t skipped; /* too long */
} kms_delta;

/*
 * Appends {"<app id>":[record...],...} in canonical form with every change numbered above
 * `since` up to `until` that is to be sent. Stubs, filtered and too long records are passed over;
 * work is bounded, so that `until` may be short of the newest change even with nothing to send.
 * What changes meanwhile gets a larger number and comes later.
 * Returns: KMS_OK, ERR_RANGE (max_records), ERR_TOO_LARGE (the buffer), ERR_MEMORY; after a
 * failure the buffer is as it was.
 */
kms_status kms_sync_delta(kms_buf *data, kms_delta *delta, kms_store *store,
			  const kms_delta_options *options);

/*
 * Appends the same object with all that the store holds: live records, tombstones and, where
 * asked for, stubs. A record that changes meanwhile may be in it twice, in both versions.
 * Returns: KMS_OK, ERR_TOO_LARGE (the buffer), ERR_MEMORY; after a failure the buffer is as it was.
 */
kms_status kms_sync_snapshot(kms_buf *data, uint64_t *records, kms_store *store, bool stubs);

#endif
