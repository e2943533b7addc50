#include "kms/request.h"

#include <string.h>

#include "base/ensure.h"
#include "kms/codec.h"
#include "kms/json.h"
#include "kms/kdf.h"

#define DEFAULT_LENGTH 32
/* Values and keys of a request's JSON. Unless it is strict, unknown members are ignored, up to this many. */
#define MAX_VALUES 1024

/* The state that the parsers of single fields share. */
typedef struct fields {
	kms_request *request;
	const kms_json *json;
	const kms_json_value *root; /* the request's object */
	const kms_request_limits *limits;
	const char *current; /* the member being parsed: after a failure, the one at fault */
} fields;

/* A member, or NULL when it is absent or null (as on existing nodes). */
static const kms_json_value *optional_field(fields *f, const char *name)
{
	f->current = name;
	const kms_json_value *value = kms_json_get(f->json, f->root, name);
	return value && value->type != KMS_JSON_NULL ? value : NULL;
}

/* A member that may be absent, but not null (as on existing nodes: "length" and "context"). */
static kms_status field_not_null(const kms_json_value **value, fields *f, const char *name)
{
	f->current = name;
	*value = kms_json_get(f->json, f->root, name);
	ENSURE(!*value || (*value)->type != KMS_JSON_NULL, KMS_ERR_FIELD_TYPE);
	return KMS_OK;
}

static kms_status optional_string(kms_text *text, fields *f, const char *name)
{
	*text = (kms_text){ NULL, 0 };
	const kms_json_value *value = optional_field(f, name);
	if (!value) return KMS_OK;
	ENSURE(value->type == KMS_JSON_STRING, KMS_ERR_FIELD_TYPE);
	*text = (kms_text){ value->text, value->len };
	return KMS_OK;
}

static kms_status required_string(kms_text *text, fields *f, const char *name)
{
	GUARD(optional_string(text, f, name));
	ENSURE(text->text, KMS_ERR_FIELD_MISSING);
	return KMS_OK;
}

/* An absent or false flag is false. */
static kms_status optional_flag(bool *flag, fields *f, const char *name)
{
	*flag = false;
	const kms_json_value *value = optional_field(f, name);
	if (!value) return KMS_OK;
	ENSURE(value->type == KMS_JSON_TRUE || value->type == KMS_JSON_FALSE, KMS_ERR_FIELD_TYPE);
	*flag = value->type == KMS_JSON_TRUE;
	return KMS_OK;
}

/* A member that the operation does not have must be absent; null is not. */
static kms_status absent_field(fields *f, const char *name)
{
	f->current = name;
	return kms_json_get(f->json, f->root, name) ? KMS_ERR_FIELD_UNKNOWN : KMS_OK;
}

static bool is_blank(kms_text text)
{
	for (size_t i = 0; i < text.len; i++) {
		char c = text.text[i];
		if (c != ' ' && (c < '\t' || c > '\r')) return false;
	}
	return true;
}

/* ---- single fields ---- */

static kms_status parse_length(fields *f)
{
	f->request->length = DEFAULT_LENGTH;
	const kms_json_value *value;
	GUARD(field_not_null(&value, f, "length"));
	if (!value) return KMS_OK;
	uint64_t length = value->number;
	bool is_text = value->type == KMS_JSON_STRING;
	ENSURE(is_text || value->type == KMS_JSON_INTEGER, KMS_ERR_FIELD_TYPE);
	if (is_text) {
		kms_status status = kms_decimal_parse(&length, kms_json_text(value));
		ENSURE(status == KMS_OK, KMS_ERR_FIELD_VALUE);
	}
	ENSURE(is_text || !value->negative, KMS_ERR_FIELD_VALUE);
	ENSURE(length >= 1 && length <= KMS_DERIVE_MAX, KMS_ERR_FIELD_VALUE);
	f->request->length = (uint32_t)length;
	return KMS_OK;
}

/* Members' records may have longer keys than may be written here: those can be read and deleted. */
static kms_status parse_key(fields *f)
{
	kms_text *key = &f->request->key;
	size_t most = f->request->kind == KMS_REQUEST_PUT ? f->limits->max_key : KMS_STORE_MAX_PEER_KEY;
	GUARD(required_string(key, f, "key"));
	ENSURE(key->len >= 1 && key->len <= most, KMS_ERR_KEY_SIZE);
	ENSURE(!memchr(key->text, '\0', key->len), KMS_ERR_FIELD_VALUE);
	return KMS_OK;
}

/* Decodes in place: a stored value is never copied out of its guarded buffer. */
static kms_status parse_put_value(fields *f)
{
	kms_text text;
	size_t len;
	GUARD(required_string(&text, f, "value"));
	uint8_t *bytes = (uint8_t *)kms_json_get(f->json, f->root, "value")->text;
	GUARD(kms_base64_decode(bytes, &len, text));
	f->request->value = kms_span_of(bytes, len);
	ENSURE(len <= f->limits->max_value, KMS_ERR_VALUE_SIZE);
	return KMS_OK;
}

static kms_status parse_ttl(fields *f)
{
	const kms_json_value *value = optional_field(f, "ttl_ms");
	if (!value) return KMS_OK;
	ENSURE(value->type == KMS_JSON_INTEGER, KMS_ERR_FIELD_TYPE);
	ENSURE(!value->negative && value->number <= KMS_STORE_MAX_TTL_MS, KMS_ERR_TTL);
	f->request->ttl_ms = value->number;
	return KMS_OK;
}

/* ---- kinds ---- */

static kms_status parse_derive(fields *f)
{
	kms_request *request = f->request;
	GUARD(required_string(&request->path, f, "path"));
	ENSURE(!is_blank(request->path), KMS_ERR_FIELD_VALUE);
	const kms_json_value *context;
	GUARD(field_not_null(&context, f, "context"));
	GUARD(optional_string(&request->context, f, "context"));
	return parse_length(f);
}

static kms_status parse_put(fields *f)
{
	GUARD(parse_key(f));
	GUARD(parse_put_value(f));
	return parse_ttl(f);
}

static kms_status parse_page_limit(fields *f)
{
	const kms_json_value *value = optional_field(f, "limit");
	if (!value) return KMS_OK;
	ENSURE(value->type == KMS_JSON_INTEGER, KMS_ERR_FIELD_TYPE);
	ENSURE(!value->negative && value->number >= 1 && value->number <= KMS_LIST_MAX, KMS_ERR_FIELD_VALUE);
	f->request->limit = (size_t)value->number;
	return KMS_OK;
}

/* Without any of its members: all keys. */
static kms_status parse_list(fields *f)
{
	kms_request *request = f->request;
	GUARD(optional_string(&request->prefix, f, "prefix"));
	ENSURE(request->prefix.len <= KMS_STORE_MAX_PEER_KEY, KMS_ERR_KEY_SIZE);
	GUARD(optional_string(&request->after, f, "after"));
	ENSURE(request->after.len <= KMS_STORE_MAX_PEER_KEY, KMS_ERR_KEY_SIZE);
	if (request->prefix.text || request->after.text) request->limit = KMS_LIST_DEFAULT;
	return parse_page_limit(f);
}

/*
 * The signed headers do not cover the method. A body that was sealed for one operation and is sent as
 * another one (a PUT as a DELETE) names its own operation, and does not fit a DELETE.
 */
static kms_status parse_delete(fields *f)
{
	GUARD(absent_field(f, "value"));
	GUARD(absent_field(f, "ttl_ms"));
	return parse_key(f);
}

/* Every member that the requests of a kind may have, with a NULL at the end. */
static const char *const *members_of(kms_request_kind kind)
{
	static const char *const derive[] = { "context", "features", "length", "op",
					      "path",    "pop",      "strict", NULL };
	static const char *const put[] = {
		"features", "key", "op", "pop", "strict", "ttl_ms", "value", NULL
	};
	static const char *const key[] = { "features", "key", "op", "pop", "strict", NULL };
	static const char *const list[] = { "after", "limit", "op", "pop", "prefix", "strict", NULL };
	if (kind == KMS_REQUEST_DERIVE) return derive;
	if (kind == KMS_REQUEST_LIST) return list;
	return kind == KMS_REQUEST_PUT ? put : key;
}

static bool text_is(kms_text text, const char *want)
{
	return text.len == strlen(want) && kms_equal_ct(text.text, want, text.len);
}

/* Whether the request names the feature "session"; other features, and other types, are ignored. */
static bool asks_sessions(fields *f)
{
	const kms_json_value *list = optional_field(f, "features");
	if (!list || list->type != KMS_JSON_ARRAY) return false;
	const kms_json_value *name = list->count ? kms_json_first(f->json, list) : NULL;
	for (uint32_t i = 0; i < list->count; i++, name = kms_json_next(f->json, name))
		if (name->type == KMS_JSON_STRING && text_is(kms_json_text(name), "session")) return true;
	return false;
}

static bool is_member(kms_request_kind kind, kms_text name)
{
	for (const char *const *known = members_of(kind); *known; known++)
		if (text_is(name, *known)) return true;
	return false;
}

/* Unless the client says `strict`, unknown members are ignored, as on existing nodes. */
static kms_status check_strict(fields *f)
{
	bool strict;
	GUARD(optional_flag(&strict, f, "strict"));
	if (!strict && !f->limits->strict) return KMS_OK;
	f->current = NULL; /* the name at fault lies in guarded memory that ends with the request */
	const kms_json_value *root = f->root;
	const kms_json_value *name = root->count ? kms_json_first(f->json, root) : NULL;
	/* The value after the last member, if there is one, is not this object's: a message may hold several.
	 */
	for (uint32_t i = 0; i < root->count; i++) {
		ENSURE(is_member(f->request->kind, kms_json_text(name)), KMS_ERR_FIELD_UNKNOWN);
		name = kms_json_next(f->json, kms_json_next(f->json, name));
	}
	return KMS_OK;
}

/* A request may name its operation. */
static kms_status check_operation(fields *f)
{
	f->current = "op";
	const kms_json_value *value = kms_json_get(f->json, f->root, "op");
	if (!value) return KMS_OK;
	ENSURE(value->type == KMS_JSON_STRING, KMS_ERR_FIELD_TYPE);
	const char *own = kms_request_operation(f->request->kind);
	f->request->names_operation = true;
	return own && text_is(kms_json_text(value), own) ? KMS_OK : KMS_ERR_OPERATION;
}

static kms_status parse_fields(fields *f)
{
	ENSURE(f->root->type == KMS_JSON_OBJECT, KMS_ERR_JSON);
	f->current = "app_id";
	/* Results have it and requests never do, so that a result sent back is not taken for a request. */
	ENSURE(!kms_json_get(f->json, f->root, "app_id"), KMS_ERR_APP_ID_IN_REQUEST);
	GUARD(check_operation(f));
	GUARD(check_strict(f));
	GUARD(optional_string(&f->request->pop, f, "pop"));
	f->request->asks_sessions = asks_sessions(f);
	switch (f->request->kind) {
	case KMS_REQUEST_DERIVE:
		return parse_derive(f);
	case KMS_REQUEST_PUT:
		return parse_put(f);
	case KMS_REQUEST_DELETE:
		return parse_delete(f);
	case KMS_REQUEST_GET:
		return parse_key(f);
	case KMS_REQUEST_LIST:
		return parse_list(f);
	default:
		return KMS_ERR_ARGUMENT;
	}
}

/* Parses request->plain; sets `field` when a member is at fault. */
static kms_status parse_plain(kms_request *request, const char **field, const kms_request_limits *limits)
{
	DEFER(kms_json_free) kms_json json = { 0 };
	GUARD(kms_json_parse(&json, (char *)request->plain.data, request->plain.len, MAX_VALUES));
	fields f = { request, &json, json.values, limits, NULL };
	kms_status status = parse_fields(&f);
	if (status != KMS_OK) *field = f.current;
	return status;
}

const char *kms_request_operation(kms_request_kind kind)
{
	static const char *const names[] = { "derive", "put", "delete", "get", "list" };
	return (size_t)kind < sizeof(names) / sizeof(names[0]) ? names[kind] : NULL;
}

kms_status kms_request_parse(kms_request *request, const char **field, kms_buf *plain, kms_request_kind kind,
			     const kms_request_limits *limits)
{
	ENSURE_REF(request);
	*request = (kms_request){ 0 };
	ENSURE_REF(field);
	*field = NULL;
	ENSURE_REF(plain);
	request->kind = kind;
	request->plain = *plain;
	*plain = kms_buf_make(plain->kind, plain->max);
	kms_status status = KMS_ERR_ARGUMENT;
	bool has_body = kind == KMS_REQUEST_DERIVE || kind == KMS_REQUEST_PUT || kind == KMS_REQUEST_DELETE;
	if (limits && has_body && request->plain.kind == KMS_BUF_GUARDED)
		status = parse_plain(request, field, limits);
	if (status != KMS_OK) kms_request_clear(request);
	return status;
}

/* ---- operations of a session ---- */

static kms_status parse_kind(fields *f)
{
	kms_text name;
	GUARD(required_string(&name, f, "op"));
	for (kms_request_kind kind = KMS_REQUEST_DERIVE; kms_request_operation(kind); kind++) {
		if (!text_is(name, kms_request_operation(kind))) continue;
		f->request->kind = kind;
		return KMS_OK;
	}
	return KMS_ERR_FIELD_VALUE;
}

kms_status kms_request_read(kms_request *request, const char **field, const kms_json *json,
			    const kms_json_value *object, const kms_request_limits *limits)
{
	ENSURE_REF(request);
	*request = (kms_request){ 0 };
	ENSURE_REF(field);
	*field = NULL;
	ENSURE_REF(json);
	ENSURE_REF(object);
	ENSURE_REF(limits);
	ENSURE(object->type == KMS_JSON_OBJECT, KMS_ERR_JSON);
	fields f = { request, json, object, limits, NULL };
	kms_status status = parse_kind(&f);
	if (status == KMS_OK) status = parse_fields(&f);
	if (status == KMS_OK) return KMS_OK;
	*request = (kms_request){ 0 };
	*field = f.current;
	return status;
}
