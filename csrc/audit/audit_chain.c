/* Lines of an audit log: what stands in them, and how each is tied to the one before. */
#include <string.h>

#include "audit/audit_internal.h"
#include "base/bits.h"
#include "base/ensure.h"
#include "kms/codec.h"
#include "kms/crypto.h"
#include "kms/json.h"

#define TEXT_MAX 128 /* bytes of a member's text */
/* What a line has more than its body: both names, a number, the hash with its quote, comma and closing brace.
 */
#define CHAIN_BYTES \
	(sizeof(AUDIT_SEQUENCE) + KMS_DECIMAL_MAX + sizeof(AUDIT_PREVIOUS) + AUDIT_HASH_DIGITS + 3)

kms_status kms_audit_name(uint8_t hash16[KMS_AUDIT_NAME_BYTES], kms_hmac_key *key, kms_audit_kind kind,
			  uint64_t app_id, const uint8_t digest32[KMS_AUDIT_HASH_BYTES])
{
	uint8_t front[9] = { (uint8_t)kind }, mac32[32];
	ENSURE_REF(hash16);
	memset(hash16, 0, KMS_AUDIT_NAME_BYTES);
	ENSURE_REF(digest32);
	kms_store64_be(front + 1, app_id);
	const kms_span parts[] = { KMS_SPAN(front), kms_span_of(digest32, KMS_AUDIT_HASH_BYTES) };
	GUARD(kms_hmac_key_mac(mac32, key, parts, KMS_ARRAY_LEN(parts)));
	memcpy(hash16, mac32, KMS_AUDIT_NAME_BYTES);
	return KMS_OK;
}

/* ---- bodies ------------------------------------------------------------------------------------------ */

/* A text that is cut stays UTF-8. */
static kms_text cut(kms_text text)
{
	if (text.len <= TEXT_MAX) return text;
	text.len = TEXT_MAX;
	while (text.len > 0 && ((uint8_t)text.text[text.len] & 0xc0) == 0x80)
		text.len--;
	return text;
}

/* Whether a byte stands in a JSON string as it is. */
static bool is_plain_byte(uint8_t byte)
{
	return byte >= ' ' && byte <= '~' && byte != '"' && byte != '\\';
}

/* Whether a text is a JSON string as it stands, between quotes: nearly all members are. Eight bytes at a
 * time. */
static bool is_plain(kms_text text)
{
	const uint8_t *bytes = (const uint8_t *)text.text;
	size_t i = 0;
	for (; i + 8 <= text.len; i += 8) {
		uint64_t eight = kms_load64_le(bytes + i), x = eight & KMS_LANES(0x7f);
		uint64_t odd = eight | ~kms_lanes_in(x, ' ', '~') | kms_lanes_in(x, '"', '"') |
			       kms_lanes_in(x, '\\', '\\');
		if (odd & KMS_LANES(0x80)) return false;
	}
	while (i < text.len && is_plain_byte(bytes[i]))
		i++;
	return i == text.len;
}

/* In: name - with what stands before and behind it, but for the quote. */
static kms_status append_member(kms_buf *bodies, kms_text name, kms_text value)
{
	if (!value.text) return KMS_OK;
	value = cut(value);
	if (!is_plain(value)) {
		GUARD(kms_buf_append(bodies, kms_text_span(name)));
		return kms_buf_append_json(bodies, value);
	}
	size_t size = name.len + value.len + 2;
	GUARD(kms_buf_reserve(bodies, size));
	char *at = (char *)bodies->data + bodies->len;
	memcpy(at, name.text, name.len);
	at[name.len] = '"';
	memcpy(at + name.len + 1, value.text, value.len);
	at[size - 1] = '"';
	bodies->len += size;
	return KMS_OK;
}

static kms_status append_members(kms_buf *bodies, const kms_audit_event *event)
{
	GUARD(kms_buf_append(bodies, KMS_BYTES("\"time_ms\":")));
	GUARD(kms_buf_append_u64(bodies, event->time_ms));
	GUARD(append_member(bodies, KMS_TEXT(",\"event\":"), event->event));
	GUARD(append_member(bodies, KMS_TEXT(",\"op\":"), event->operation));
	GUARD(append_member(bodies, KMS_TEXT(",\"wallet\":"), event->wallet));
	GUARD(append_member(bodies, KMS_TEXT(",\"app\":"), event->app));
	GUARD(append_member(bodies, KMS_TEXT(",\"name\":"), event->name));
	GUARD(append_member(bodies, KMS_TEXT(",\"context\":"), event->context));
	GUARD(append_member(bodies, KMS_TEXT(",\"code\":"), event->code));
	if (event->status) {
		GUARD(kms_buf_append_text(bodies, ",\"status\":"));
		GUARD(kms_buf_append_u64(bodies, event->status));
	}
	GUARD(append_member(bodies, KMS_TEXT(",\"rule\":"), event->rule));
	GUARD(append_member(bodies, KMS_TEXT(",\"request\":"), event->request));
	if (event->more.len) {
		ENSURE(!memchr(event->more.text, '\n', event->more.len), KMS_ERR_ARGUMENT);
		GUARD(kms_buf_append(bodies, KMS_BYTES(",")));
		GUARD(kms_buf_append(bodies, kms_text_span(event->more)));
	}
	return kms_buf_append(bodies, KMS_BYTES("\n"));
}

kms_status audit_body_append(kms_buf *bodies, const kms_audit_event *event)
{
	size_t before = bodies->len;
	kms_status status = append_members(bodies, event);
	if (status == KMS_OK && bodies->len - before > KMS_AUDIT_LINE_MAX - CHAIN_BYTES)
		status = KMS_ERR_TOO_LARGE;
	if (status != KMS_OK) bodies->len = before;
	return status;
}

/* ---- the chain --------------------------------------------------------------------------------------- */

/* Appends a line of a body without its line feed. In-out: head. */
static kms_status chain_one(kms_buf *lines, audit_head *head, kms_span body)
{
	size_t before = lines->len;
	char digits[KMS_DECIMAL_MAX], hex[AUDIT_HASH_DIGITS];
	kms_text number = kms_decimal_format(digits, head->sequence + 1);
	kms_hex_encode(hex, KMS_SPAN(head->hash32));
	/* One check of the room: the appends below then cannot fail. */
	GUARD(kms_buf_reserve(lines, body.len + CHAIN_BYTES));
	GUARD(kms_buf_append(lines, KMS_BYTES(AUDIT_SEQUENCE)));
	GUARD(kms_buf_append(lines, kms_text_span(number)));
	GUARD(kms_buf_append(lines, KMS_BYTES(AUDIT_PREVIOUS)));
	GUARD(kms_buf_append(lines, KMS_SPAN(hex)));
	GUARD(kms_buf_append(lines, KMS_BYTES("\",")));
	GUARD(kms_buf_append(lines, body));
	GUARD(kms_buf_append(lines, KMS_BYTES("}")));
	GUARD(kms_sha256(head->hash32, kms_span_of(lines->data + before, lines->len - before)));
	head->sequence++;
	return kms_buf_append(lines, KMS_BYTES("\n"));
}

/* The line that begins a run, where it is not chained yet. */
static kms_status chain_start(kms_audit *audit, audit_head *head)
{
	DEFER(kms_buf_free) kms_buf body = kms_buf_make(KMS_BUF_PLAIN, KMS_AUDIT_LINE_MAX);
	DEFER(kms_buf_free) kms_buf more = kms_buf_make(KMS_BUF_PLAIN, KMS_AUDIT_LINE_MAX);
	if (audit->begun) return KMS_OK;
	GUARD(kms_buf_append(&more, kms_buf_span(&audit->start)));
	GUARD(kms_buf_append_text(&more, more.len ? ",\"torn\":" : "\"torn\":"));
	GUARD(kms_buf_append_u64(&more, audit->torn));
	kms_audit_event event = { .time_ms = audit->start_ms,
				  .event = KMS_TEXT("start"),
				  .more = kms_buf_text(&more) };
	GUARD(audit_body_append(&body, &event));
	return chain_one(&audit->chained, head, kms_span_of(body.data, body.len - 1));
}

/* In-out: head, taken. */
static kms_status chain_some(kms_audit *audit, audit_head *head, size_t *taken)
{
	GUARD(chain_start(audit, head));
	while (*taken < audit->batch.len && audit->chained.len < AUDIT_PORTION) {
		const uint8_t *body = audit->batch.data + *taken;
		const uint8_t *end = memchr(body, '\n', audit->batch.len - *taken);
		ENSURE(end, KMS_ERR_STATE);
		size_t len = (size_t)(end - body);
		GUARD(chain_one(&audit->chained, head, kms_span_of(body, len)));
		*taken += len + 1;
	}
	return KMS_OK;
}

kms_status audit_chain(kms_audit *audit)
{
	size_t before = audit->chained.len, taken = audit->taken;
	audit_head head = audit->head;
	kms_status status = chain_some(audit, &head, &taken);
	if (status != KMS_OK) {
		audit->chained.len = before;
		return status;
	}
	audit->head = head;
	audit->begun = true;
	audit->taken = taken;
	if (taken < audit->batch.len) return KMS_OK;
	audit->taken = audit->batch.len = 0;
	return KMS_OK;
}

static kms_status settle_line(kms_audit *audit, kms_span line)
{
	GUARD(kms_sha256(audit->in_file.hash32, line));
	audit->in_file.sequence++;
	audit->state.lines++;
	return KMS_OK;
}

/* All of it, as a rule: then the hashes are known. */
static void settle_all(kms_audit *audit)
{
	audit->state.lines += audit->head.sequence - audit->in_file.sequence;
	audit->in_file = audit->head;
	audit->chained.len = 0;
	audit->written = 0;
}

kms_status audit_settle(kms_audit *audit)
{
	size_t whole = 0;
	if (audit->written == audit->chained.len) {
		settle_all(audit);
		return KMS_OK;
	}
	kms_span rest = kms_span_of(audit->chained.data, audit->written);
	for (const uint8_t *end; rest.len > 0 && (end = memchr(rest.bytes, '\n', rest.len));) {
		size_t len = (size_t)(end - rest.bytes);
		GUARD(settle_line(audit, kms_span_of(rest.bytes, len)));
		rest.bytes = end + 1;
		rest.len -= len + 1;
		whole += len + 1;
	}
	/* What is left begins with the line that is torn, if one is. */
	if (whole) memmove(audit->chained.data, audit->chained.data + whole, audit->chained.len - whole);
	audit->chained.len -= whole;
	audit->written -= whole;
	return KMS_OK;
}
