#include "sync/sync_write.h"

#include "base/bits.h"
#include "base/ensure.h"
#include "kms/codec.h"
#include "kms/json.h"

#define TEXT_SIZE(text) (sizeof(text) - 1)
#define FINGERPRINT_SIZE (TEXT_SIZE("\"fingerprint\":\"\",") + 2 * KMS_SYNC_FINGERPRINT_BYTES)
#define WALLET_TEXT (KMS_ADDRESS_TEXT + 2) /* with quotes */

static size_t count_digits(uint64_t number)
{
	size_t digits = 1;
	while (number >= 10) {
		number /= 10;
		digits++;
	}
	return digits;
}

static size_t value_size(const kms_record *record, unsigned extras)
{
	size_t len = record->value.len;
	if (record->state != KMS_RECORD_LIVE) return TEXT_SIZE("null");
	return TEXT_SIZE("\"\"") + (extras & KMS_SYNC_BASE64 ? (len + 2) / 3 * 4 : 2 * len);
}

static const char *flag_text(const kms_record *record)
{
	return record->state == KMS_RECORD_TOMBSTONE ? "true" : "false";
}

static size_t clock_size(const kms_record *record)
{
	size_t size = TEXT_SIZE("{}");
	for (size_t i = 0; i < record->clock.len; i++)
		size += (i > 0) + WALLET_TEXT + 1 + count_digits(record->clock.entries[i].counter);
	return size;
}

static bool has_fingerprint(const kms_record *record)
{
	return record->state != KMS_RECORD_LIVE && record->fingerprint.len > 0;
}

size_t kms_sync_record_size(const kms_record *record, unsigned extras)
{
	size_t key = kms_json_text_size(record->key), size;
	size_t rest = TEXT_SIZE("{\"key\":,\"tombstone\":,\"ttl_ms\":,\"updated_at_ms\":,\"value\":,"
				"\"version\":}") +
		      TEXT_SIZE("true") + (record->state != KMS_RECORD_TOMBSTONE) +
		      count_digits(record->ttl_ms) + count_digits(record->updated_at_ms) +
		      value_size(record, extras) + clock_size(record) +
		      (extras & KMS_SYNC_FINGERPRINTS && has_fingerprint(record) ? FINGERPRINT_SIZE : 0);
	return KMS_ADD(&size, key, rest) ? size : SIZE_MAX;
}

static kms_status write_number(kms_buf *out, const char *name, uint64_t number)
{
	GUARD(kms_buf_append_text(out, name));
	return kms_buf_append_u64(out, number);
}

static kms_status write_value(kms_buf *out, const kms_record *record, unsigned extras)
{
	if (record->state != KMS_RECORD_LIVE) return kms_buf_append_text(out, ",\"value\":null");
	GUARD(kms_buf_append_text(out, ",\"value\":\""));
	if (extras & KMS_SYNC_BASE64)
		GUARD(kms_buf_append_base64(out, record->value));
	else
		GUARD(kms_buf_append_hex(out, record->value));
	return kms_buf_append_text(out, "\"");
}

/* The store sorts clocks by wallet, which is also the canonical order of the wallets' text. */
static kms_status write_clock(kms_buf *out, const kms_record *record)
{
	char name[WALLET_TEXT];
	name[0] = name[WALLET_TEXT - 1] = '"';
	GUARD(kms_buf_append_text(out, ",\"version\":{"));
	for (size_t i = 0; i < record->clock.len; i++) {
		kms_address_format(name + 1, record->clock.entries[i].wallet20);
		if (i) GUARD(kms_buf_append_text(out, ","));
		GUARD(kms_buf_append(out, KMS_SPAN(name)));
		GUARD(write_number(out, ":", record->clock.entries[i].counter));
	}
	return kms_buf_append_text(out, "}");
}

static kms_status write_fingerprint(kms_buf *out, const kms_fingerprint *fingerprint)
{
	uint8_t len4[4];
	kms_store32_be(len4, fingerprint->len);
	GUARD(kms_buf_append_text(out, "\"fingerprint\":\""));
	GUARD(kms_buf_append_hex(out, KMS_SPAN(fingerprint->iv12)));
	GUARD(kms_buf_append_hex(out, KMS_SPAN(fingerprint->tag16)));
	GUARD(kms_buf_append_hex(out, KMS_SPAN(len4)));
	return kms_buf_append_text(out, "\",");
}

static kms_status write_record(kms_buf *out, const kms_record *record, unsigned extras)
{
	GUARD(kms_buf_append_text(out, "{"));
	if (extras & KMS_SYNC_FINGERPRINTS && has_fingerprint(record))
		GUARD(write_fingerprint(out, &record->fingerprint));
	GUARD(kms_buf_append_text(out, "\"key\":"));
	GUARD(kms_buf_append_json(out, record->key));
	GUARD(kms_buf_append_text(out, ",\"tombstone\":"));
	GUARD(kms_buf_append_text(out, flag_text(record)));
	GUARD(write_number(out, ",\"ttl_ms\":", record->ttl_ms));
	GUARD(write_number(out, ",\"updated_at_ms\":", record->updated_at_ms));
	GUARD(write_value(out, record, extras));
	GUARD(write_clock(out, record));
	return kms_buf_append_text(out, "}");
}

/* ---- the object ---- */

kms_status kms_sync_write_start(sync_writer *writer, kms_buf *out, unsigned extras)
{
	*writer = (sync_writer){ .out = out, .extras = extras };
	return kms_buf_append_text(out, "{");
}

static kms_status close_app(sync_writer *writer)
{
	if (!writer->app_open) return KMS_OK;
	writer->app_open = false;
	return kms_buf_append_text(writer->out, "]");
}

static kms_status open_app(sync_writer *writer, uint64_t app_id)
{
	GUARD(close_app(writer));
	GUARD(kms_buf_append_text(writer->out, writer->apps ? ",\"" : "\""));
	GUARD(kms_buf_append_u64(writer->out, app_id));
	GUARD(kms_buf_append_text(writer->out, "\":["));
	writer->app_id = app_id;
	writer->app_open = true;
	writer->apps++;
	return KMS_OK;
}

kms_status kms_sync_write_record(sync_writer *writer, uint64_t app_id, const kms_record *record)
{
	if (writer->app_open && writer->app_id == app_id)
		GUARD(kms_buf_append_text(writer->out, ","));
	else
		GUARD(open_app(writer, app_id));
	GUARD(write_record(writer->out, record, writer->extras));
	writer->records++;
	return KMS_OK;
}

kms_status kms_sync_write_end(sync_writer *writer)
{
	GUARD(close_app(writer));
	return kms_buf_append_text(writer->out, "}");
}

/* ---- order ---- */

int kms_sync_compare_ids(const void *a, const void *b)
{
	char x[KMS_DECIMAL_MAX], y[KMS_DECIMAL_MAX];
	return kms_text_compare(kms_decimal_format(x, *(const uint64_t *)a),
				kms_decimal_format(y, *(const uint64_t *)b));
}

size_t kms_sync_app_size(uint64_t app_id)
{
	return count_digits(app_id) + TEXT_SIZE(",\"\":[]");
}
