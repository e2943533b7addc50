/* JSON: canonical JSON of a document parses to the same canonical JSON; every text is UTF-8 inside the
 * document. */
#include "kms/codec.h"
#include "kms/json.h"
#include "lib/fuzz.h"

const unsigned fuzz_kinds = 1;

#define MAX_VALUES 512

static void check_values(const kms_json *json, kms_span document)
{
	for (size_t i = 0; i < json->count; i++) {
		const kms_json_value *value = &json->values[i];
		HOLDS(value->next > i && value->next <= json->count);
		if (value->type != KMS_JSON_STRING) continue;
		HOLDS(fuzz_within(kms_text_span(kms_json_text(value)), document));
		HOLDS(kms_utf8_valid(kms_json_text(value)));
	}
}

/* Parses the document and writes it again. Returns: whether both succeeded. */
static bool rewrite(kms_buf *canonical, kms_span document)
{
	kms_json json;
	kms_buf copy = fuzz_copy(KMS_BUF_PLAIN, document);
	kms_status status = kms_json_parse(&json, copy.data ? (char *)copy.data : "", copy.len, MAX_VALUES);
	if (status == KMS_OK) {
		check_values(&json, kms_buf_span(&copy));
		status = kms_json_canonical(canonical, &json, json.values);
		HOLDS(status == KMS_OK || status == KMS_ERR_JSON);
	} else {
		HOLDS(json.values == NULL && json.count == 0);
	}
	kms_json_free(&json);
	kms_buf_free(&copy);
	return status == KMS_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	kms_buf first = kms_buf_make(KMS_BUF_PLAIN, SIZE_MAX);
	kms_buf second = kms_buf_make(KMS_BUF_PLAIN, SIZE_MAX);
	if (rewrite(&first, kms_span_of(data, size))) {
		fuzz_accept(0);
		HOLDS(rewrite(&second, kms_buf_span(&first)));
		HOLDS(first.len == second.len && memcmp(first.data, second.data, first.len) == 0);
	}
	kms_buf_free(&first);
	kms_buf_free(&second);
	return 0;
}

void fuzz_seeds(void)
{
	FUZZ_SEED("");
	FUZZ_SEED("null");
	FUZZ_SEED("[true,false,null,0,-1,18446744073709551615,1.5e-3]");
	FUZZ_SEED(" {\"b\" : [ ] , \"a\" : {\"x\":\"\"} } ");
	FUZZ_SEED("{\"a\":1,\"\\u0061\":2}");
	FUZZ_SEED("\"\\ud83d\\udd11\\u0000\\b\\t\\n\\f\\r\\/\\\\\\\"\xc3\xa9\"");
	FUZZ_SEED("\"\\ud83d\"");
	FUZZ_SEED("[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]");
	FUZZ_SEED("[1,]");
	FUZZ_SEED("-0");
}
