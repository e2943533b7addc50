/*
 * Finding and moving the versions that two members do not share (docs/protocol.md section 9, "Repair"). One
 * member asks, the other answers each question by itself; questions and answers are small binary texts that a
 * message carries beside records. They hold keyed hashes only.
 *
 * Threads: an exchange is used by one thread at a time; anything else by any number.
 */
#ifndef KMS_DIGEST_H
#define KMS_DIGEST_H

#include "kms/tree.h"

#define KMS_DIGEST_MAX 32768     /* bytes of a question or an answer */
#define KMS_DIGEST_MOVE_MAX 1024 /* versions that one question gives, or wants */
#define KMS_DIGEST_SEEK_MAX 8192 /* stubs whose values one exchange asks for */

/* ---- answering ------------------------------------------------------------------------------- */

/*
 * Answers a question. The work is bounded: a few thousand hashes. For a question that wants versions, appends
 * the object of their records (as kms_sync_delta).
 * Returns: KMS_OK; ERR_RECORD for what is no question; ERR_STATE while the tree is not built; ERR_MEMORY,
 * ERR_TOO_LARGE for the buffers, ERR_LOCKED_MEMORY, ERR_CRYPTO.
 * Out: records - how many were appended.
 * In-out: answer, data - undefined on failure.
 * In: max_bytes - of the data object; a single record may exceed it. base64 - whether its values are in
 * base64, as in sessions, and not in hexadecimal.
 */
kms_status kms_digest_answer(kms_buf *answer, kms_buf *data, uint64_t *records, kms_store *store,
			     kms_span question, size_t max_bytes, bool base64, uint64_t now_ms);

/* ---- asking ---------------------------------------------------------------------------------- */

typedef struct kms_digest kms_digest;

typedef enum kms_digest_state {
	KMS_DIGEST_ASKING = 0, /* there is more to ask */
	KMS_DIGEST_EQUAL, /* both hold the same versions, and the values that were sought were asked for */
	KMS_DIGEST_DONE,  /* every difference that was found has been moved */
	KMS_DIGEST_OTHER_KEY, /* the peer's tree is under another master secret */
} kms_digest_state;

typedef struct kms_digest_counts {
	uint64_t questions;
	uint64_t given;  /* versions that the peer lacked */
	uint64_t wanted; /* versions that this store lacked */
	uint64_t forgotten;
	uint64_t sought; /* stubs whose values the peer was asked for */
} kms_digest_counts;

/*
 * Begins an exchange. Returns: KMS_OK; ERR_STATE while the tree is not built; ERR_MEMORY; as
 * kms_tree_get_root. Out: digest - free with kms_digest_free; NULL on failure. In: store - outlives the
 * exchange.
 */
kms_status kms_digest_new(kms_digest **digest, kms_store *store, uint64_t now_ms);

/*
 * Has the exchange drop here what the peer lacks and what is stamped before before_ms, instead of giving it:
 * this node was away, the peer held these versions before that and has let go of them, with their tombstones.
 */
void kms_digest_forget_before(kms_digest *digest, uint64_t before_ms);

/*
 * Has the exchange ask in fewer bytes, as only members with the feature "brief" understand: about ranges of
 * few versions by one sum each, about others with shorter hashes.
 */
void kms_digest_be_brief(kms_digest *digest);

/* Has the questions from now on give values in base64, as in sessions, or in hexadecimal, as at first. */
void kms_digest_set_base64(kms_digest *digest, bool base64);

/*
 * Has an exchange that has not begun ask for the values of stubs that members gave, the oldest
 * KMS_DIGEST_SEEK_MAX of those whose change is numbered above `since`: the peer may have the value of what
 * another one gave without it, and their digests are equal. Returns: KMS_OK; ERR_STATE once it has begun;
 * ERR_MEMORY; as kms_tree_get_root. Out: until - the stubs up to this change are asked for, once the exchange
 * ends as EQUAL or DONE; `since` on failure.
 */
kms_status kms_digest_seek(uint64_t *until, kms_digest *digest, uint64_t since);

/* NULL is fine. */
void kms_digest_free(kms_digest *digest);

/*
 * Appends the next question, and the object of the records that go with it if it moves versions. To be called
 * while the state is ASKING; after a failed call of the peer the same question is not asked again.
 * Returns: KMS_OK; ERR_STATE; ERR_MEMORY, ERR_TOO_LARGE for the buffers, ERR_LOCKED_MEMORY, ERR_CRYPTO.
 * Out: records - how many were appended to data; if none, data is unchanged.
 * In: max_bytes - of the data object.
 */
kms_status kms_digest_ask(kms_buf *question, kms_buf *data, uint64_t *records, kms_digest *digest,
			  size_t max_bytes, uint64_t now_ms);

/*
 * Takes the answer to the last question. Returns: KMS_OK; ERR_RECORD for what does not answer it: the
 * exchange is over; ERR_STATE; ERR_MEMORY.
 */
kms_status kms_digest_take(kms_digest *digest, kms_span answer);

kms_digest_state kms_digest_get_state(const kms_digest *digest);
kms_digest_counts kms_digest_get_counts(const kms_digest *digest);

#endif
