/* Inner requests of the application routes: views lie in the request's own memory, bounds hold, and it
 * executes. */
#include "kms/request.h"
#include "lib/fuzz.h"
#include "store_kit.h"

const unsigned fuzz_kinds = KMS_REQUEST_LIST;

#define MAX_VALUE 256
#define MAX_KEY 64

static const kms_request_limits limits = { .max_value = MAX_VALUE, .max_key = MAX_KEY };

static void execute(const kms_request *request)
{
	static kms_secret *master;
	static kms_store *store;
	if (!store) {
		HOLDS_OK(kms_secret_random(&master, 32));
		store = quota_store(1 << 16, 1 << 16, 100);
	}
	kms_buf result = kms_buf_make(KMS_BUF_GUARDED, 1 << 20);
	kms_execution execution = { .app_id = APP,
				    .master = master,
				    .store = store,
				    .now_ms = NOW,
				    .max_list_bytes = 1 << 16,
				    .pop = request->pop };
	kms_status status = kms_request_execute(&result, request, &execution);
	HOLDS((status == KMS_OK) == (result.len > 0));
	HOLDS(kms_status_category(status) != KMS_CATEGORY_USAGE);
	HOLDS(kms_status_category(status) != KMS_CATEGORY_SYSTEM);
	kms_buf_free(&result);
}

static void check(const kms_request *request)
{
	kms_span plain = kms_buf_span(&request->plain);
	HOLDS(fuzz_within(kms_text_span(request->path), plain));
	HOLDS(fuzz_within(kms_text_span(request->context), plain));
	HOLDS(fuzz_within(kms_text_span(request->key), plain));
	HOLDS(fuzz_within(request->value, plain));
	HOLDS(fuzz_within(kms_text_span(request->pop), plain));
	HOLDS(request->value.len <= MAX_VALUE);
	if (request->kind == KMS_REQUEST_PUT) HOLDS(request->key.len >= 1 && request->key.len <= MAX_KEY);
	execute(request);
}

/* The first byte is the kind of the request; the last kind, LIST, has nothing to parse. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	kms_request request;
	const char *field;
	kms_status status;
	fuzz_start();
	if (size < 2 || size > FUZZ_MAX_INPUT) return 0;
	kms_request_kind kind = data[0] % KMS_REQUEST_LIST;
	if (kind == KMS_REQUEST_GET) {
		status = kms_request_for_key(&request, kms_text_of((const char *)data + 1, size - 1));
	} else {
		kms_buf plain = fuzz_copy(KMS_BUF_GUARDED, kms_span_of(data + 1, size - 1));
		status = kms_request_parse(&request, &field, &plain, kind, &limits);
		HOLDS(!plain.data && (status != KMS_OK || !field));
	}
	if (status == KMS_OK) fuzz_accept(kind);
	if (status == KMS_OK) check(&request);
	kms_request_clear(&request);
	return 0;
}

void fuzz_seeds(void)
{
	fuzz_seed_choice(KMS_REQUEST_DERIVE,
			 KMS_BYTES("{\"path\":\"a/b\",\"context\":\"c\",\"length\":64,\"pop\":\"0x11\"}"));
	fuzz_seed_choice(KMS_REQUEST_DERIVE, KMS_BYTES("{\"path\":\"\",\"length\":0,\"app_id\":1}"));
	fuzz_seed_choice(KMS_REQUEST_PUT, KMS_BYTES("{\"key\":\"k\",\"value\":\"Zm9v\",\"ttl_ms\":1000}"));
	fuzz_seed_choice(KMS_REQUEST_PUT,
			 KMS_BYTES("{\"key\":\"\\u006b\",\"value\":\"\\u005a\\/8=\",\"x\":{}}"));
	fuzz_seed_choice(KMS_REQUEST_DELETE, KMS_BYTES("{\"key\":\"k\",\"pop\":\"0x11\"}"));
	fuzz_seed_choice(KMS_REQUEST_GET, KMS_BYTES("k"));
	fuzz_seed_choice(KMS_REQUEST_GET, KMS_BYTES("caf\xc3\xa9"));
}
