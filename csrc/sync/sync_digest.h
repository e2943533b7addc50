/*
 * Questions and answers about hash trees as bytes. Numbers are big-endian.
 *
 *   text      version (1), kind (1), key id (8), then by kind
 *   ROOT      first hour (4), root of lasting versions (16), of ending ones (16); the answer has the same
 *   COMPARE   salt (16), items; the answer has one item for each
 *   MOVE      salt (16), items LEAVES with the versions that are wanted;
 *             the answer: how many were looked up (2)
 *   OTHER_KEY the answer of a member whose tree is under another key; nothing follows
 *
 *   item      form (1), then by form
 *   CHILDREN  range, 16 shorts; in an answer: mask of the children that differ (2)
 *   LEAVES    range, number (1), shorts; in an answer without the range
 *   SUM       range, number of leaves (1), the exclusive or of their shorts; the answer is LACKS; LEAVES,
 *             all of the answerer's; or, where the asker has one leaf more, SUM without the range
 *   BRIEF     range, the first 3 bytes of 16 shorts; the answer is one to CHILDREN
 *   LACKS     in answers: mask of the leaves of the question that the answerer lacks (4), number (1), shorts
 *             of its leaves that the asker lacks
 *   HOURS     first hour (4), last hour (4), number (2), that many hours (4) with shorts;
 *             in an answer: number (2), the hours (4) that differ
 *
 *   Only members with the feature "brief" know SUM and BRIEF.
 *
 *   range     hour (4), depth in bits (1), as many bytes of the place as have these bits
 *   short     5 bytes of SipHash-2-4 of a digest, under the salt; zeros for a digest of zeros
 *
 * The asker draws the salt: nobody can have prepared versions whose shorts collide.
 */
#ifndef KMS_SYNC_SYNC_DIGEST_H
#define KMS_SYNC_SYNC_DIGEST_H

#include "base/siphash.h"
#include "kms/digest.h"

#define DIGEST_VERSION 1
#define DIGEST_SHORT 5
#define DIGEST_BRIEF_SHORT 3
#define DIGEST_SALT 16
#define DIGEST_ITEMS 128    /* of a question */
#define DIGEST_HOURS 512    /* of an item */
#define DIGEST_SUM_LEAVES 3 /* from which on a range is asked about by its sum */
/* Of a question: each is answered from all hours; a question asks two at most. */
#define DIGEST_HOUR_ITEMS 4

typedef enum digest_kind { DIGEST_ROOT = 1, DIGEST_COMPARE, DIGEST_MOVE, DIGEST_OTHER_KEY } digest_kind;
typedef enum digest_form {
	DIGEST_CHILDREN = 1,
	DIGEST_LEAVES,
	DIGEST_LACKS,
	DIGEST_HOURS_FORM,
	DIGEST_SUM,
	DIGEST_BRIEF
} digest_form;

typedef uint8_t digest_short[DIGEST_SHORT];

typedef struct digest_item {
	digest_form form;
	kms_tree_range range; /* CHILDREN, LEAVES, SUM, BRIEF */
	uint32_t from;        /* HOURS */
	uint32_t to;
	size_t count;                         /* of shorts, or of hours; SUM: of leaves */
	digest_short shorts[KMS_TREE_BUCKET]; /* SUM: the first one is the sum */
	const uint8_t *hours;                 /* HOURS: borrowed */
} digest_item;

/* ---- reading ---- */

kms_status kms_digest_read_head(digest_kind *kind, uint8_t key_id8[KMS_TREE_KEY_ID], kms_reader *reader);
kms_status kms_digest_read_root(uint32_t *first_hour, kms_tree_root *root, kms_reader *reader);
kms_status kms_digest_read_salt(kms_siphash_key *salt, kms_reader *reader);
/* The next item of a question. */
kms_status kms_digest_read_item(digest_item *item, kms_reader *reader);
kms_status kms_digest_read_shorts(digest_short *shorts, size_t *count, kms_reader *reader);
kms_status kms_digest_read_sum(digest_short sum, size_t *count, kms_reader *reader);
kms_status kms_digest_read_number(uint32_t *number, kms_reader *reader, size_t bytes);

/* ---- writing ---- */

kms_status kms_digest_write_head(kms_buf *out, digest_kind kind, const uint8_t key_id8[KMS_TREE_KEY_ID]);
kms_status kms_digest_write_root(kms_buf *out, uint32_t first_hour, const kms_tree_root *root);
kms_status kms_digest_write_number(kms_buf *out, uint32_t number, size_t bytes);
kms_status kms_digest_write_range(kms_buf *out, digest_form form, const kms_tree_range *range);
/* Their number and the shorts. */
kms_status kms_digest_write_shorts(kms_buf *out, const digest_short *shorts, size_t count);
/* The first DIGEST_BRIEF_SHORT bytes of each. */
kms_status kms_digest_write_brief(kms_buf *out, const digest_short *shorts, size_t count);
/* Their number and their sum. */
kms_status kms_digest_write_sum(kms_buf *out, const digest_short *shorts, size_t count);

/* ---- lists of shorts ---- */

/* Sums shorts up: changes `sum` by each of them. */
void kms_digest_sum(digest_short sum, const digest_short *shorts, size_t count);
bool kms_digest_has_short(const digest_short *shorts, size_t count, const digest_short wanted);
/* The shorts of two lists that the other one has not. Out: mask of those of `own`, and those of `other`. */
void kms_digest_compare(uint32_t *only_own, digest_short *only_other, size_t *others, const digest_short *own,
			size_t own_count, const digest_short *other, size_t other_count);

void kms_digest_shorten(digest_short made, const kms_siphash_key *salt,
			const uint8_t digest[KMS_TREE_DIGEST]);

/* ---- versions ---- */

/* A version as both sides name it. */
typedef struct digest_version {
	kms_tree_range range;
	digest_short name;
} digest_version;

/* The object of records beside a question or an answer. */
typedef struct digest_page {
	size_t max_bytes;
	bool base64; /* values, and not hexadecimal */
	uint64_t now_ms;
} digest_page;

/*
 * Appends the object of the records of versions, the first ones that fit into page->max_bytes (one at least).
 * Those that are not there any more are left out. Out: looked_up - how many versions are dealt with; records
 * - in the object; 0: nothing was appended.
 */
kms_status kms_digest_write_versions(kms_buf *data, size_t *looked_up, uint64_t *records, kms_store *store,
				     const kms_siphash_key *salt, const digest_version *versions,
				     size_t count, const digest_page *page);

/* Drops those of the versions that are stamped before before_ms. Out: forgotten - how many. */
kms_status kms_digest_forget_versions(size_t *forgotten, kms_store *store, const kms_siphash_key *salt,
				      const digest_version *versions, size_t count, uint64_t before_ms);

#endif
