/*
 * What a node may answer in a session, as the application reads it: an answer of another shape is none, and
 * each operation gets a result that fits it, a refusal, or a failure that leaves nothing.
 */
#include "client_session_kit.h"
#include "lib/fuzz.h"

const unsigned fuzz_kinds = KMS_REQUEST_LIST + 1;

#define SEVERAL 0x80 /* of the first byte: two operations of the kind; else one */

static pair session;

static void check_result(const kms_client_answer *answer, size_t index, kms_request_kind kind)
{
	kms_exchange exchange;
	static const kms_exchange empty;
	kms_status status = kms_client_answer_result(&exchange, answer, session.message, index);
	HOLDS(kms_status_category(status) != KMS_CATEGORY_USAGE);
	if (status != KMS_OK) {
		HOLDS(memcmp(&exchange, &empty, sizeof(empty)) == 0);
		return;
	}
	fuzz_accept(kind);
	HOLDS(exchange.json.count > 0 && exchange.json.values[0].type == KMS_JSON_OBJECT);
	bool refused = exchange.refusal.status != 0;
	HOLDS(!refused || (exchange.refusal.code.text && !exchange.secret.data));
	if (kind == KMS_REQUEST_DERIVE && !refused) HOLDS(exchange.secret.len == exchange.length);
	kms_exchange_clear(&exchange);
}

static void start(void)
{
	kms_session_grant grant;
	if (world.client) return;
	HOLDS_OK(make_world());
	HOLDS_OK(pair_open(&session, &grant, NULL));
}

/* The first byte: the kind of the operations, and SEVERAL. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t seq;
	kms_client_answer answer;
	fuzz_start();
	start();
	if (size < 2 || size > FUZZ_MAX_INPUT) return 0;
	kms_request_kind kind = (kms_request_kind)((data[0] & 0x7f) % (KMS_REQUEST_LIST + 1));
	const kms_request asked = { .kind = kind, .path = KMS_TEXT("p"), .key = KMS_TEXT("k"), .length = 4 };
	const kms_request both[] = { asked, asked };
	size_t count = data[0] & SEVERAL ? 2 : 1;
	kms_buf sealed = kms_buf_make(KMS_BUF_GUARDED, 1 << 22);
	HOLDS_OK(pair_ask(&session, both, count));
	HOLDS_OK(pair_exchange(&session, &seq, &sealed, NULL, kms_text_of((const char *)data + 1, size - 1)));
	kms_status status =
	    kms_client_answer_open(&answer, session.message, session.session, seq, kms_buf_span(&sealed));
	HOLDS(kms_status_category(status) != KMS_CATEGORY_USAGE);
	HOLDS(status == KMS_OK || (!answer.plain.data && answer.json.count == 0));
	for (size_t i = 0; status == KMS_OK && i < count; i++)
		check_result(&answer, i, kind);
	kms_client_answer_clear(&answer);
	kms_buf_free(&sealed);
	return 0;
}

void fuzz_seeds(void)
{
	fuzz_seed_choice(
	    KMS_REQUEST_DERIVE,
	    KMS_BYTES("{\"app_id\":7,\"key\":\"AAECAw==\",\"length\":4,\"path\":\"p\",\"status\":200}"));
	fuzz_seed_choice(KMS_REQUEST_GET,
			 KMS_BYTES("{\"app_id\":7,\"key\":\"k\",\"status\":200,\"updated_at_ms\":1,"
				   "\"value\":\"Zm9v\"}"));
	fuzz_seed_choice(
	    SEVERAL | KMS_REQUEST_PUT,
	    KMS_BYTES("[{\"app_id\":7,\"key\":\"k\",\"status\":200,\"updated_at_ms\":1},"
		      "{\"code\":\"rate_limited\",\"message\":\"m\",\"retry_after_s\":5,\"status\":429}]"));
	fuzz_seed_choice(
	    SEVERAL | KMS_REQUEST_DELETE,
	    KMS_BYTES("[{\"app_id\":7,\"copies\":2,\"deleted\":true,\"key\":\"k\",\"status\":200},"
		      "{\"code\":\"not_found\",\"message\":\"none\",\"status\":404}]"));
	fuzz_seed_choice(SEVERAL | KMS_REQUEST_LIST,
			 KMS_BYTES("{\"code\":\"stale\",\"message\":\"old\",\"status\":403}"));
	fuzz_seed_choice(
	    KMS_REQUEST_LIST,
	    KMS_BYTES("{\"app_id\":7,\"count\":1,\"keys\":[\"k\"],\"next\":\"k\",\"status\":200}"));
}
