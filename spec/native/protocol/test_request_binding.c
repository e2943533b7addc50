/* What binds a sealed body to its operation (docs/protocol.md section 6): `op`, `strict`, the members and the
 * key of a DELETE. */
#include "material.h"

#include "kms/request.h"
#include "kms/store.h"

static kms_status parse(kms_request_kind kind, const char *text, const char *want_field)
{
	static const kms_request_limits limits = { .max_value = 64, .max_key = 16 };
	kms_request request;
	const char *field;
	kms_buf plain = kms_buf_make(KMS_BUF_GUARDED, strlen(text));
	MUST(kms_buf_append_text(&plain, text));
	kms_status status = kms_request_parse(&request, &field, &plain, kind, &limits);
	kms_request_clear(&request);
	bool same = want_field ? field && strcmp(field, want_field) == 0 : !field;
	if (!same) fprintf(stderr, "%s: field %s\n", text, field ? field : "none");
	return same ? status : KMS_ERR_SELFTEST;
}

/* The method is not signed: a captured PUT, sent as a DELETE, must not delete. */
TEST(a_request_names_its_operation)
{
	static const char put[] = "{\"op\":\"put\",\"key\":\"k\",\"value\":\"\"}";
	CHECK_OK(parse(KMS_REQUEST_PUT, put, NULL));
	CHECK_STATUS(KMS_ERR_OPERATION, parse(KMS_REQUEST_DELETE, put, "op"));
	CHECK_STATUS(KMS_ERR_OPERATION, parse(KMS_REQUEST_DERIVE, put, "op"));
	CHECK_OK(parse(KMS_REQUEST_DERIVE, "{\"op\":\"derive\",\"path\":\"p\"}", NULL));
	CHECK_OK(parse(KMS_REQUEST_DELETE, "{\"op\":\"delete\",\"key\":\"k\"}", NULL));
	CHECK_STATUS(KMS_ERR_OPERATION,
		     parse(KMS_REQUEST_PUT, "{\"op\":\"delete\",\"key\":\"k\",\"value\":\"\"}", "op"));
	CHECK_STATUS(KMS_ERR_OPERATION, parse(KMS_REQUEST_DELETE, "{\"op\":\"get\",\"key\":\"k\"}", "op"));
	CHECK_STATUS(KMS_ERR_OPERATION, parse(KMS_REQUEST_DELETE, "{\"op\":\"Delete\",\"key\":\"k\"}", "op"));
	CHECK_STATUS(KMS_ERR_OPERATION, parse(KMS_REQUEST_DELETE, "{\"op\":\"\",\"key\":\"k\"}", "op"));
	CHECK_STATUS(KMS_ERR_FIELD_TYPE, parse(KMS_REQUEST_DELETE, "{\"op\":null,\"key\":\"k\"}", "op"));
	CHECK_STATUS(KMS_ERR_FIELD_TYPE, parse(KMS_REQUEST_DELETE, "{\"op\":[],\"key\":\"k\"}", "op"));
	CHECK_OK(parse(KMS_REQUEST_DELETE, "{\"key\":\"k\"}", NULL)); /* existing clients do not name it */
}

TEST(a_delete_names_keys_that_only_members_write)
{
	static char text[KMS_STORE_MAX_PEER_KEY + 64];
	const char *before = "{\"key\":\"";
	for (size_t extra = 0; extra <= 1; extra++) {
		size_t len = KMS_STORE_MAX_PEER_KEY + extra, at = strlen(before);
		memcpy(text, before, at);
		memset(text + at, 'k', len);
		strcpy(text + at + len, "\"}");
		CHECK_STATUS(extra ? KMS_ERR_KEY_SIZE : KMS_OK,
			     parse(KMS_REQUEST_DELETE, text, extra ? "key" : NULL));
	}
}

TEST(a_delete_has_neither_value_nor_ttl)
{
	CHECK_STATUS(KMS_ERR_FIELD_UNKNOWN,
		     parse(KMS_REQUEST_DELETE, "{\"key\":\"k\",\"value\":\"\"}", "value"));
	CHECK_STATUS(KMS_ERR_FIELD_UNKNOWN,
		     parse(KMS_REQUEST_DELETE, "{\"key\":\"k\",\"value\":null}", "value"));
	CHECK_STATUS(KMS_ERR_FIELD_UNKNOWN,
		     parse(KMS_REQUEST_DELETE, "{\"key\":\"k\",\"ttl_ms\":0}", "ttl_ms"));
	CHECK_OK(parse(KMS_REQUEST_DELETE, "{\"key\":\"k\",\"path\":\"p\"}", NULL));
}

TEST(a_strict_request_has_no_unknown_member)
{
	CHECK_OK(parse(KMS_REQUEST_DERIVE, "{\"path\":\"p\",\"lenght\":64}", NULL));
	CHECK_OK(parse(KMS_REQUEST_DERIVE, "{\"path\":\"p\",\"lenght\":64,\"strict\":false}", NULL));
	CHECK_STATUS(KMS_ERR_FIELD_UNKNOWN,
		     parse(KMS_REQUEST_DERIVE, "{\"path\":\"p\",\"lenght\":64,\"strict\":true}", NULL));
	CHECK_STATUS(KMS_ERR_FIELD_UNKNOWN,
		     parse(KMS_REQUEST_DERIVE, "{\"strict\":true,\"path\":\"p\",\"\":{\"a\":[1]}}", NULL));
	CHECK_STATUS(KMS_ERR_FIELD_UNKNOWN,
		     parse(KMS_REQUEST_DERIVE, "{\"strict\":true,\"path\":\"p\",\"path2\":\"\"}", NULL));
	CHECK_STATUS(KMS_ERR_FIELD_UNKNOWN,
		     parse(KMS_REQUEST_DERIVE, "{\"strict\":true,\"path\":\"p\",\"key\":\"k\"}", NULL));
	CHECK_STATUS(KMS_ERR_FIELD_UNKNOWN,
		     parse(KMS_REQUEST_DELETE, "{\"strict\":true,\"key\":\"k\",\"path\":\"p\"}", NULL));
	CHECK_STATUS(KMS_ERR_FIELD_TYPE,
		     parse(KMS_REQUEST_DERIVE, "{\"path\":\"p\",\"strict\":1}", "strict"));
	CHECK_OK(parse(KMS_REQUEST_DERIVE,
		       "{\"context\":\"c\",\"length\":1,\"op\":\"derive\",\"path\":\"p\",\"pop\":\"0x\","
		       "\"strict\":true}",
		       NULL));
	CHECK_OK(
	    parse(KMS_REQUEST_PUT,
		  "{\"key\":\"k\",\"op\":\"put\",\"pop\":\"0x\",\"strict\":true,\"ttl_ms\":1,\"value\":\"\"}",
		  NULL));
	CHECK_OK(parse(KMS_REQUEST_DELETE, "{\"key\":\"k\",\"op\":\"delete\",\"pop\":\"0x\",\"strict\":true}",
		       NULL));
}

TEST(operations_have_names)
{
	CHECK(strcmp(kms_request_operation(KMS_REQUEST_LIST), "list") == 0);
	CHECK(!kms_request_operation((kms_request_kind)5));
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(a_request_names_its_operation),
	  T(a_delete_names_keys_that_only_members_write), T(a_delete_has_neither_value_nor_ttl),
	  T(a_strict_request_has_no_unknown_member), T(operations_have_names))
