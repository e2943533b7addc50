/* Results written to file descriptors, fingerprints, and values read from files (kms/client.h). */
#include "client_kit.h"

#include <fcntl.h>
#include <unistd.h>

#include "kms/codec.h"

TEST(writes_in_each_format)
{
	char text[512];
	kms_exchange exchange;
	kms_request put = { .kind = KMS_REQUEST_PUT, .key = KMS_TEXT("k"), .value = KMS_BYTES("\xfb\xff!") };
	kms_request get = { .kind = KMS_REQUEST_GET, .key = KMS_TEXT("k") };
	CHECK_OK(make_world());
	CHECK_OK(call_node(&exchange, &put));
	CHECK_STATUS(KMS_ERR_ARGUMENT, written(text, sizeof(text), &exchange, KMS_FORMAT_BASE64));
	CHECK_STATUS(KMS_ERR_ARGUMENT, written(text, sizeof(text), &exchange, KMS_FORMAT_HEX));
	CHECK_STATUS(KMS_ERR_ARGUMENT, written(text, sizeof(text), &exchange, KMS_FORMAT_RAW));
	CHECK_OK(written(text, sizeof(text), &exchange, KMS_FORMAT_JSON));
	CHECK(strstr(text, "{\"app_id\":7,\"key\":\"k\",\"pop\":\"0x") == text);
	kms_exchange_clear(&exchange);
	CHECK_STATUS(KMS_ERR_STATE, kms_exchange_write(1, &exchange, KMS_FORMAT_JSON));

	CHECK_OK(call_node(&exchange, &get));
	CHECK_OK(written(text, sizeof(text), &exchange, KMS_FORMAT_BASE64));
	CHECK(strcmp(text, "+/8h\n") == 0);
	CHECK_OK(written(text, sizeof(text), &exchange, KMS_FORMAT_HEX));
	CHECK(strcmp(text, "fbff21\n") == 0);
	CHECK_OK(written(text, sizeof(text), &exchange, KMS_FORMAT_RAW));
	CHECK(strcmp(text, "\xfb\xff!") == 0);
	CHECK_OK(written(text, sizeof(text), &exchange, KMS_FORMAT_JSON));
	CHECK(strstr(text, "\"value\":\"+/8h\"}\n") != NULL);
	CHECK_STATUS(KMS_ERR_SYSTEM, kms_exchange_write(-1, &exchange, KMS_FORMAT_RAW));
	kms_exchange_clear(&exchange);
	free_world();
}

static kms_status fingerprint_of(char text8[8], const char *path, uint32_t length)
{
	kms_exchange exchange;
	kms_request request = { .kind = KMS_REQUEST_DERIVE, .path = kms_text_from(path), .length = length };
	kms_status status = call_node(&exchange, &request);
	if (status == KMS_OK) status = kms_exchange_fingerprint(text8, &exchange);
	kms_exchange_clear(&exchange);
	return status;
}

TEST(shows_a_key_by_its_fingerprint)
{
	static const char zero[8] = { 0 };
	char text[8], again[8], want[8];
	uint8_t key[32], digest[32];
	CHECK_OK(make_world());
	CHECK_OK(fingerprint_of(text, "a", 32));
	CHECK_OK(kms_derive(KMS_OUT(key), world.master, 7, KMS_TEXT("a"), KMS_TEXT("")));
	CHECK_OK(kms_sha256(digest, KMS_SPAN(key)));
	kms_hex_encode(want, kms_span_of(digest, 4));
	CHECK_MEM(text, want, 8);
	CHECK_OK(fingerprint_of(again, "b", 32));
	CHECK(memcmp(text, again, 8) != 0);
	CHECK_OK(fingerprint_of(again, "a", KMS_FINGERPRINT_MIN));
	CHECK_STATUS(KMS_ERR_ARGUMENT, fingerprint_of(text, "a", KMS_FINGERPRINT_MIN - 1));
	CHECK_MEM(text, zero, 8);

	kms_exchange exchange = { .kind = KMS_REQUEST_DERIVE };
	CHECK_STATUS(KMS_ERR_STATE, kms_exchange_fingerprint(text, &exchange));
	uint8_t value[32] = { 1 };
	kms_request put = { .kind = KMS_REQUEST_PUT, .key = KMS_TEXT("k"), .value = KMS_SPAN(value) };
	kms_request get = { .kind = KMS_REQUEST_GET, .key = put.key };
	CHECK_OK(call_node(&exchange, &put));
	kms_exchange_clear(&exchange);
	CHECK_OK(call_node(&exchange, &get));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_exchange_fingerprint(text, &exchange));
	kms_exchange_clear(&exchange);
	free_world();
}

/* ---- values from files ---- */

static void read_file(int *failed_, kms_status want, const char *path, size_t max, size_t len)
{
	DEFER(kms_buf_free) kms_buf value = kms_buf_make(KMS_BUF_GUARDED, 1 << 20);
	CHECK_STATUS(want, kms_value_read(&value, path, max));
	CHECK(value.len == (want == KMS_OK ? len : 0));
	for (size_t i = 0; i < value.len; i++)
		CHECK(value.data[i] == (uint8_t)i);
}

TEST(reads_values_from_files)
{
	char path[] = "/tmp/kms-test-client-XXXXXX";
	static uint8_t bytes[200000];
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)i;
	int fd = mkstemp(path);
	CHECK(fd >= 0);
	CALL(read_file, KMS_OK, path, 0, 0);
	CHECK(write(fd, bytes, sizeof(bytes)) == (ssize_t)sizeof(bytes));
	CALL(read_file, KMS_OK, path, sizeof(bytes) + 1, sizeof(bytes));
	CALL(read_file, KMS_OK, path, sizeof(bytes), sizeof(bytes));
	CALL(read_file, KMS_ERR_VALUE_SIZE, path, sizeof(bytes) - 1, 0);
	CALL(read_file, KMS_ERR_VALUE_SIZE, path, 0, 0);
	CHECK(unlink(path) == 0 && close(fd) == 0);
	CALL(read_file, KMS_ERR_FILE_MISSING, path, 1, 0);
	CALL(read_file, KMS_ERR_SYSTEM, "/tmp", 1, 0);
	DEFER(kms_buf_free) kms_buf plain = kms_buf_make(KMS_BUF_PLAIN, 10);
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_value_read(&plain, path, 1));
}

/* In pieces and without blocking, as from a terminal or pipe in luv's hands. */
TEST(reads_values_from_the_standard_input)
{
	int fds[2], saved = dup(STDIN_FILENO);
	CHECK(pipe(fds) == 0);
	CHECK(fcntl(fds[0], F_SETFL, O_NONBLOCK) == 0);
	pid_t writer = fork();
	CHECK(writer >= 0);
	if (writer == 0) {
		for (int i = 0; i < 100; i++) {
			uint8_t byte = (uint8_t)i;
			if (write(fds[1], &byte, 1) != 1) _exit(1);
			if (i % 25 == 0) usleep(1000);
		}
		_exit(0);
	}
	close(fds[1]);
	dup2(fds[0], STDIN_FILENO);
	close(fds[0]);
	CALL(read_file, KMS_OK, "-", 100, 100);
	CALL(read_file, KMS_OK, "-", 100, 0);
	if (saved >= 0) {
		dup2(saved, STDIN_FILENO);
		close(saved);
	}
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(writes_in_each_format), T(shows_a_key_by_its_fingerprint),
	  T(reads_values_from_files), T(reads_values_from_the_standard_input))
