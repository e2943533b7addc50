/*
 * Inner messages of POST /sync (docs/protocol.md section 9): parsing them, merging their records, and
 * building what is sent to peers. No key and no plaintext of a value is ever returned. The caller checks
 * envelopes, signatures and permissions.
 *
 * Threads: one thread at a time per message, or any number while none of them changes it.
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
#define KMS_SYNC_MAX_APPS 1000000        /* members of "data" */
#define KMS_SYNC_MAX_FEATURES 64         /* elements of "features" */
#define KMS_SYNC_MAX_TEXT 1024           /* bytes of a text */
#define KMS_SYNC_MAX_ATTESTATION 22528   /* bytes of the text "attestation": a document in base64 */
#define KMS_SYNC_MAX_DIGEST 43692        /* bytes of the text "digest": KMS_DIGEST_MAX bytes in base64 */
#define KMS_SYNC_MAX_VALUES 4096         /* JSON values of any member but "data" */
#define KMS_SYNC_MAX_RECORD_VALUES 65536 /* JSON values of one record */
#define KMS_SYNC_FINGERPRINT_BYTES 32    /* of a dead record: IV, tag, length of its ciphertext */

typedef enum kms_sync_text_name {
	KMS_SYNC_TYPE,
	KMS_SYNC_SENDER_WALLET,
	KMS_SYNC_POP,
	KMS_SYNC_ECDH_PUBKEY,
	KMS_SYNC_STATUS,
	KMS_SYNC_STORE,
	KMS_SYNC_ATTESTATION,
	KMS_SYNC_DIGEST,
	KMS_SYNC_MAC,
	KMS_SYNC_TEXTS, /* how many there are */
} kms_sync_text_name;

typedef enum kms_sync_number_name {
	KMS_SYNC_TOTAL,
	KMS_SYNC_MERGED,
	KMS_SYNC_SKIPPED,
	KMS_SYNC_REJECTED,
	KMS_SYNC_FUTURE,
	KMS_SYNC_LATER,
	KMS_SYNC_TIME,     /* of the sender's clock, Unix ms */
	KMS_SYNC_SINCE,    /* of a page: it has the changes numbered above this one, */
	KMS_SYNC_UNTIL,    /* up to this one; */
	KMS_SYNC_SEQUENCE, /* the number of its sender's newest change */
	KMS_SYNC_MAX_BYTES,
	KMS_SYNC_NUMBERS, /* how many there are */
} kms_sync_number_name;

/* A parsed request or reply. It owns its text, and only what is decided before merging changes it. */
typedef struct kms_sync kms_sync;

/* The JSON name of a text or number, static; "" for an unknown one. */
const char *kms_sync_text_member(kms_sync_text_name name);
const char *kms_sync_number_member(kms_sync_number_name name);

/*
 * Parses a message: strict JSON up to the last byte, or it is refused as a whole. A record that is JSON
 * but malformed is only counted (kms_sync_apply rejects it). Beside the text this takes 40 bytes a
 * record and 48 an application, whatever the message holds.
 * Returns: KMS_OK; the failures of kms_json_parse, with ERR_JSON_SIZE beyond the limits above;
 * ERR_APP_ID_IN_REQUEST; ERR_FIELD_TYPE (null included); ERR_FIELD_VALUE when a text is too long or a
 * number negative or above 2^63 - 1; ERR_TOO_LARGE from 4 GiB on; ERR_MEMORY.
 * Out: message - free with kms_sync_free; NULL on failure. field - the member at fault, static; NULL when
 * no single member is.
 * In-out: plain - a WIPED buffer; taken over in any case.
 */
kms_status kms_sync_parse(kms_sync **message, const char **field, kms_buf *plain);
/* The same for a message of a session: the values of its records are in base64. */
kms_status kms_sync_parse_base64(kms_sync **message, const char **field, kms_buf *plain);

/* Frees a message and wipes its text. NULL is fine. */
void kms_sync_free(kms_sync *message);

/* A text, borrowed from the message; absent when the message lacks it. */
kms_text kms_sync_text(const kms_sync *message, kms_sync_text_name name);
/* Whether the message has a number. Out: number - 0 when it has not. */
bool kms_sync_number(uint64_t *number, const kms_sync *message, kms_sync_number_name name);
/* Whether the message has "complete". Out: complete - its value; false when absent. */
bool kms_sync_complete(bool *complete, const kms_sync *message);
/* Whether the message has "data". */
bool kms_sync_has_data(const kms_sync *message);
/* How many records it has, malformed ones included. */
uint64_t kms_sync_records(const kms_sync *message);
/* The sender's feature at `index` (from 0), borrowed from the message; absent after the last one. */
kms_text kms_sync_feature(const kms_sync *message, size_t index);

/*
 * Unseals the master secret in "sealed".
 * Returns: as kms_master_unseal; ERR_FIELD_MISSING without "sealed" or one of its members; ERR_HEX.
 * Out: master32 - release with kms_secret_unref; NULL on failure.
 * In: requester - the key that the secret was sealed to.
 */
kms_status kms_sync_unseal(kms_secret **master32, const kms_sync *message, const kms_p384 *requester);

/* ---- records, before they are merged --------------------------------------------------------- */

/*
 * The well-formed record at `index` (from 0), for a policy to decide about. Nothing of it has been verified.
 * Returns: true; false after the last record.
 * Out: record - borrowed from the message. app_id - its application.
 */
bool kms_sync_record(kms_record *record, uint64_t *app_id, const kms_sync *message, size_t index);

/*
 * Says that the sender settles versions with equal clocks (feature `fingerprint`), for messages that do not
 * list features.
 */
void kms_sync_set_settles(kms_sync *message);

/* Marks the well-formed record at `index`, if there is one: kms_sync_apply then rejects it for good. */
void kms_sync_refuse(kms_sync *message, size_t index);
/* The same, but kms_sync_apply counts it as `later`: whether to take it is not known yet. */
void kms_sync_defer(kms_sync *message, size_t index);

/* Finds the applications of a message of which the store holds nothing. */
typedef struct kms_sync_app_walk {
	size_t index; /* in: where to go on, 0 at first; out: of the application that was found */
	size_t steps; /* in-out: how many applications may still be looked at */
	uint64_t app_id;
} kms_sync_app_walk;

/*
 * Looks for the next application, from walk->index on, of which the store holds nothing.
 * Returns: true with walk->index and walk->app_id; false at the end of the message, or when walk->steps is 0:
 * then walk->index is where to go on, or the number of applications.
 */
bool kms_sync_new_app(kms_sync_app_walk *walk, const kms_sync *message, kms_store *store);
/* How many applications a message has. */
size_t kms_sync_apps(const kms_sync *message);
/* Lets the records of the application at `index`, if there is one, make a namespace for it. */
void kms_sync_admit(kms_sync *message, size_t index);

/* ---- merging --------------------------------------------------------------------------------- */

typedef struct kms_sync_counts {
	uint64_t total;
	uint64_t merged;
	uint64_t skipped;
	uint64_t rejected;
	uint64_t later;    /* of the rejected: time or room cures it, the peer should send them again */
	uint64_t future;   /* of those: their stamp or clock is ahead of now_ms */
	uint64_t poisoned; /* of the rejected: not sealed under the application's data key */
	uint64_t refused;  /* of the rejected: marked by kms_sync_refuse */
	uint64_t outcomes[KMS_MERGE_OUTCOMES]; /* by kms_merge */
	uint64_t stubs;                        /* of the skipped */
} kms_sync_counts;

/*
 * Merges every record by itself: its ciphertext must open under its application's data key, then
 * kms_store_merge decides, or kms_store_settle when the message's features have "fingerprint". A stub without
 * a fingerprint says nothing, and is skipped. Records of an application of which the store holds nothing and
 * that was not admitted (kms_sync_admit) count as `later`. Returns: KMS_OK however many records were
 * rejected; ERR_MEMORY, ERR_LOCKED_MEMORY, ERR_CRYPTO or ERR_RANGE when no record is at fault: the records
 * after that point were not looked at. Out: counts - after a failure, of the records before it. In: origin -
 * the number of the peer that sent them, not 0 (ERR_RANGE).
 */
kms_status kms_sync_apply(kms_sync_counts *counts, const kms_sync *message, kms_store *store,
			  const kms_secret *master32, uint32_t origin, uint64_t now_ms);

/* ---- building -------------------------------------------------------------------------------- */

#define KMS_DELTA_MAX_RECORDS 100000

typedef struct kms_delta_options {
	uint64_t since;          /* the peer's cursor */
	uint64_t through;        /* number of the last change to send; 0: the newest */
	size_t max_records;      /* 1 to KMS_DELTA_MAX_RECORDS */
	size_t max_bytes;        /* of the data object; a single record may exceed it */
	size_t max_record_bytes; /* of a record's JSON: longer records are skipped */
	bool local_only;         /* only records written here */
	bool stubs;              /* stubs too */
	bool fingerprints;       /* the peer takes stubs, and the fingerprints of dead records */
	bool base64;             /* values are in base64, as in sessions, and not in hexadecimal */
	bool sought;             /* only stubs whose values another member may have */
	uint32_t except;         /* origin of the peer, which is not sent its own records; 0: none */
} kms_delta_options;

typedef struct kms_delta {
	uint64_t until;   /* the peer's cursor once it acknowledges this page */
	uint64_t records; /* 0: nothing to send, and nothing was appended */
	uint64_t skipped; /* too long */
} kms_delta;

/*
 * Appends {"<app id>":[record...],...} in canonical form, with every change numbered above `since` up to
 * `until` that is to be sent. Stubs that are not asked for, filtered and too long records are left out. The
 * work of a call is bounded, so `until` may be before the newest change even with nothing to send. A record
 * that changes meanwhile gets a larger number and is sent later. Returns: KMS_OK; ERR_RANGE when max_records
 * is; ERR_TOO_LARGE for the buffer; ERR_MEMORY. Out: delta - zero on failure. In-out: data - unchanged on
 * failure.
 */
kms_status kms_sync_delta(kms_delta *delta, kms_buf *data, kms_store *store,
			  const kms_delta_options *options);

/* What a snapshot or a digest's records have for peers that take it. */
enum {
	KMS_SYNC_STUBS = 1,
	KMS_SYNC_FINGERPRINTS = 2, /* of dead records */
	KMS_SYNC_BASE64 = 4,       /* values in base64, as in sessions */
};

/*
 * Appends the same object, "{}" without records, and `,"until":N,"sequence":N`: a page of all that the store
 * holds. Pages up to the `sequence` of the first one are together all that the store held then; whatever
 * changes meanwhile has a larger number, and comes in a later page.
 * Returns: as kms_sync_delta. Out: delta - zero on failure. In-out: data - unchanged on failure.
 */
kms_status kms_sync_page(kms_delta *delta, kms_buf *data, kms_store *store, const kms_delta_options *options);

/*
 * Appends the same object with all live records and tombstones and, if asked for, stubs. A record that
 * changes meanwhile may be in it twice, in both versions.
 * Returns: KMS_OK; ERR_TOO_LARGE for the buffer; ERR_MEMORY.
 * Out: records - how many; 0 on failure.
 * In: extras - any of KMS_SYNC_STUBS, KMS_SYNC_FINGERPRINTS and KMS_SYNC_BASE64.
 * In-out: data - unchanged on failure.
 */
kms_status kms_sync_snapshot(uint64_t *records, kms_buf *data, kms_store *store, unsigned extras);

/* ---- walking ---------------------------------------------------------------------------------- */

/* A walk through all that changed since a number, for snapshot files. It keeps no lock between its pages. */
typedef struct kms_sync_walk kms_sync_walk;

/*
 * Begins a walk. It finds every record that the store holds now and that changed after `since`, in the
 * version of now or a later one. One that changes meanwhile may be found twice, or be left to the next walk,
 * which begins at `sequence`. Returns: KMS_OK; ERR_MEMORY. Out: walk - free with kms_sync_walk_free; NULL on
 * failure. sequence - `since` of the next walk; 0 on failure. In: store - is used by the pages and must
 * outlive the walk.
 */
kms_status kms_sync_walk_new(kms_sync_walk **walk, uint64_t *sequence, kms_store *store, uint64_t since);

/* Frees a walk. NULL is fine. */
void kms_sync_walk_free(kms_sync_walk *walk);

/*
 * Appends {"data":{"<app id>":[record...],...}} with the next records in any state, a message that
 * kms_sync_parse reads. Its length is at most `max_bytes`, or that of one record. Returns: KMS_OK;
 * ERR_TOO_LARGE for the buffer; ERR_MEMORY. After a failure the walk is of no more use. Out: records - how
 * many; 0: the walk has ended, and nothing was appended. In-out: page - unchanged on failure.
 */
kms_status kms_sync_walk_page(uint64_t *records, kms_buf *page, kms_sync_walk *walk, size_t max_bytes);

#endif
