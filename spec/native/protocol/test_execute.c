/* Requests executed against a real store, and their results byte for byte. */
#include "base/ensure.h"
#include "base/testing.h"
#include "material.h"
#include "store_config.h"

#include "kms/request.h"
#include "kms/kdf.h"
#include "kms/value_seal.h"

#define MASTER "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define NOW 1700000000000u

static const kms_request_limits limits = { .max_value = 1 << 16, .max_key = 4096 };

typedef struct world {
	kms_secret *master;
	kms_store *store;
	kms_execution execution;
	kms_buf plain;
} world;

static void world_open(world *w)
{
	kms_store_config config = kit_config(1);
	config.max_value = limits.max_value;
	*w = (world){ .master = hex_secret(MASTER) };
	MUST(kms_store_new(&w->store, &config));
	w->execution = (kms_execution){
		.app_id = 49, .master = w->master, .store = w->store, .now_ms = NOW, .max_list_bytes = 4 << 20
	};
	w->plain = kms_buf_make(KMS_BUF_GUARDED, 1 << 20);
}

static void world_close(world *w)
{
	kms_buf_free(&w->plain);
	kms_store_free(w->store);
	kms_secret_unref(w->master);
}

/* Executes a body of this kind; the result replaces the content of w->plain. */
static kms_status execute(world *w, kms_request_kind kind, const char *body)
{
	kms_request request;
	const char *field;
	kms_buf text = kms_buf_make(KMS_BUF_GUARDED, 1 << 17);
	MUST(kms_buf_append_text(&text, body));
	MUST(kms_request_parse(&request, &field, &text, kind, &limits));
	kms_buf_clear(&w->plain);
	kms_status status = kms_request_execute(&w->plain, &request, &w->execution);
	kms_request_clear(&request);
	return status;
}

static kms_status get(world *w, const char *key)
{
	kms_request request;
	MUST(kms_request_for_key(&request, kms_text_of(key, strlen(key))));
	kms_buf_clear(&w->plain);
	kms_status status = kms_request_execute(&w->plain, &request, &w->execution);
	kms_request_clear(&request);
	return status;
}

static kms_status list(world *w)
{
	kms_request request = { .kind = KMS_REQUEST_LIST };
	kms_buf_clear(&w->plain);
	return kms_request_execute(&w->plain, &request, &w->execution);
}

static void check_text(int *failed_, const world *w, const char *want)
{
	bool same = w->plain.len == strlen(want) && memcmp(w->plain.data, want, w->plain.len) == 0;
	if (!same) fprintf(stderr, "%.*s\n", (int)w->plain.len, (const char *)w->plain.data);
	CHECK(same);
}

#define RESULT(text) CALL(check_text, &w, text)

TEST(derive_gives_the_key)
{
	world w;
	world_open(&w);
	/* base64 of the keys in test_kdf.c */
	CHECK_OK(execute(&w, KMS_REQUEST_DERIVE, "{\"path\":\"app/key\"}"));
	RESULT("{\"app_id\":49,\"key\":\"6WpDvNH3FkuKRgpf58E1i6nzVQ0H42b+F0QCaGUeRBQ=\",\"length\":32,"
	       "\"path\":\"app/key\"}");
	w.execution.pop = (kms_text){ "0xsig", 5 };
	CHECK_OK(
	    execute(&w, KMS_REQUEST_DERIVE, "{\"path\":\"app/key\",\"context\":\"ctx\",\"length\":\"16\"}"));
	RESULT("{\"app_id\":49,\"key\":\"zx1+kjgux7w/4VHhkEdOhw==\",\"length\":16,\"path\":\"app/"
	       "key\",\"pop\":\"0xsig\"}");
	w.execution.app_id = UINT64_MAX;
	w.execution.pop = (kms_text){ NULL, 0 };
	CHECK_OK(execute(&w, KMS_REQUEST_DERIVE, "{\"path\":\"data_key\"}"));
	RESULT("{\"app_id\":18446744073709551615,\"key\":\"oaPOisAh5RL9XIeqXdynE6046RC/hK8UpDb50nvgA1k=\","
	       "\"length\":32,\"path\":\"data_key\"}");
	CHECK_OK(execute(&w, KMS_REQUEST_DERIVE, "{\"path\":\"\\u0001\\n\\u00e9\\\"\\\\\\/\",\"length\":1}"));
	char *tail = strstr((char *)w.plain.data, "\"path\"");
	CHECK(tail && memcmp(tail, "\"path\":\"\\u0001\\n\xc3\xa9\\\"\\\\/\"}", 26) == 0);
	world_close(&w);
}

TEST(records_are_written_read_listed_and_deleted)
{
	world w;
	world_open(&w);
	CHECK_STATUS(KMS_ERR_NOT_FOUND, get(&w, "k/1"));
	CHECK(w.plain.len == 0);
	CHECK_OK(list(&w));
	RESULT("{\"app_id\":49,\"count\":0,\"keys\":[]}");
	CHECK_OK(execute(&w, KMS_REQUEST_PUT, "{\"key\":\"k/1\",\"value\":\"AAH/\"}"));
	RESULT("{\"app_id\":49,\"key\":\"k/1\",\"updated_at_ms\":1700000000000}");
	/* A second write in the same millisecond is stamped one later. */
	CHECK_OK(execute(&w, KMS_REQUEST_PUT, "{\"key\":\"k/1\",\"value\":\"\"}"));
	RESULT("{\"app_id\":49,\"key\":\"k/1\",\"updated_at_ms\":1700000000001}");
	CHECK_OK(get(&w, "k/1"));
	RESULT("{\"app_id\":49,\"key\":\"k/1\",\"updated_at_ms\":1700000000001,\"value\":\"\"}");
	w.execution.pop = (kms_text){ "0xsig", 5 };
	CHECK_OK(execute(&w, KMS_REQUEST_PUT, "{\"key\":\"\\u00e9\\\"\",\"value\":\"AAH/\",\"ttl_ms\":10}"));
	RESULT("{\"app_id\":49,\"key\":\"\xc3\xa9\\\"\",\"pop\":\"0xsig\",\"updated_at_ms\":1700000000000}");
	CHECK_OK(get(&w, "\xc3\xa9\""));
	RESULT("{\"app_id\":49,\"key\":\"\xc3\xa9\\\"\",\"pop\":\"0xsig\",\"updated_at_ms\":1700000000000,"
	       "\"value\":\"AAH/\"}");
	CHECK_OK(list(&w));
	RESULT("{\"app_id\":49,\"count\":2,\"keys\":[\"k/1\",\"\xc3\xa9\\\"\"],\"pop\":\"0xsig\"}");
	/* Expired in the millisecond after its last. */
	w.execution.now_ms = NOW + 11;
	CHECK_STATUS(KMS_ERR_NOT_FOUND, get(&w, "\xc3\xa9\""));
	CHECK_OK(execute(&w, KMS_REQUEST_DELETE, "{\"key\":\"k/1\"}"));
	RESULT("{\"app_id\":49,\"deleted\":true,\"key\":\"k/1\",\"pop\":\"0xsig\"}");
	CHECK_STATUS(KMS_ERR_NOT_FOUND, execute(&w, KMS_REQUEST_DELETE, "{\"key\":\"k/1\"}"));
	CHECK(w.plain.len == 0);
	w.execution.pop = (kms_text){ NULL, 0 };
	CHECK_OK(list(&w));
	RESULT("{\"app_id\":49,\"count\":0,\"keys\":[]}");
	world_close(&w);
}

TEST(applications_see_their_own_records_only)
{
	world w;
	world_open(&w);
	CHECK_OK(execute(&w, KMS_REQUEST_PUT, "{\"key\":\"k\",\"value\":\"AAH/\"}"));
	w.execution.app_id = 50;
	CHECK_STATUS(KMS_ERR_NOT_FOUND, get(&w, "k"));
	CHECK_STATUS(KMS_ERR_NOT_FOUND, execute(&w, KMS_REQUEST_DELETE, "{\"key\":\"k\"}"));
	CHECK_OK(list(&w));
	RESULT("{\"app_id\":50,\"count\":0,\"keys\":[]}");
	w.execution.app_id = 0;
	CHECK_STATUS(KMS_ERR_RANGE, execute(&w, KMS_REQUEST_DERIVE, "{\"path\":\"sync_hmac_key\"}"));
	CHECK_STATUS(KMS_ERR_RANGE, execute(&w, KMS_REQUEST_PUT, "{\"key\":\"k\",\"value\":\"\"}"));
	world_close(&w);
}

TEST(the_store_holds_ciphertext_under_the_data_key)
{
	world w;
	uint64_t updated_at_ms;
	kms_secret *data_key;
	kms_buf held = kms_buf_make(KMS_BUF_PLAIN, 1000), value = kms_buf_make(KMS_BUF_GUARDED, 1000);
	world_open(&w);
	CHECK_OK(execute(&w, KMS_REQUEST_PUT, "{\"key\":\"k\",\"value\":\"c2VjcmV0IHZhbHVl\"}"));
	CHECK_OK(kms_store_get(&updated_at_ms, &held, w.store, 49, KMS_TEXT("k"), NOW));
	CHECK(held.len == 12 + KMS_VALUE_SEAL_OVERHEAD && !memmem(held.data, held.len, "secret", 6));
	CHECK_OK(kms_data_key(&data_key, w.master, 49));
	CHECK_OK(kms_value_open(&value, data_key, kms_buf_span(&held)));
	CHECK(value.len == 12);
	CHECK_MEM(value.data, "secret value", 12);
	kms_secret_unref(data_key);
	/* Another secret does not open it. */
	kms_secret *other = hex_secret("ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
	w.execution.master = other;
	CHECK_STATUS(KMS_ERR_DECRYPT, get(&w, "k"));
	CHECK(w.plain.len == 0);
	kms_secret_unref(other);
	kms_buf_free(&held);
	kms_buf_free(&value);
	world_close(&w);
}

TEST(a_list_of_many_names_counts_them)
{
	world w;
	world_open(&w);
	for (int i = 0; i < 1234; i++) {
		char body[64];
		snprintf(body, sizeof(body), "{\"key\":\"key-%04d\",\"value\":\"\"}", 1233 - i);
		CHECK_OK(execute(&w, KMS_REQUEST_PUT, body));
	}
	/* A list may go into wiped memory, since it has only names. */
	kms_buf names = kms_buf_make(KMS_BUF_WIPED, 1 << 20);
	kms_request request = { .kind = KMS_REQUEST_LIST };
	CHECK_OK(kms_request_execute(&names, &request, &w.execution));
	CHECK_MEM(names.data, "{\"app_id\":49,\"count\":1234,\"keys\":[\"key-0000\",\"key-0001\",", 56);
	CHECK_MEM(names.data + names.len - 23, "\"key-1232\",\"key-1233\"]}", 23);
	CHECK(names.len == 34 + 1234 * 11 - 1 + 2);
	kms_buf_free(&names);
	names = kms_buf_make(KMS_BUF_WIPED, 500);
	CHECK_STATUS(KMS_ERR_TOO_LARGE, kms_request_execute(&names, &request, &w.execution));
	CHECK(names.len == 0);
	kms_buf_free(&names);
	world_close(&w);
}

TEST(results_stay_in_guarded_memory)
{
	world w;
	const char *field;
	kms_request request;
	world_open(&w);
	kms_buf text = kms_buf_make(KMS_BUF_GUARDED, 100);
	CHECK_OK(kms_buf_append_text(&text, "{\"path\":\"p\"}"));
	CHECK_OK(kms_request_parse(&request, &field, &text, KMS_REQUEST_DERIVE, &limits));
	kms_buf wiped = kms_buf_make(KMS_BUF_WIPED, 1000), ordinary = kms_buf_make(KMS_BUF_PLAIN, 1000);
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_request_execute(&wiped, &request, &w.execution));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_request_execute(&ordinary, &request, &w.execution));
	kms_request listing = { .kind = KMS_REQUEST_LIST };
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_request_execute(&ordinary, &listing, &w.execution));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_request_execute(NULL, &request, &w.execution));
	kms_app_keys of_another = kms_app_keys_make(w.master, w.execution.app_id + 1);
	CHECK_STATUS(KMS_ERR_ARGUMENT,
		     kms_request_execute_with(&w.plain, &request, &w.execution, &of_another));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_request_execute(&w.plain, NULL, &w.execution));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_request_execute(&w.plain, &request, NULL));
	w.execution.master = NULL;
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_request_execute(&w.plain, &request, &w.execution));
	w.execution.master = w.master;
	w.execution.store = NULL;
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_request_execute(&w.plain, &request, &w.execution));
	request.kind = (kms_request_kind)99;
	w.execution.store = w.store;
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_request_execute(&w.plain, &request, &w.execution));
	kms_request_clear(&request);
	world_close(&w);
}

TEST(a_write_without_room_for_its_result_does_not_happen)
{
	world w;
	world_open(&w);
	CHECK_OK(execute(&w, KMS_REQUEST_PUT, "{\"key\":\"k\",\"value\":\"YQ==\"}"));
	kms_buf_free(&w.plain);
	w.plain = kms_buf_make(KMS_BUF_GUARDED, 50);
	CHECK_STATUS(KMS_ERR_TOO_LARGE, execute(&w, KMS_REQUEST_PUT, "{\"key\":\"k\",\"value\":\"Yg==\"}"));
	kms_buf_free(&w.plain);
	w.plain = kms_buf_make(KMS_BUF_GUARDED, 20);
	CHECK_STATUS(KMS_ERR_TOO_LARGE, execute(&w, KMS_REQUEST_DELETE, "{\"key\":\"k\"}"));
	CHECK(w.plain.len == 0);
	kms_buf_free(&w.plain);
	w.plain = kms_buf_make(KMS_BUF_GUARDED, 1000);
	CHECK_OK(get(&w, "k"));
	RESULT("{\"app_id\":49,\"key\":\"k\",\"updated_at_ms\":1700000000000,\"value\":\"YQ==\"}");
	world_close(&w);
}

TEST(copies_come_after_the_app_id)
{
	world w;
	world_open(&w);
	w.execution.pop = (kms_text){ "0xsig", 5 };
	CHECK_OK(execute(&w, KMS_REQUEST_PUT, "{\"key\":\"k\",\"value\":\"YQ==\"}"));
	CHECK_OK(kms_request_add_copies(&w.plain, 2));
	RESULT(
	    "{\"app_id\":49,\"copies\":2,\"key\":\"k\",\"pop\":\"0xsig\",\"updated_at_ms\":1700000000000}");
	CHECK_OK(execute(&w, KMS_REQUEST_DELETE, "{\"key\":\"k\"}"));
	CHECK_OK(kms_request_add_copies(&w.plain, UINT64_MAX));
	RESULT("{\"app_id\":49,\"copies\":18446744073709551615,\"deleted\":true,\"key\":\"k\",\"pop\":"
	       "\"0xsig\"}");
	world_close(&w);
}

TEST(copies_go_into_the_result_of_a_write_only)
{
	static const char *const others[] = {
		"", "{", "{\"app_id\":", "{\"app_id\":49", "{\"app_id\":49}", "[1,2]"
	};
	for (size_t i = 0; i < KMS_ARRAY_LEN(others); i++) {
		DEFER(kms_buf_free) kms_buf text = kms_buf_make(KMS_BUF_GUARDED, 1000);
		CHECK_OK(kms_buf_append_text(&text, others[i]));
		CHECK_STATUS(KMS_ERR_STATE, kms_request_add_copies(&text, 1));
		CHECK(text.len == strlen(others[i]));
	}
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_request_add_copies(NULL, 1));
}

/* The room for copies is there before the store changes: a reply that does not fit makes no write. */
TEST(a_write_has_room_for_its_copies)
{
	world w;
	world_open(&w);
	for (size_t max = 40; max < 160; max++) {
		kms_buf_free(&w.plain);
		w.plain = kms_buf_make(KMS_BUF_GUARDED, max);
		if (execute(&w, KMS_REQUEST_PUT, "{\"key\":\"k\",\"value\":\"Yg==\"}") != KMS_OK) continue;
		CHECK_OK(kms_request_add_copies(&w.plain, UINT64_MAX));
		kms_buf_free(&w.plain);
		w.plain = kms_buf_make(KMS_BUF_GUARDED, max);
		if (execute(&w, KMS_REQUEST_DELETE, "{\"key\":\"k\"}") != KMS_OK) continue;
		CHECK_OK(kms_request_add_copies(&w.plain, UINT64_MAX));
	}
	world_close(&w);
}

/* Every allocation of one execution fails once: the buffer keeps its earlier content, and nothing leaks. */
static void sweep_failures(int *failed_, world *w, kms_request *request)
{
	kms_status status = KMS_ERR_MEMORY;
	unsigned long n;
	bool ended = false;
	for (n = 1; n < 300 && !ended; n++) {
		kms_buf plain = kms_buf_make(KMS_BUF_GUARDED, 1 << 16);
		CHECK_OK(kms_buf_append(&plain, KMS_BYTES("x")));
		size_t used = kms_guarded_used();
		kms_mem_fail_after(n);
		status = kms_request_execute(&plain, request, &w->execution);
		ended = sweep_ends(n);
		CHECK(status == KMS_OK || kms_status_category(status) == KMS_CATEGORY_BUSY ||
		      status == KMS_ERR_CRYPTO);
		CHECK(status == KMS_OK || (plain.len == 1 && plain.data[0] == 'x'));
		CHECK(status == KMS_OK || kms_guarded_used() <= used + 4096);
		kms_buf_free(&plain);
	}
	CHECK(ended && status == KMS_OK);
	CHECK(n > 2);
}

TEST(failing_allocations_leave_nothing)
{
	world w;
	const char *field;
	static const struct {
		kms_request_kind kind;
		const char *body;
	} bodies[] = { { KMS_REQUEST_DERIVE, "{\"path\":\"p\",\"context\":\"c\",\"length\":1024}" },
		       { KMS_REQUEST_PUT, "{\"key\":\"k\",\"value\":\"YQ==\"}" } };
	world_open(&w);
	CHECK_OK(execute(&w, KMS_REQUEST_PUT, "{\"key\":\"k\",\"value\":\"Yg==\"}"));
	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
		kms_request request;
		kms_buf text = kms_buf_make(KMS_BUF_GUARDED, 1000);
		CHECK_OK(kms_buf_append_text(&text, bodies[i].body));
		CHECK_OK(kms_request_parse(&request, &field, &text, bodies[i].kind, &limits));
		CALL(sweep_failures, &w, &request);
		kms_request_clear(&request);
	}
	kms_request request;
	CHECK_OK(kms_request_for_key(&request, KMS_TEXT("k")));
	CALL(sweep_failures, &w, &request);
	kms_request_clear(&request);
	/* Long enough that the buffer grows while the list is written. */
	for (int i = 0; i < 100; i++) {
		char body[64];
		snprintf(body, sizeof(body), "{\"key\":\"key-%04d\",\"value\":\"\"}", i);
		CHECK_OK(execute(&w, KMS_REQUEST_PUT, body));
	}
	kms_request listing = { .kind = KMS_REQUEST_LIST };
	CALL(sweep_failures, &w, &listing);
	world_close(&w);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(derive_gives_the_key), T(records_are_written_read_listed_and_deleted),
	  T(applications_see_their_own_records_only), T(the_store_holds_ciphertext_under_the_data_key),
	  T(a_list_of_many_names_counts_them), T(results_stay_in_guarded_memory),
	  T(copies_come_after_the_app_id), T(copies_go_into_the_result_of_a_write_only),
	  T(a_write_has_room_for_its_copies), T(a_write_without_room_for_its_result_does_not_happen),
	  T(failing_allocations_leave_nothing))
