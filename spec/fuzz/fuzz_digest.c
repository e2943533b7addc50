/*
 * Questions and answers about hash trees. Whatever a peer asks is refused or gets an answer within the
 * bounds; whatever it answers, the asking member goes on within its bounds, and neither store changes.
 */
#include "digest_kit.h"
#include "lib/fuzz.h"

#define RECORDS 200u
#define ROUNDS 64

const unsigned fuzz_kinds = 4;

/* Stays for all inputs: nothing here changes it. */
static kms_store *shared_store(void)
{
	static kms_store *store;
	if (store) return store;
	store = digest_store(SELF);
	for (size_t i = 0; i < RECORDS; i++)
		put_sealed(store, APP, numbered(i), 1, 4, i % 10 ? 0 : i * 3600000ull, NOW);
	return store;
}

/* ---- questions ---- */

static void check_answer(kms_span question)
{
	uint64_t records;
	kms_buf answer = kms_buf_make(KMS_BUF_PLAIN, KMS_DIGEST_MAX), data = new_text();
	kms_status status =
	    kms_digest_answer(&answer, &data, &records, shared_store(), question, 65536, false, NOW);
	HOLDS(kms_status_category(status) != KMS_CATEGORY_USAGE);
	if (status == KMS_OK) {
		HOLDS(answer.len >= 2 + KMS_TREE_KEY_ID);
		HOLDS((records > 0) == (data.len > 0) && data.len <= 65536);
		fuzz_accept(records > 0 ? 1 : 0);
	}
	kms_buf_free(&answer);
	kms_buf_free(&data);
}

/* ---- answers ---- */

/* Hands the next part of the input to the exchange; false at the end of both. */
static bool answer_once(kms_digest *digest, kms_reader *reader)
{
	uint64_t records;
	uint8_t high, low;
	const uint8_t *bytes;
	kms_buf question = kms_buf_make(KMS_BUF_PLAIN, KMS_DIGEST_MAX), data = new_text();
	HOLDS_OK(kms_digest_ask(&question, &data, &records, digest, 65536, NOW));
	HOLDS(question.len >= 2 + KMS_TREE_KEY_ID);
	kms_buf_free(&question);
	kms_buf_free(&data);
	if (kms_reader_u8(&high, reader) != KMS_OK || kms_reader_u8(&low, reader) != KMS_OK) return false;
	if (kms_reader_take(&bytes, reader, (size_t)high << 8 | low) != KMS_OK) return false;
	kms_buf copy = fuzz_copy(KMS_BUF_PLAIN, kms_span_of(bytes, (size_t)high << 8 | low));
	kms_status status = kms_digest_take(digest, kms_buf_span(&copy));
	kms_buf_free(&copy);
	HOLDS(kms_status_category(status) != KMS_CATEGORY_USAGE || high + low == 0);
	if (status != KMS_OK) HOLDS(kms_digest_get_state(digest) != KMS_DIGEST_ASKING || high + low == 0);
	return status == KMS_OK && kms_digest_get_state(digest) == KMS_DIGEST_ASKING;
}

static void check_asking(kms_span answers)
{
	kms_digest *digest;
	kms_reader reader = kms_reader_make(answers);
	HOLDS_OK(digest_begin(&digest, shared_store(), NOW));
	for (int i = 0; i < ROUNDS; i++) {
		if (!answer_once(digest, &reader)) break;
	}
	if (kms_digest_get_state(digest) == KMS_DIGEST_OTHER_KEY) fuzz_accept(2);
	if (kms_digest_get_counts(digest).given > 0) fuzz_accept(3);
	kms_digest_free(digest);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_start();
	if (size < 1 || size > FUZZ_MAX_INPUT) return 0;
	uint64_t before = kms_store_sequence(shared_store());
	if (data[0] % 2) {
		check_asking(kms_span_of(data + 1, size - 1));
	} else {
		kms_buf copy = fuzz_copy(KMS_BUF_PLAIN, kms_span_of(data + 1, size - 1));
		check_answer(kms_buf_span(&copy));
		kms_buf_free(&copy);
	}
	HOLDS(kms_store_sequence(shared_store()) == before);
	return 0;
}

/* ---- first inputs ---- */

/* Every question of an exchange with an empty store, and the answers to it. */
static void seed_exchange(kms_store *from, kms_store *to)
{
	uint64_t records;
	kms_digest *digest;
	kms_buf answers = kms_buf_make(KMS_BUF_PLAIN, SIZE_MAX);
	HOLDS_OK(digest_begin(&digest, from, NOW));
	while (kms_digest_get_state(digest) == KMS_DIGEST_ASKING) {
		kms_buf question = new_text(), answer = new_text(), data = new_text();
		HOLDS_OK(kms_digest_ask(&question, &data, &records, digest, 2000, NOW));
		HOLDS_OK(kms_digest_answer(&answer, &data, &records, to, kms_buf_span(&question), 2000, false,
					   NOW));
		fuzz_seed_choice(0, kms_buf_span(&question));
		const uint8_t len[2] = { (uint8_t)(answer.len >> 8), (uint8_t)answer.len };
		HOLDS_OK(kms_buf_append(&answers, KMS_SPAN(len)));
		HOLDS_OK(kms_buf_append(&answers, kms_buf_span(&answer)));
		HOLDS_OK(kms_digest_take(digest, kms_buf_span(&answer)));
		kms_buf_free(&question);
		kms_buf_free(&answer);
		kms_buf_free(&data);
	}
	fuzz_seed_choice(1, kms_buf_span(&answers));
	kms_buf_free(&answers);
	kms_digest_free(digest);
}

void fuzz_seeds(void)
{
	kms_store *empty = digest_store(2), *other = kit_store(3), *few = digest_store(4);
	kms_secret *master = hex_secret("00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff");
	MUST(kms_tree_set_key(&(bool){ false }, other, master, SIZE_MAX));
	kms_secret_unref(master);
	fuzz_start();
	seed_exchange(shared_store(), empty);
	seed_exchange(empty, shared_store());
	seed_exchange(shared_store(), shared_store());
	seed_exchange(shared_store(), other);
	/* Lists in the place of sums, too. */
	for (size_t i = 0; i < RECORDS; i++) {
		if (i % 10 != 3) put_sealed(few, APP, numbered(i), 1, 4, i % 10 ? 0 : i * 3600000ull, NOW);
	}
	seed_exchange(shared_store(), few);
	seed_exchange(few, shared_store());
	asks_plainly = true;
	seed_exchange(shared_store(), few);
	asks_plainly = false;
	kms_store_free(few);
	kms_store_free(empty);
	kms_store_free(other);
}
