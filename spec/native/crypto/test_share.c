/* Shares of the master secret: known answers, every subset of them, wrong ones among them, and what is
 * refused. */
#include "base/testing.h"
#include "kms/kdf.h"
#include "kms/share.h"
#include "vectors_kit.h"

#define MAX KMS_SHARE_CUSTODIANS

static kms_share_set set_of(uint8_t threshold, uint8_t count)
{
	kms_share_set set = { .id32 = { 1, 2, 3 }, .threshold = threshold, .count = count };
	return set;
}

/* A secret, its hash and its shares. */
typedef struct shared {
	kms_secret *master;
	uint8_t hash[32];
	kms_secret *ys[MAX];
	kms_share_part parts[MAX];
	kms_share_set set;
} shared;

static void share_out(shared *s, uint8_t threshold, uint8_t count)
{
	*s = (shared){ .set = set_of(threshold, count) };
	MUST(kms_secret_random(&s->master, KMS_MASTER_BYTES));
	kms_secret_keccak256(s->hash, s->master);
	for (uint8_t x = 1; x <= count; x++) {
		MUST(kms_share_y(&s->ys[x - 1], s->master, &s->set, x));
		s->parts[x - 1] = (kms_share_part){ x, s->ys[x - 1] };
	}
}

/* Another secret part in the place of part `i`. */
static void forge(shared *s, size_t i)
{
	kms_secret_unref(s->ys[i]);
	MUST(kms_secret_random(&s->ys[i], 32));
	s->parts[i].y32 = s->ys[i];
}

static void clear(shared *s)
{
	for (size_t i = 0; i < MAX; i++)
		kms_secret_unref(s->ys[i]);
	kms_secret_unref(s->master);
}

static void check_case(int *failed_, const vectors *v)
{
	kms_share_part parts[MAX];
	kms_secret *master = secret(text(v, "master_secret")), *found;
	kms_share_set set = set_of((uint8_t)number(v, "threshold"), (uint8_t)number(v, "count"));
	uint8_t hash[32];
	uint32_t wrong, day = (uint32_t)number(v, "day");
	fixed(set.id32, sizeof(set.id32), text(v, "set_id"));
	fixed(hash, sizeof(hash), text(v, "hash"));
	const kms_json_value *want = kms_json_first(&v->json, text(v, "shares"));
	for (uint8_t x = 1; x <= set.count; x++, want = kms_json_next(&v->json, want)) {
		kms_share_head head;
		kms_buf share = kms_buf_make(KMS_BUF_GUARDED, KMS_SHARE_BYTES);
		CHECK_OK(kms_share_make(&share, master, &set, x, day));
		CHECK(bytes_are(share.data, share.len, want));
		CHECK_OK(kms_share_read(&head, (kms_secret **)&parts[x - 1].y32, kms_buf_span(&share)));
		parts[x - 1].x = head.x;
		CHECK(head.x == x && head.threshold == set.threshold && head.count == set.count);
		CHECK(head.day == day);
		CHECK_MEM(head.set16, set.id32, sizeof(head.set16));
		CHECK_MEM(head.hash24, hash, sizeof(head.hash24));
		kms_buf_free(&share);
	}
	CHECK_OK(kms_share_combine(&found, &wrong, parts, set.count, set.threshold, hash));
	CHECK(kms_secret_equal(found, master) && wrong == 0);
	for (size_t i = 0; i < set.count; i++)
		kms_secret_unref((kms_secret *)parts[i].y32);
	kms_secret_unref(found);
	kms_secret_unref(master);
}

TEST(makes_the_shares_of_another_implementation)
{
	each(failed_, "share", check_case);
}

TEST(any_three_of_five_have_the_secret_and_no_two_do)
{
	shared s;
	share_out(&s, 3, 5);
	for (unsigned bits = 0; bits < 32; bits++) {
		kms_share_part some[MAX];
		size_t count = 0;
		kms_secret *found;
		uint32_t wrong;
		for (size_t i = 0; i < 5; i++)
			if (bits >> i & 1) some[count++] = s.parts[i];
		kms_status status = kms_share_combine(&found, &wrong, some, count, 3, s.hash);
		CHECK_STATUS(count >= 3 ? KMS_OK : KMS_ERR_RANGE, status);
		if (count == 2)
			CHECK_STATUS(KMS_ERR_SHARES, kms_share_combine(&found, &wrong, some, 2, 2, s.hash));
		if (count >= 3) CHECK(kms_secret_equal(found, s.master) && wrong == 0);
		kms_secret_unref(found);
	}
	clear(&s);
}

TEST(names_the_custodians_whose_shares_do_not_fit)
{
	shared s;
	kms_secret *found;
	uint32_t wrong;
	share_out(&s, 3, 6);
	forge(&s, 0);
	/* With no share to spare nobody can be named. */
	CHECK_STATUS(KMS_ERR_SHARES, kms_share_combine(&found, &wrong, s.parts, 3, 3, s.hash));
	CHECK(!found && wrong == 0);
	CHECK_OK(kms_share_combine(&found, &wrong, s.parts, 4, 3, s.hash));
	CHECK(kms_secret_equal(found, s.master) && wrong == 1u << 1);
	kms_secret_unref(found);
	forge(&s, 2);
	forge(&s, 4);
	CHECK_STATUS(KMS_ERR_SHARES, kms_share_combine(&found, &wrong, s.parts, 5, 3, s.hash));
	CHECK_OK(kms_share_combine(&found, &wrong, s.parts, 6, 3, s.hash));
	CHECK(kms_secret_equal(found, s.master) && wrong == (1u << 1 | 1u << 3 | 1u << 5));
	kms_secret_unref(found);
	clear(&s);
}

TEST(searches_the_largest_set_to_its_last_subset)
{
	shared s;
	kms_secret *found;
	uint32_t wrong;
	share_out(&s, 8, 16);
	for (size_t i = 0; i < 8; i++)
		forge(&s, i);
	CHECK_OK(kms_share_combine(&found, &wrong, s.parts, 16, 8, s.hash));
	CHECK(kms_secret_equal(found, s.master) && wrong == 0x1feu);
	kms_secret_unref(found);
	forge(&s, 15);
	CHECK_STATUS(KMS_ERR_SHARES, kms_share_combine(&found, &wrong, s.parts, 16, 8, s.hash));
	clear(&s);
}

TEST(refuses_sets_and_parts_out_of_range)
{
	shared s;
	kms_secret *y;
	uint32_t wrong;
	share_out(&s, 2, 3);
	static const uint8_t bad[][3] = { { 1, 3, 1 }, { 4, 3, 1 }, { 2, 17, 1 },
					  { 2, 3, 0 }, { 2, 3, 4 }, { 0, 0, 0 } };
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		kms_share_set set = set_of(bad[i][0], bad[i][1]);
		CHECK_STATUS(KMS_ERR_RANGE, kms_share_y(&y, s.master, &set, bad[i][2]));
		CHECK(!y);
	}
	/* Secrets that are shorter than what is read of them. */
	kms_secret *half = hex_secret("0011");
	const kms_secret *whole = s.parts[2].y32;
	CHECK_STATUS(KMS_ERR_RANGE, kms_share_y(&y, half, &s.set, 1));
	s.parts[2].y32 = half;
	CHECK_STATUS(KMS_ERR_RANGE, kms_share_combine(&y, &wrong, s.parts, 3, 2, s.hash));
	s.parts[2].y32 = whole;
	kms_secret_unref(half);
	CHECK_STATUS(KMS_ERR_RANGE, kms_share_combine(&y, &wrong, s.parts, 1, 2, s.hash));
	s.parts[2].x = 1;
	CHECK_STATUS(KMS_ERR_RANGE, kms_share_combine(&y, &wrong, s.parts, 3, 2, s.hash));
	s.parts[2].x = 0;
	CHECK_STATUS(KMS_ERR_RANGE, kms_share_combine(&y, &wrong, s.parts, 3, 2, s.hash));
	s.parts[2].x = 17;
	CHECK_STATUS(KMS_ERR_RANGE, kms_share_combine(&y, &wrong, s.parts, 3, 2, s.hash));
	s.parts[2].y32 = NULL;
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_share_combine(&y, &wrong, s.parts, 3, 2, s.hash));
	clear(&s);
}

TEST(refuses_what_is_not_a_share)
{
	shared s;
	kms_share_head head;
	kms_secret *y;
	share_out(&s, 2, 3);
	kms_buf share = kms_buf_make(KMS_BUF_GUARDED, 200), plain = kms_buf_make(KMS_BUF_WIPED, 200);
	MUST(kms_share_make(&share, s.master, &s.set, 2, 7));
	MUST(kms_buf_append(&share, KMS_BYTES("x")));
	for (size_t len = 0; len <= KMS_SHARE_BYTES + 1; len++) {
		kms_status want = len == KMS_SHARE_BYTES ? KMS_OK : KMS_ERR_SHARE;
		CHECK_STATUS(want, kms_share_read(&head, &y, kms_span_of(share.data, len)));
		kms_secret_unref(y);
	}
	static const uint8_t bad[][2] = { { 0, 'X' }, { 3, '2' }, { 20, 1 }, { 20, 4 },
					  { 21, 17 }, { 21, 1 },  { 22, 0 }, { 22, 4 } };
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		uint8_t *at = share.data + bad[i][0], old = *at;
		*at = bad[i][1];
		CHECK_STATUS(KMS_ERR_SHARE,
			     kms_share_read(&head, &y, kms_span_of(share.data, KMS_SHARE_BYTES)));
		CHECK(!y && head.x == 0);
		*at = old;
	}
	/* Shares are written to guarded memory only. */
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_share_make(&plain, s.master, &s.set, 2, 7));
	kms_buf_free(&share);
	clear(&s);
}

TEST(leaves_nothing_behind_when_memory_fails)
{
	shared s;
	share_out(&s, 2, 3);
	kms_secret *found;
	uint32_t wrong;
	MUST(kms_share_combine(&found, &wrong, s.parts, 3, 2, s.hash)); /* makes this thread's contexts */
	kms_secret_unref(found);
	size_t before = kms_guarded_used();
	for (unsigned long n = 1;; n++) {
		kms_buf share = kms_buf_make(KMS_BUF_GUARDED, 200);
		kms_mem_fail_after(n);
		kms_status made = kms_share_make(&share, s.master, &s.set, 1, 7);
		kms_status status = kms_share_combine(&found, &wrong, s.parts, 3, 2, s.hash);
		bool ends = sweep_ends(n);
		CHECK((made == KMS_OK) == (share.len == KMS_SHARE_BYTES) &&
		      (status == KMS_OK) == (found != NULL));
		kms_secret_unref(found);
		kms_buf_free(&share);
		CHECK(kms_guarded_used() <= before + 2048); /* OpenSSL's errors may stay */
		if (ends) break;
	}
	clear(&s);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(makes_the_shares_of_another_implementation),
	  T(any_three_of_five_have_the_secret_and_no_two_do), T(names_the_custodians_whose_shares_do_not_fit),
	  T(searches_the_largest_set_to_its_last_subset), T(refuses_sets_and_parts_out_of_range),
	  T(refuses_what_is_not_a_share), T(leaves_nothing_behind_when_memory_fails))
