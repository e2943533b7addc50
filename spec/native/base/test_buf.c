/* Buffers of each kind, and the reader. */
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "base/testing.h"
#include "kms/buf.h"
#include "test.h"

static const kms_buf_kind kinds[] = { KMS_BUF_PLAIN, KMS_BUF_WIPED, KMS_BUF_GUARDED };

TEST(grows_to_its_limit_and_not_past_it)
{
	for (size_t k = 0; k < 3; k++) {
		kms_buf buf = kms_buf_make(kinds[k], 1000);
		for (unsigned i = 0; i < 1000; i++)
			CHECK_OK(kms_buf_append(&buf, kms_span_of(&(uint8_t){ (uint8_t)(i * 3) }, 1)));
		CHECK_STATUS(KMS_ERR_TOO_LARGE, kms_buf_append(&buf, KMS_BYTES("x")));
		CHECK_STATUS(KMS_ERR_TOO_LARGE, kms_buf_reserve(&buf, SIZE_MAX));
		CHECK_OK(kms_buf_append(&buf, KMS_NO_BYTES));
		CHECK(buf.len == 1000 && buf.cap <= 1000);
		for (unsigned i = 0; i < 1000; i++)
			CHECK(buf.data[i] == (uint8_t)(i * 3));
		kms_buf_free(&buf);
		CHECK(!buf.data && buf.len == 0 && buf.cap == 0 && buf.max == 1000 && buf.kind == kinds[k]);
		CHECK_OK(kms_buf_append_text(&buf, "again"));
		kms_buf_free(&buf);
	}
	kms_buf nothing = kms_buf_make(KMS_BUF_PLAIN, 0);
	CHECK_OK(kms_buf_append(&nothing, KMS_NO_BYTES));
	CHECK_STATUS(KMS_ERR_TOO_LARGE, kms_buf_append(&nothing, KMS_BYTES("x")));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_buf_append(&nothing, kms_span_of(NULL, 1)));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_buf_reserve(NULL, 1));
	CHECK(!nothing.data);
	kms_buf_free(NULL);
	kms_buf_clear(NULL);
}

TEST(clear_wipes_what_is_not_plain)
{
	for (size_t k = 0; k < 3; k++) {
		kms_buf buf = kms_buf_make(kinds[k], 1000);
		CHECK_OK(kms_buf_append_text(&buf, "a secret"));
		uint8_t *memory = buf.data;
		kms_buf_clear(&buf);
		CHECK(buf.len == 0 && buf.data == memory);
		CHECK(kinds[k] == KMS_BUF_PLAIN || (memory[0] == 0 && memory[7] == 0));
		kms_buf_free(&buf);
	}
}

/* Every growth of a guarded buffer leaves zeros where it was. */
TEST(growth_wipes_the_old_block)
{
	kms_buf buf = kms_buf_make(KMS_BUF_GUARDED, 100000);
	CHECK_OK(kms_buf_reserve(&buf, 128));
	CHECK_OK(kms_buf_append_text(&buf, "0123456789abcdef0123456789abcdef0123456789abcdef"));
	const uint8_t *old = buf.data;
	CHECK_OK(kms_buf_reserve(&buf, 60000));
	CHECK(buf.data != old && buf.len == 48);
	for (size_t i = 16; i < 128; i++) /* the allocator's links in front */
		CHECK(old[i] == 0);
	CHECK_MEM(buf.data, "0123456789abcdef0123456789abcdef0123456789abcdef", 48);
	kms_buf_free(&buf);
}

TEST(refused_allocations_change_nothing)
{
	for (size_t k = 0; k < 3; k++) {
		kms_buf buf = kms_buf_make(kinds[k], 1 << 20);
		size_t before = kms_guarded_used();
		CHECK_OK(kms_buf_append_text(&buf, "content"));
		/* The roomy attempt fails, what is needed fits. */
		kms_mem_fail_after(1);
		CHECK_OK(kms_buf_reserve(&buf, 70));
		kms_mem_fail_after(0);
		CHECK(buf.cap == 77 && buf.len == 7);
		/* Exactly what is needed, and that fails. */
		kms_mem_fail_after(1);
		kms_status want = kinds[k] == KMS_BUF_GUARDED ? KMS_ERR_LOCKED_MEMORY : KMS_ERR_MEMORY;
		CHECK_STATUS(want, kms_buf_reserve(&buf, 1000));
		kms_mem_fail_after(0);
		CHECK(buf.len == 7 && buf.cap == 77);
		CHECK_MEM(buf.data, "content", 7);
		kms_buf_free(&buf);
		CHECK(kms_guarded_used() == before);
	}
	kms_buf large = kms_buf_make(KMS_BUF_GUARDED, SIZE_MAX);
	CHECK_STATUS(KMS_ERR_LOCKED_MEMORY, kms_buf_reserve(&large, 1u << 30));
	CHECK(!large.data);
}

TEST(reader_never_passes_the_end)
{
	const uint8_t *bytes;
	uint8_t byte;
	kms_reader reader = kms_reader_make(KMS_BYTES("abcd"));
	CHECK_OK(kms_reader_u8(&byte, &reader));
	CHECK(byte == 'a');
	CHECK_STATUS(KMS_ERR_TRUNCATED, kms_reader_take(&bytes, &reader, 4));
	CHECK(bytes == NULL && kms_reader_left(&reader) == 3);
	CHECK_STATUS(KMS_ERR_TRUNCATED, kms_reader_take(&bytes, &reader, SIZE_MAX));
	CHECK_STATUS(KMS_ERR_TRAILING, kms_reader_end(&reader));
	CHECK_OK(kms_reader_take(&bytes, &reader, 3));
	CHECK_MEM(bytes, "bcd", 3);
	CHECK_OK(kms_reader_end(&reader));
	CHECK_OK(kms_reader_take(&bytes, &reader, 0));
	CHECK_STATUS(KMS_ERR_TRUNCATED, kms_reader_u8(&byte, &reader));
	CHECK(byte == 0);
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_reader_take(NULL, &reader, 0));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_reader_take(&bytes, NULL, 0));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_reader_end(NULL));
}

/* Resident pages of this process; 0: unknown. */
static long resident(void)
{
	long size = 0, pages = 0;
	FILE *file = fopen("/proc/self/statm", "r");
	if (file && fscanf(file, "%ld %ld", &size, &pages) != 2) pages = 0;
	if (file) fclose(file);
	return pages;
}

static void *free_large_blocks(void *result)
{
	kms_status *worst = result;
	for (int i = 0; i < 200; i++) {
		kms_buf buf = kms_buf_make(kinds[i % 2], 2u << 20);
		*worst = kms_buf_reserve(&buf, (size_t)(i % 3 + 3) * (1u << 18) - (size_t)(i % 5));
		if (*worst != KMS_OK) break;
		memset(buf.data, i, buf.cap);
		kms_buf_free(&buf);
	}
	return NULL;
}

/*
 * 400 blocks of about a MiB pass through; they must not pile up behind the thread that frees them.
 * (AddressSanitizer keeps 256 MiB of freed memory.)
 */
TEST(large_blocks_are_given_back_by_another_thread)
{
	pthread_t threads[2];
	kms_status worst[2];
	long before = resident(), mib = (1l << 20) / sysconf(_SC_PAGESIZE);
	for (size_t i = 0; i < 2; i++)
		CHECK(pthread_create(&threads[i], NULL, free_large_blocks, &worst[i]) == 0);
	for (size_t i = 0; i < 2; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
	CHECK(before > 0 && worst[0] == KMS_OK && worst[1] == KMS_OK);
	for (int i = 0; i < 3000 && resident() - before > 320 * mib; i++)
		usleep(10000);
	CHECK(resident() - before <= 320 * mib);
}

TEST(a_large_piece_leaves_room_for_a_short_end)
{
	static const uint8_t piece[40000];
	kms_buf buf = kms_buf_make(KMS_BUF_PLAIN, sizeof(piece) + 600);
	CHECK(kms_buf_append(&buf, kms_span_of("{", 1)) == KMS_OK);
	CHECK(kms_buf_append(&buf, kms_span_of(piece, sizeof(piece))) == KMS_OK);
	size_t cap = buf.cap;
	CHECK(cap > buf.len && kms_buf_append(&buf, kms_span_of(piece, 400)) == KMS_OK);
	CHECK(buf.cap == cap);
	/* Near the limit, the room is only what is needed. */
	CHECK(kms_buf_reserve(&buf, buf.max - buf.len) == KMS_OK && buf.cap <= buf.max);
	kms_buf_free(&buf);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(grows_to_its_limit_and_not_past_it), T(clear_wipes_what_is_not_plain),
	  T(growth_wipes_the_old_block), T(refused_allocations_change_nothing),
	  T(reader_never_passes_the_end), T(large_blocks_are_given_back_by_another_thread),
	  T(a_large_piece_leaves_room_for_a_short_end))
