/* Values from files and results to file descriptors, through guarded memory only (client.h). */
#include "kms/client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/ensure.h"
#include "base/file.h"
#include "kms/codec.h"
#include "kms/crypto.h"

#define READ_STEP 65536

static kms_status format_result(kms_buf *text, const kms_exchange *exchange, kms_format format)
{
	const kms_buf *secret = &exchange->secret;
	if (format == KMS_FORMAT_JSON)
		GUARD(kms_json_canonical(text, &exchange->json, exchange->json.values));
	if (format == KMS_FORMAT_BASE64) GUARD(kms_buf_append_base64(text, kms_buf_span(secret)));
	if (format == KMS_FORMAT_HEX) GUARD(kms_buf_append_hex(text, kms_buf_span(secret)));
	return kms_buf_append_text(text, "\n");
}

kms_status kms_exchange_write(int fd, const kms_exchange *exchange, kms_format format)
{
	ENSURE_REF(exchange);
	ENSURE(exchange->json.values, KMS_ERR_STATE);
	bool secret = exchange->kind == KMS_REQUEST_DERIVE || exchange->kind == KMS_REQUEST_GET;
	ENSURE(secret || format == KMS_FORMAT_JSON, KMS_ERR_ARGUMENT);
	if (format == KMS_FORMAT_RAW) return kms_fd_write(fd, kms_buf_span(&exchange->secret));
	DEFER(kms_buf_free) kms_buf text = kms_buf_make(exchange->plain.kind, SIZE_MAX);
	GUARD(format_result(&text, exchange, format));
	return kms_fd_write(fd, kms_buf_span(&text));
}

kms_status kms_exchange_fingerprint(char text8[8], const kms_exchange *exchange)
{
	ENSURE(text8 && exchange, KMS_ERR_ARGUMENT);
	memset(text8, 0, 8);
	ENSURE(exchange->json.values, KMS_ERR_STATE);
	const kms_buf *key = &exchange->secret;
	ENSURE(exchange->kind == KMS_REQUEST_DERIVE && key->len >= KMS_FINGERPRINT_MIN, KMS_ERR_ARGUMENT);
	uint8_t digest[32];
	GUARD(kms_sha256(digest, kms_buf_span(key)));
	kms_hex_encode(text8, kms_span_of(digest, 4));
	kms_wipe(digest, sizeof(digest));
	return KMS_OK;
}

/* ---- in -------------------------------------------------------------------------------------------- */

/* Reads to the end of the file, or one byte beyond `max`, which shows that there is more. */
static kms_status read_all(kms_buf *value, int fd, size_t max)
{
	size_t got = 0;
	while (got <= max) {
		size_t step = max + 1 - got < READ_STEP ? max + 1 - got : READ_STEP;
		GUARD(kms_buf_reserve(value, step));
		ssize_t n = read(fd, value->data + value->len, step);
		if (n == 0) return KMS_OK;
		if (n < 0) {
			ENSURE(kms_fd_try_again(fd, POLLIN), KMS_ERR_SYSTEM);
			continue;
		}
		value->len += (size_t)n;
		got += (size_t)n;
	}
	return KMS_ERR_VALUE_SIZE;
}

static void close_file(const int *fd)
{
	if (*fd > STDIN_FILENO) close(*fd);
}

kms_status kms_value_read(kms_buf *value, const char *path, size_t max)
{
	ENSURE(value && path, KMS_ERR_ARGUMENT);
	ENSURE(value->kind == KMS_BUF_GUARDED && max < SIZE_MAX, KMS_ERR_ARGUMENT);
	bool is_stdin = strcmp(path, "-") == 0;
	DEFER(close_file) int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	ENSURE(fd >= 0 || errno != ENOENT, KMS_ERR_FILE_MISSING);
	ENSURE(fd >= 0, KMS_ERR_SYSTEM);
	kms_status status = read_all(value, fd, max);
	if (status != KMS_OK) kms_buf_free(value);
	return status;
}
