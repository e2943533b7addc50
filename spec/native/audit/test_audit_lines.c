/* Lines of an audit log: what stands in them, and what becomes of those that have no room. */
#include "audit_kit.h"
#include "kms/json.h"
#include "kms/kdf.h"

static const char MASTER[] = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
static const unsigned NONE[] = { 0 };

/* Made with Python's hmac and hashlib from docs/audit.md. */
TEST(names_have_known_answers)
{
	static const struct {
		kms_audit_kind kind;
		uint64_t app_id;
		const char *name, *want;
	} rows[] = {
		{ KMS_AUDIT_PATH, 42, "wallet/root", "33b5a575e40776c4831800431b784448" },
		{ KMS_AUDIT_CONTEXT, 42, "wallet/root", "397694ae85bf4e5aaeae79ee70c9969d" },
		{ KMS_AUDIT_PATH, 43, "wallet/root", "e55dc78b20fdf56d0398bb26a5ce8d93" },
		{ KMS_AUDIT_KEY, UINT64_MAX, "", "7e0981fa6e7f54ac557c732b89be3f87" },
	};
	kms_secret *master = hex_secret(MASTER), *secret;
	kms_hmac_key *key;
	CHECK_OK(kms_audit_key(&secret, master));
	CHECK_OK(kms_hmac_key_new(&key, secret));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t digest32[32], hash16[KMS_AUDIT_NAME_BYTES], want[KMS_AUDIT_NAME_BYTES];
		CHECK_OK(kms_sha256(digest32, kms_text_span(kms_text_from(rows[i].name))));
		CHECK_OK(kms_audit_name(hash16, key, rows[i].kind, rows[i].app_id, digest32));
		hex_bytes(want, sizeof(want), rows[i].want);
		CHECK_MEM(want, hash16, sizeof(want));
	}
	uint8_t hash16[KMS_AUDIT_NAME_BYTES];
	CHECK_STATUS(KMS_ERR_ARGUMENT,
		     kms_audit_name(hash16, NULL, KMS_AUDIT_PATH, 1, (const uint8_t *)MASTER));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_audit_name(hash16, key, KMS_AUDIT_PATH, 1, NULL));
	kms_hmac_key_free(key);
	kms_secret_unref(secret);
	kms_secret_unref(master);
}

TEST(each_line_carries_its_number_and_the_hash_of_the_one_before)
{
	folder f = make_folder();
	kms_audit_state state;
	kms_audit *audit = open_log(f.file, 1 << 20, WAITING);
	kms_audit_event event = { .time_ms = 12,
				  .event = KMS_TEXT("derive"),
				  .wallet = KMS_TEXT("0xab"),
				  .app = KMS_TEXT("1000"),
				  .name = KMS_TEXT("33b5"),
				  .context = KMS_TEXT("3976"),
				  .request = KMS_TEXT("r-1"),
				  .operation = KMS_TEXT("derive"),
				  .code = KMS_TEXT("ok"),
				  .rule = KMS_TEXT("a \"rule\"\n"),
				  .status = 403,
				  .more = KMS_TEXT("\"n\":1") };
	CHECK_OK(kms_audit_add(audit, &event));
	CHECK_OK(add(audit, "second", 13));
	CHECK_OK(write_log(audit, &state));
	CHECK(state.sequence == 3 && state.lines == 3);
	CHECK_OK(add(audit, "third", 14));
	kms_audit_begin_write(audit, 15);
	CHECK_OK(kms_audit_write(audit, &state, true));
	kms_buf file = load(f.file);
	CHECK(file.len == state.bytes && file.len == state.file_bytes);
	CHECK(follows(line_of(&file, 0), 1, KMS_NO_TEXT));
	CHECK(has(line_of(&file, 0), "\"time_ms\":7,\"event\":\"start\",\"run\":\"00ff\",\"torn\":0}"));
	for (unsigned i = 1; i < 4; i++)
		CHECK(follows(line_of(&file, i), i + 1, line_of(&file, i - 1)));
	CHECK(
	    has(line_of(&file, 1),
		"\"time_ms\":12,\"event\":\"derive\",\"op\":\"derive\",\"wallet\":\"0xab\",\"app\":\"1000\","
		"\"name\":\"33b5\",\"context\":\"3976\",\"code\":\"ok\",\"status\":403,"
		"\"rule\":\"a \\\"rule\\\"\\n\",\"request\":\"r-1\",\"n\":1}"));
	uint8_t hash32[32];
	CHECK_OK(kms_sha256(hash32, kms_text_span(line_of(&file, 3))));
	CHECK_MEM(hash32, state.hash32, sizeof(hash32));
	CHECK(line_of(&file, 4).text == NULL);
	kms_buf_free(&file);
	kms_audit_free(audit);
	remove_folder(&f, NONE, 1);
}

TEST(texts_from_outside_are_cut_and_must_be_utf8)
{
	folder f = make_folder();
	kms_audit_state state;
	char rule[300];
	kms_audit *audit = open_log(f.file, 1 << 20, WAITING);
	/* Two bytes a character: the 64th one ends at 128 bytes, and would not from an odd place. */
	for (size_t i = 0; i < sizeof(rule); i++)
		rule[i] = (char)(i % 2 ? 0xa9 : 0xc3);
	kms_audit_event event = { .event = KMS_TEXT("refused"), .rule = kms_text_of(rule, sizeof(rule)) };
	CHECK_OK(kms_audit_add(audit, &event));
	rule[0] = 'x'; /* and the rest moves by one */
	for (size_t i = 1; i < sizeof(rule); i++)
		rule[i] = (char)(i % 2 ? 0xc3 : 0xa9);
	event.rule = kms_text_of(rule, sizeof(rule) - 1);
	CHECK_OK(kms_audit_add(audit, &event));
	event.rule = KMS_TEXT("\xff");
	CHECK_STATUS(KMS_ERR_UTF8, kms_audit_add(audit, &event));
	event = (kms_audit_event){ .event = KMS_TEXT("x"), .more = KMS_TEXT("\"a\":1\n") };
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_audit_add(audit, &event));
	CHECK_OK(write_log(audit, &state));
	CHECK_OK(write_log(audit, &state));
	kms_buf file = load(f.file);
	CHECK(has(line_of(&file, 1), "\"rule\":\"\xc3\xa9") &&
	      line_of(&file, 1).len == line_of(&file, 2).len + 1);
	/* The two that were none. */
	CHECK(has(line_of(&file, 3), "\"event\":\"lost\",\"lines\":1,\"since_ms\":0,\"until_ms\":0}"));
	CHECK(has(line_of(&file, 4), "\"event\":\"lost\",\"lines\":1,\"since_ms\":0,\"until_ms\":0}"));
	kms_buf_free(&file);
	kms_audit_free(audit);
	remove_folder(&f, NONE, 1);
}

/* Each byte of ASCII, where eight are looked at together and where one is. */
TEST(a_text_is_escaped_wherever_it_must_be)
{
	folder f = make_folder();
	kms_audit_state state;
	kms_audit *audit = open_log(f.file, 1 << 20, WAITING);
	static const size_t places[] = { 0, 3, 7, 8 };
	size_t line = 1;
	for (unsigned byte = 1; byte < 0x80; byte++) {
		for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
			char text[10] = "abcdefghi";
			text[places[i]] = (char)byte;
			kms_audit_event event = { .event = KMS_TEXT("x"), .rule = kms_text_of(text, 9) };
			CHECK_OK(kms_audit_add(audit, &event));
		}
		CHECK_OK(write_log(audit, &state));
	}
	kms_buf file = load(f.file);
	for (unsigned byte = 1; byte < 0x80; byte++) {
		for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
			char text[10] = "abcdefghi", want[64] = "\"rule\":";
			text[places[i]] = (char)byte;
			kms_buf json = kms_buf_make(KMS_BUF_PLAIN, 64);
			CHECK_OK(kms_buf_append_json(&json, kms_text_of(text, 9)));
			CHECK_OK(kms_buf_append(&json, KMS_BYTES("\0")));
			strcat(want, (const char *)json.data);
			CHECK(has(line_of(&file, line++), want));
			kms_buf_free(&json);
		}
	}
	kms_buf_free(&file);
	kms_audit_free(audit);
	remove_folder(&f, NONE, 1);
}

/* A line as long as a line may be, and one longer. */
TEST(a_line_has_a_limit)
{
	folder f = make_folder();
	kms_audit_state state;
	kms_audit *audit = open_log(f.file, 1 << 20, WAITING);
	char more[KMS_AUDIT_LINE_MAX];
	memset(more, '1', sizeof(more));
	memcpy(more, "\"a\":", 4);
	size_t most = 0;
	for (size_t len = 3800; len < sizeof(more); len++) {
		kms_audit_event event = { .event = KMS_TEXT("long"), .more = kms_text_of(more, len) };
		if (kms_audit_add(audit, &event) != KMS_OK) break;
		most = len;
		CHECK_OK(write_log(audit, &state));
	}
	CHECK(most > 3800 && most < sizeof(more) - 1);
	kms_buf file = load(f.file);
	size_t last = 0;
	for (size_t i = 0; line_of(&file, i).text; i++)
		last = line_of(&file, i).len;
	CHECK(last < KMS_AUDIT_LINE_MAX && last > KMS_AUDIT_LINE_MAX - 32);
	kms_buf_free(&file);
	kms_audit_free(audit);
	remove_folder(&f, NONE, 1);
}

TEST(lines_without_room_are_counted_and_a_line_says_so)
{
	folder f = make_folder();
	kms_audit_state state;
	kms_audit *audit = open_log(f.file, 1 << 20, WAITING);
	uint64_t added = 0, lost = 0;
	for (uint64_t i = 0; i < 1000; i++)
		if (add(audit, "flood", i) == KMS_OK)
			added++;
		else
			lost++;
	kms_audit_counts counts = kms_audit_count(audit);
	CHECK(added > 100 && lost > 0 && counts.added == added && counts.lost == lost);
	CHECK(counts.waiting <= WAITING && counts.waiting > WAITING - 64);
	CHECK_OK(write_log(audit, &state));
	CHECK(state.lines == added + 1);
	CHECK_OK(add(audit, "after", 2000));
	CHECK_OK(write_log(audit, &state));
	kms_buf file = load(f.file);
	char want[128];
	(void)snprintf(want, sizeof(want),
		       "\"event\":\"lost\",\"lines\":%lu,\"since_ms\":%lu,\"until_ms\":999}",
		       (unsigned long)lost, (unsigned long)added);
	CHECK(has(line_of(&file, added + 1), want));
	CHECK(has(line_of(&file, added + 2), "\"event\":\"after\""));
	kms_buf_free(&file);
	kms_audit_free(audit);
	remove_folder(&f, NONE, 1);
}

TEST(a_log_without_memory_fails_and_goes_on)
{
	folder f = make_folder();
	kms_audit_state state;
	unsigned long n = 0;
	do {
		kms_audit *audit = NULL;
		kms_mem_fail_after(++n);
		kms_audit_options options = { .path = kms_text_from(f.file),
					      .start = KMS_TEXT("\"run\":\"1\""),
					      .max_file = 1 << 20,
					      .max_waiting = WAITING };
		kms_status status = kms_audit_new(&audit, &options);
		if (status == KMS_OK) status = add(audit, "event", 1);
		if (status == KMS_OK) status = write_log(audit, &state);
		CHECK(status == KMS_OK || kms_status_category(status) == KMS_CATEGORY_BUSY ||
		      status == KMS_ERR_CRYPTO);
		bool ended = sweep_ends(n);
		if (audit) {
			CHECK_OK(add(audit, "again", 2));
			CHECK_OK(write_log(audit, &state));
			CHECK_OK(write_log(audit, &state));
		}
		kms_audit_free(audit);
		if (ended) break;
	} while (n < 100);
	CHECK(n > 3 && n < 100);
	kms_buf file = load(f.file);
	for (unsigned i = 0; line_of(&file, i).text; i++)
		CHECK(follows(line_of(&file, i), i + 1, i ? line_of(&file, i - 1) : KMS_NO_TEXT));
	kms_buf_free(&file);
	remove_folder(&f, NONE, 1);
}

TEST(options_have_limits)
{
	kms_audit *audit;
	char path[AUDIT_PATH_MAX + 1];
	memset(path, 'a', sizeof(path));
	kms_audit_options good = { .path = kms_text_of(path, AUDIT_PATH_MAX),
				   .max_file = KMS_AUDIT_FILE_MIN,
				   .max_waiting = 2 * KMS_AUDIT_LINE_MAX };
	CHECK_OK(kms_audit_new(&audit, &good));
	kms_audit_free(audit);
	kms_audit_options bad = good;
	bad.path.len++;
	CHECK_STATUS(KMS_ERR_RANGE, kms_audit_new(&audit, &bad));
	CHECK(audit == NULL);
	bad.path = KMS_TEXT("");
	CHECK_STATUS(KMS_ERR_RANGE, kms_audit_new(&audit, &bad));
	bad.path = KMS_TEXT("a\0b");
	CHECK_STATUS(KMS_ERR_RANGE, kms_audit_new(&audit, &bad));
	bad = good;
	bad.max_file--;
	CHECK_STATUS(KMS_ERR_RANGE, kms_audit_new(&audit, &bad));
	bad = good;
	bad.max_waiting--;
	CHECK_STATUS(KMS_ERR_RANGE, kms_audit_new(&audit, &bad));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_audit_new(NULL, &good));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_audit_new(&audit, NULL));
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(names_have_known_answers),
	  T(each_line_carries_its_number_and_the_hash_of_the_one_before),
	  T(texts_from_outside_are_cut_and_must_be_utf8), T(a_text_is_escaped_wherever_it_must_be),
	  T(a_line_has_a_limit), T(lines_without_room_are_counted_and_a_line_says_so),
	  T(a_log_without_memory_fails_and_goes_on), T(options_have_limits))
