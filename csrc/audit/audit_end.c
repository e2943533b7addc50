/* The end of an audit log's file: its last whole line, behind which the next run goes on. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "audit/audit_internal.h"
#include "base/ensure.h"
#include "kms/codec.h"
#include "kms/crypto.h"

#define PIECE_BYTES (1u << 16) /* of a file, read at once */
#define JUNK_MAX (1u << 20) /* bytes behind the last line, but for NUL: a file with more is none of a log */
#define SEQUENCE_MAX ((uint64_t)1 << 52) /* of a line to go on behind: readers of JSON know 2^53 exactly */

/* ---- a line ------------------------------------------------------------------------------------------ */

static bool starts_with(kms_span bytes, kms_span prefix)
{
	return bytes.len >= prefix.len && memcmp(bytes.bytes, prefix.bytes, prefix.len) == 0;
}

/* Whether a line has the form of the chain's. Out: sequence. */
static bool is_line(uint64_t *sequence, kms_span line)
{
	kms_span sequence_name = KMS_BYTES(AUDIT_SEQUENCE), previous_name = KMS_BYTES(AUDIT_PREVIOUS);
	if (line.len >= KMS_AUDIT_LINE_MAX) return false;
	if (!starts_with(line, sequence_name) || line.bytes[line.len - 1] != '}') return false;
	size_t at = sequence_name.len, first = at;
	while (at < line.len && line.bytes[at] >= '0' && line.bytes[at] <= '9')
		at++;
	kms_text digits = kms_text_of((const char *)line.bytes + first, at - first);
	if (kms_decimal_parse(sequence, digits) != KMS_OK) return false;
	if (*sequence == 0 || *sequence > SEQUENCE_MAX) return false;
	if (!starts_with(kms_span_of(line.bytes + at, line.len - at), previous_name)) return false;
	at += previous_name.len;
	uint8_t hash32[KMS_AUDIT_HASH_BYTES];
	if (line.len - at < AUDIT_HASH_DIGITS) return false;
	return kms_hex_decode(KMS_OUT(hash32),
			      kms_text_of((const char *)line.bytes + at, AUDIT_HASH_DIGITS)) == KMS_OK;
}

/* The first byte of the line that ends before `end`. */
static size_t line_start(kms_span piece, size_t end)
{
	while (end > 0 && piece.bytes[end - 1] != '\n')
		end--;
	return end;
}

/*
 * Finds the last line in a piece of a file. Out: head - unchanged where there is none. behind - bytes behind
 * it. In: is_start - whether the file begins with it: else its first line may be the rest of one.
 */
static kms_status find_line(audit_head *head, size_t *behind, kms_span piece, bool is_start)
{
	uint64_t sequence;
	/* Behind the last line feed is no whole line. */
	for (size_t end = line_start(piece, piece.len); end > 0;) {
		size_t start = line_start(piece, end - 1);
		if (start == 0 && !is_start) break;
		kms_span line = kms_span_of(piece.bytes + start, end - 1 - start);
		if (is_line(&sequence, line)) {
			*behind = piece.len - end;
			head->sequence = sequence;
			return kms_sha256(head->hash32, line);
		}
		end = start;
	}
	return KMS_OK;
}

/* ---- what stands behind it --------------------------------------------------------------------------- */

/* What stands behind a line that is torn: what has ended it, and what a power cut leaves where bytes had not
 * reached the disk. */
static bool is_filler(uint8_t byte)
{
	return byte == '~' || byte == '\n' || byte == '\0';
}

/* The bytes without filler at their end. */
static size_t without_filler(kms_span bytes)
{
	size_t len = bytes.len;
	while (len > 0 && is_filler(bytes.bytes[len - 1]))
		len--;
	return len;
}

static size_t count_junk(kms_span bytes)
{
	size_t count = 0;
	for (size_t i = 0; i < bytes.len; i++)
		count += bytes.bytes[i] != '\0';
	return count;
}

/* Whether a text is the beginning of a first line, or empty. */
static bool is_torn_start(kms_span text)
{
	kms_span first = KMS_BYTES(AUDIT_SEQUENCE "1" AUDIT_PREVIOUS);
	if (text.len > first.len) return starts_with(text, first);
	return text.len == 0 || starts_with(first, text);
}

/* ---- the file, from its end backwards ---------------------------------------------------------------- */

static kms_status read_piece(kms_buf *piece, int fd, uint64_t at, size_t len)
{
	piece->len = 0;
	GUARD(kms_buf_reserve(piece, len));
	while (piece->len < len) {
		ssize_t n = pread(fd, piece->data + piece->len, len - piece->len, (off_t)(at + piece->len));
		if (n < 0 && errno == EINTR) continue;
		ENSURE(n > 0, KMS_ERR_SYSTEM);
		piece->len += (size_t)n;
	}
	return KMS_OK;
}

/* What has been learnt of a file. */
typedef struct search {
	uint64_t end;      /* what is behind it has been looked at, and holds no line */
	uint64_t text_end; /* of its last byte that is no filler; 0: none was seen */
	size_t junk;       /* bytes behind `end` that are not NUL */
	size_t behind;     /* bytes of the last piece behind the line */
} search;

/* Looks at the piece before `end`. In-out: s. Out: head - where the piece holds a line. */
static kms_status search_piece(audit_head *head, search *s, kms_buf *piece, int fd)
{
	size_t len = s->end < PIECE_BYTES ? (size_t)s->end : PIECE_BYTES;
	uint64_t start = s->end - len;
	GUARD(read_piece(piece, fd, start, len));
	kms_span bytes = kms_buf_span(piece);
	GUARD(find_line(head, &s->behind, bytes, start == 0));
	/* The rest of a line is looked at again with its beginning, unless it is too long for one. */
	const uint8_t *feed = start == 0 ? NULL : memchr(bytes.bytes, '\n', len);
	size_t again = feed && feed + 1 < bytes.bytes + len ? (size_t)(feed + 1 - bytes.bytes) : 0;
	if (head->sequence) again = len - s->behind;
	s->junk += count_junk(kms_span_of(bytes.bytes + again, len - again));
	if (s->text_end == 0 && without_filler(bytes) > 0) s->text_end = start + without_filler(bytes);
	s->end = start + again;
	return KMS_OK;
}

kms_status audit_find_end(audit_head *head, size_t *torn, int fd, uint64_t size)
{
	search s = { .end = size };
	DEFER(kms_buf_free) kms_buf piece = kms_buf_make(KMS_BUF_PLAIN, PIECE_BYTES);
	*head = (audit_head){ 0 };
	*torn = (size_t)size;
	while (s.end > 0 && !head->sequence) {
		GUARD(search_piece(head, &s, &piece, fd));
		if (s.junk <= JUNK_MAX) continue;
		*head = (audit_head){ 0 };
		return KMS_ERR_FILE_FORMAT;
	}
	*torn = (size_t)(size - s.end);
	if (head->sequence) return KMS_OK;
	ENSURE(s.text_end <= KMS_AUDIT_LINE_MAX, KMS_ERR_FILE_FORMAT);
	GUARD(read_piece(&piece, fd, 0, (size_t)s.text_end));
	return is_torn_start(kms_buf_span(&piece)) ? KMS_OK : KMS_ERR_FILE_FORMAT;
}
