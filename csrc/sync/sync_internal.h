/* The inside of a parsed sync message. */
#ifndef KMS_SYNC_SYNC_INTERNAL_H
#define KMS_SYNC_SYNC_INTERNAL_H

#include "codec/json_cursor.h"
#include "kms/sync.h"

/* What the caller has decided about a record. */
typedef enum sync_mark {
	SYNC_ACCEPTED = 0,
	SYNC_REFUSED,
	SYNC_DEFERRED,
} sync_mark;

/*
 * A well-formed record. Its parts lie in the message's text, decoded in place, and are found by their
 * offsets: a record costs little more memory than its text.
 */
typedef struct sync_entry {
	uint64_t updated_at_ms;
	uint64_t ttl_ms;
	uint32_t key_at;
	uint32_t key_len;
	uint32_t value_at; /* of a dead record: its fingerprint, if it has one */
	uint32_t value_len;
	uint32_t clock_at; /* aligned kms_clock_entry */
	uint16_t clock_len;
	uint8_t state; /* kms_record_state */
	uint8_t mark;  /* sync_mark */
} sync_entry;

/* An application's entries: from the end of the previous application's up to `end`. */
typedef struct sync_app {
	uint64_t app_id;
	size_t end;
	bool admitted; /* may get a namespace */
} sync_app;

typedef struct sync_sealed {
	kms_text ephemeral_pubkey;
	kms_text encrypted_data;
	kms_text nonce;
} sync_sealed;

struct kms_sync {
	kms_buf plain;
	kms_text texts[KMS_SYNC_TEXTS];
	uint64_t numbers[KMS_SYNC_NUMBERS];
	bool has_number[KMS_SYNC_NUMBERS];
	bool has_complete;
	bool complete;
	bool has_data;
	bool base64;  /* its values, which are hexadecimal otherwise */
	bool settles; /* its sender does, whatever features it lists */
	sync_sealed sealed;
	kms_text features[KMS_SYNC_MAX_FEATURES];
	size_t feature_count;
	uint64_t malformed; /* values that are no record */
	sync_entry *entries;
	size_t entry_count;
	size_t entry_capacity;
	sync_app *apps;
	size_t app_count;
	size_t app_capacity;
};

/* Reads the value of "data": adds its entries and applications to the message. */
kms_status kms_sync_data_read(kms_sync *message, kms_json_cursor *cursor);
/* A record as the store takes it; it points into the message. */
void kms_sync_record_view(kms_record *record, const kms_sync *message, const sync_entry *entry);

#endif
