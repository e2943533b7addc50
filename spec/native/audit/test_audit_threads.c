/* Lines are added by one thread while another one chains, and writes. Also run under TSan. */
#include <pthread.h>

#include "audit_kit.h"

#define ROUNDS 200
#define LINES 40 /* in each round, while the writer is at work */

typedef struct writer {
	kms_audit *audit;
	kms_audit_state state;
	kms_status status;
} writer;

static void *write_once(void *argument)
{
	writer *w = argument;
	w->status = kms_audit_write(w->audit, &w->state, false);
	return NULL;
}

TEST(lines_are_added_while_others_are_written)
{
	folder f = make_folder();
	writer w = { .audit = open_log(f.file, 1 << 24, 1 << 20) };
	size_t counted = 0;
	for (unsigned round = 0; round < ROUNDS; round++) {
		pthread_t thread;
		kms_audit_begin_write(w.audit, round);
		CHECK(pthread_create(&thread, NULL, write_once, &w) == 0);
		for (unsigned i = 0; i < LINES; i++) {
			CHECK_OK(add(w.audit, "event", i));
			counted += kms_audit_count(w.audit).waiting_lines;
		}
		CHECK(pthread_join(thread, NULL) == 0);
		CHECK_OK(w.status);
		CHECK(w.state.sequence == 1 + (uint64_t)round * LINES);
	}
	CHECK(counted == (size_t)ROUNDS * LINES * (LINES + 1) / 2);
	CHECK_OK(write_log(w.audit, &w.state));
	CHECK(w.state.sequence == 1 + (uint64_t)ROUNDS * LINES && kms_audit_count(w.audit).lost == 0);
	kms_audit_free(w.audit);
	kms_buf file = load(f.file);
	kms_text last = KMS_NO_TEXT;
	kms_span rest = kms_buf_span(&file);
	unsigned lines = 0;
	for (const uint8_t *end; rest.len > 0 && (end = memchr(rest.bytes, '\n', rest.len));) {
		size_t len = (size_t)(end - rest.bytes);
		kms_text line = kms_text_of((const char *)rest.bytes, len);
		CHECK(follows(line, ++lines, last));
		last = line;
		rest = kms_span_of(end + 1, rest.len - len - 1);
	}
	CHECK(lines == 1 + ROUNDS * LINES && rest.len == 0);
	kms_buf_free(&file);
	remove_folder(&f, NULL, 0);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(lines_are_added_while_others_are_written))
