/* Bodies, sized and chunked (RFC 9112 sections 6 and 7). */
#include "net/http_internal.h"

#include <string.h>

static const kms_http_refusal bad_chunk = { 400, "bad_request", "malformed chunked body" };
static const kms_http_refusal too_large = { 413, "payload_too_large", "body is larger than allowed" };
static const kms_http_refusal no_memory = { 503, "service_unavailable", "out of memory" };

/* ---- content ---------------------------------------------------------------------------------- */

void kms_http_intake_start(kms_http_intake *intake, kms_http_framing framing, uint64_t length)
{
	*intake = (kms_http_intake){ .framing = framing };
	intake->left = framing == KMS_HTTP_SIZED ? length : 0;
	intake->complete = framing == KMS_HTTP_NO_BODY || (framing == KMS_HTTP_SIZED && length == 0);
	intake->bytes = kms_buf_make(KMS_BUF_PLAIN, SIZE_MAX);
}

void kms_http_intake_release(kms_http_intake *intake)
{
	kms_buf_free(&intake->bytes);
	kms_http_charge_release(&intake->charge);
}

static const kms_http_refusal *store(kms_http_intake *intake, kms_span content)
{
	if (intake->discard) return NULL;
	if (content.len > intake->limit - intake->bytes.len) return &too_large;
	const kms_http_refusal *refusal = kms_http_charge_add(&intake->charge, content.len);
	if (refusal) return refusal;
	if (kms_buf_append(&intake->bytes, content) != KMS_OK) return &no_memory;
	return NULL;
}

static const kms_http_refusal *take_content(size_t *used, kms_http_intake *intake, kms_span input)
{
	size_t n = input.len < intake->left ? input.len : (size_t)intake->left;
	const kms_http_refusal *refusal = store(intake, kms_span_of(input.bytes, n));
	if (refusal) return refusal;
	intake->left -= n;
	*used += n;
	return NULL;
}

/* ---- chunks ----------------------------------------------------------------------------------- */

static bool is_text(uint8_t c)
{
	return (c >= ' ' && c != 0x7f) || c == '\t';
}

static const kms_http_refusal *take_size(kms_http_intake *intake, uint8_t c)
{
	int digit = kms_http_hex_digit(c);
	if (digit >= 0) {
		if (intake->left >> 60) return &too_large; /* beyond 64 bits */
		intake->left = intake->left * 16 + (unsigned)digit;
		intake->digits++;
		return NULL;
	}
	if (intake->digits == 0) return &bad_chunk;
	if (c == '\r')
		intake->step = KMS_HTTP_CHUNK_SIZE_LF;
	else if (c == ';')
		intake->step = KMS_HTTP_CHUNK_EXTENSION;
	else if (c == ' ' || c == '\t')
		intake->step = KMS_HTTP_CHUNK_BLANK;
	else
		return &bad_chunk;
	return NULL;
}

/* Only an extension may stand behind white space. */
static const kms_http_refusal *take_blank(kms_http_intake *intake, uint8_t c)
{
	if (c == ' ' || c == '\t') return NULL;
	if (c != ';') return &bad_chunk;
	intake->step = KMS_HTTP_CHUNK_EXTENSION;
	return NULL;
}

static const kms_http_refusal *take_extension(kms_http_intake *intake, uint8_t c)
{
	if (++intake->extensions > KMS_HTTP_MAX_EXTENSIONS) return &bad_chunk;
	if (c == '\r') {
		intake->step = KMS_HTTP_CHUNK_SIZE_LF;
		return NULL;
	}
	return is_text(c) ? NULL : &bad_chunk;
}

/* A trailer is a field: a name, a colon, a value. */
static const kms_http_refusal *take_trailer(kms_http_intake *intake, uint8_t c)
{
	if (++intake->trailers > KMS_HTTP_MAX_TRAILERS) return &bad_chunk;
	if (c == '\r') {
		if (intake->line > 0 && !intake->named) return &bad_chunk;
		intake->step = KMS_HTTP_CHUNK_TRAILER_LF;
		return NULL;
	}
	intake->line++;
	if (intake->named) return is_text(c) ? NULL : &bad_chunk;
	intake->named = c == ':' && intake->line > 1;
	return intake->named || kms_http_is_token(c) ? NULL : &bad_chunk;
}

static const kms_http_refusal *end_trailer(kms_http_intake *intake, uint8_t c)
{
	if (c != '\n') return &bad_chunk;
	intake->complete = intake->line == 0;
	intake->line = 0;
	intake->named = false;
	intake->step = KMS_HTTP_CHUNK_TRAILER;
	return NULL;
}

/* Requires one character, then continues with `step`. */
static const kms_http_refusal *expect(kms_http_intake *intake, uint8_t c, char want, kms_http_chunk_step step)
{
	if (c != (uint8_t)want) return &bad_chunk;
	intake->step = step;
	intake->digits = 0;
	intake->line = 0;
	return NULL;
}

/* Takes one byte of the framing around the content of chunks. */
static const kms_http_refusal *take_framing(kms_http_intake *intake, uint8_t c)
{
	switch (intake->step) {
	case KMS_HTTP_CHUNK_SIZE:
		if (++intake->line > KMS_HTTP_MAX_CHUNK_LINE) return &bad_chunk;
		return take_size(intake, c);
	case KMS_HTTP_CHUNK_BLANK:
		if (++intake->line > KMS_HTTP_MAX_CHUNK_LINE) return &bad_chunk;
		return take_blank(intake, c);
	case KMS_HTTP_CHUNK_EXTENSION:
		if (++intake->line > KMS_HTTP_MAX_CHUNK_LINE) return &bad_chunk;
		return take_extension(intake, c);
	case KMS_HTTP_CHUNK_SIZE_LF:
		return expect(intake, c, '\n', intake->left ? KMS_HTTP_CHUNK_DATA : KMS_HTTP_CHUNK_TRAILER);
	case KMS_HTTP_CHUNK_DATA_CR:
		return expect(intake, c, '\r', KMS_HTTP_CHUNK_DATA_LF);
	case KMS_HTTP_CHUNK_DATA_LF:
		return expect(intake, c, '\n', KMS_HTTP_CHUNK_SIZE);
	case KMS_HTTP_CHUNK_TRAILER:
		return take_trailer(intake, c);
	case KMS_HTTP_CHUNK_TRAILER_LF:
		return end_trailer(intake, c);
	case KMS_HTTP_CHUNK_DATA:
		break; /* take_chunks handles content */
	}
	return &bad_chunk;
}

static const kms_http_refusal *take_chunks(size_t *used, kms_http_intake *intake, kms_span input)
{
	while (!intake->complete && *used < input.len) {
		const kms_http_refusal *refusal;
		if (intake->step == KMS_HTTP_CHUNK_DATA) {
			refusal =
			    take_content(used, intake, kms_span_of(input.bytes + *used, input.len - *used));
			if (intake->left == 0) intake->step = KMS_HTTP_CHUNK_DATA_CR;
		} else {
			refusal = take_framing(intake, input.bytes[*used]);
			*used += 1;
		}
		if (refusal) return refusal;
	}
	return NULL;
}

const kms_http_refusal *kms_http_intake_take(size_t *used, kms_http_intake *intake, kms_span input)
{
	*used = 0;
	if (intake->complete) return NULL;
	if (intake->framing == KMS_HTTP_CHUNKED) return take_chunks(used, intake, input);
	const kms_http_refusal *refusal = take_content(used, intake, input);
	intake->complete = !refusal && intake->left == 0;
	return refusal;
}

/* One step of a look: a byte of framing, or what is there of the content. False: the framing is malformed. */
static bool look_at(uint8_t *front, size_t *got, size_t want, kms_http_intake *look, kms_span rest,
		    size_t *used)
{
	bool is_chunked = look->framing == KMS_HTTP_CHUNKED;
	if (is_chunked && look->step != KMS_HTTP_CHUNK_DATA) {
		*used += 1;
		return !take_framing(look, rest.bytes[0]);
	}
	size_t n = rest.len < want - *got ? rest.len : want - *got;
	if (n > look->left) n = (size_t)look->left;
	memcpy(front + *got, rest.bytes, n);
	*got += n;
	*used += n;
	look->left -= n;
	if (look->left > 0) return true;
	if (is_chunked) look->step = KMS_HTTP_CHUNK_DATA_CR;
	look->complete = !is_chunked;
	return true;
}

bool kms_http_intake_look(uint8_t *front, size_t *got, size_t want, const kms_http_intake *intake,
			  kms_span input)
{
	kms_http_intake look = { .framing = intake->framing,
				 .left = intake->left,
				 .complete = intake->complete };
	size_t used = 0;
	*got = 0;
	while (!look.complete && *got < want && used < input.len)
		if (!look_at(front, got, want, &look, kms_span_of(input.bytes + used, input.len - used),
			     &used))
			return true;
	return look.complete || *got == want;
}
