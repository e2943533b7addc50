/* Known answers: transactions and contract calls. */
#include "kms/abi.h"
#include "kms/eth_text.h"
#include "kms/tx.h"
#include "vectors_kit.h"

static void check_tx1559(int *failed_, const vectors *v)
{
	size_t data_len;
	uint8_t address[20], hash[32], *data = bytes_of(&data_len, text(v, "data"));
	char from[KMS_ADDRESS_TEXT];
	kms_wallet *w = wallet(text(v, "priv"));
	kms_buf raw = kms_buf_make(KMS_BUF_PLAIN, 1 << 16);
	kms_tx tx = { .chain_id = number(v, "chainId"),
		      .nonce = number(v, "nonce"),
		      .max_priority_fee_per_gas = number(v, "maxPriorityFeePerGas"),
		      .max_fee_per_gas = number(v, "maxFeePerGas"),
		      .gas_limit = number(v, "gasLimit"),
		      .value = number(v, "value"),
		      .data = { data, data_len } };
	fixed(tx.to20, 20, text(v, "to"));
	kms_wallet_address(address, w);
	kms_address_format(from, address);
	CHECK(text_is(from, sizeof(from), text(v, "from")));
	CHECK_OK(kms_tx_sign(hash, &raw, &tx, w));
	CHECK(bytes_are(raw.data, raw.len, text(v, "raw_transaction")));
	CHECK(bytes_are(hash, 32, text(v, "transaction_hash")));
	free(data);
	kms_buf_free(&raw);
	kms_wallet_free(w);
}

/* ---- contract calls: arguments and results are texts, decimal or with 0x ------------------ */

static uint64_t decimal(const kms_json_value *digits)
{
	uint64_t value;
	MUST(kms_decimal_parse(&value, kms_json_text(digits)));
	return value;
}

/* Element `index` of an array of texts. */
static const kms_json_value *element(const vectors *v, const kms_json_value *array, size_t index)
{
	const kms_json_value *at = kms_json_first(&v->json, array);
	for (; at && index; index--)
		at = kms_json_next(&v->json, at);
	if (!at) exit(2);
	return at;
}

static const kms_abi_function *function_of(const vectors *v)
{
	char name[64];
	const kms_json_value *signature = text(v, "signature");
	const char *end = memchr(signature->text, '(', signature->len);
	if (!end || (size_t)(end - signature->text) >= sizeof(name)) exit(2);
	memcpy(name, signature->text, (size_t)(end - signature->text));
	name[end - signature->text] = '\0';
	return kms_abi_find(name);
}

static void argument(uint8_t word[KMS_ABI_WORD], char type, const kms_json_value *value)
{
	uint8_t address[20];
	if (type == 'u') {
		kms_abi_word_number(word, decimal(value));
		return;
	}
	if (type == 'b') {
		fixed(word, KMS_ABI_WORD, value);
		return;
	}
	fixed(address, sizeof(address), value);
	kms_abi_word_address(word, address);
}

static void check_struct(int *failed_, const vectors *v, kms_abi_result kind, kms_span data)
{
	const kms_json_value *want = text(v, "result");
	kms_abi_app app;
	kms_abi_version version;
	kms_abi_instance i;
	if (kind == KMS_ABI_APP) {
		CHECK_OK(kms_abi_decode_app(&app, data));
		CHECK(app.id == decimal(element(v, want, 0)) && app.status == decimal(element(v, want, 7)));
		return;
	}
	if (kind == KMS_ABI_VERSION) {
		CHECK_OK(kms_abi_decode_version(&version, data));
		CHECK(version.id == decimal(element(v, want, 0)) &&
		      version.status == decimal(element(v, want, 7)));
		return;
	}
	CHECK_OK(kms_abi_decode_instance(&i, data));
	CHECK(i.id == decimal(element(v, want, 0)) && i.app_id == decimal(element(v, want, 1)));
	CHECK(i.version_id == decimal(element(v, want, 2)));
	CHECK(bytes_are(i.operator20, 20, element(v, want, 3)));
	CHECK(text_is(i.url.text, i.url.len, element(v, want, 4)));
	CHECK(bytes_are((const uint8_t *)i.tee_pubkey.text, i.tee_pubkey.len, element(v, want, 5)));
	CHECK(bytes_are(i.wallet20, 20, element(v, want, 6)));
	CHECK(i.zk_verified == (element(v, want, 7)->type == KMS_JSON_TRUE));
	CHECK(i.status == decimal(element(v, want, 8)));
	CHECK(i.registered_at_s == decimal(element(v, want, 9)));
}

static void check_list(int *failed_, const vectors *v, kms_abi_result kind, kms_span data)
{
	const kms_json_value *want = text(v, "result");
	kms_abi_list list;
	bool addresses = kind == KMS_ABI_ADDRESSES;
	CHECK_OK(addresses ? kms_abi_decode_addresses(&list, data) : kms_abi_decode_numbers(&list, data));
	CHECK(list.count == want->count);
	for (size_t i = 0; i < list.count; i++) {
		const kms_json_value *one = element(v, want, i);
		CHECK(addresses ? bytes_are(kms_abi_list_address20(&list, i), 20, one)
				: kms_abi_list_number(&list, i) == decimal(one));
	}
}

static void check_word(int *failed_, const vectors *v, kms_abi_result kind, kms_span data)
{
	const kms_json_value *want = text(v, "result");
	uint64_t number;
	uint8_t bytes[32];
	bool truth;
	if (kind == KMS_ABI_NUMBER) {
		CHECK_OK(kms_abi_decode_number(&number, data));
		CHECK(number == decimal(want));
	} else if (kind == KMS_ABI_ADDRESS) {
		CHECK_OK(kms_abi_decode_address(bytes, data));
		CHECK(bytes_are(bytes, 20, want));
	} else if (kind == KMS_ABI_BYTES32) {
		CHECK_OK(kms_abi_decode_bytes32(bytes, data));
		CHECK(bytes_are(bytes, 32, want));
	} else {
		CHECK(kind == KMS_ABI_BOOL);
		CHECK_OK(kms_abi_decode_bool(&truth, data));
		CHECK(truth == (want->type == KMS_JSON_TRUE));
	}
}

static void check_abi(int *failed_, const vectors *v)
{
	uint8_t words[KMS_ABI_MAX_ARGUMENTS][KMS_ABI_WORD];
	kms_buf call = kms_buf_make(KMS_BUF_PLAIN, 1000);
	const kms_abi_function *f = function_of(v);
	CHECK(f);
	CHECK(text_is(f->signature, strlen(f->signature), text(v, "signature")));
	for (size_t i = 0; f->arguments[i]; i++)
		argument(words[i], f->arguments[i], element(v, text(v, "args"), i));
	CHECK_OK(kms_abi_encode(&call, f, (const uint8_t(*)[KMS_ABI_WORD])words));
	CHECK(bytes_are(call.data, call.len, text(v, "calldata")));
	kms_buf_free(&call);
	if (f->result == KMS_ABI_NOTHING) return;
	size_t len;
	uint8_t *data = bytes_of(&len, text(v, "data"));
	if (f->result == KMS_ABI_APP || f->result == KMS_ABI_VERSION || f->result == KMS_ABI_INSTANCE)
		check_struct(failed_, v, f->result, kms_span_of(data, len));
	else if (f->result == KMS_ABI_ADDRESSES || f->result == KMS_ABI_NUMBERS)
		check_list(failed_, v, f->result, kms_span_of(data, len));
	else
		check_word(failed_, v, f->result, kms_span_of(data, len));
	free(data);
}

TEST(tx1559)
{
	each(failed_, "tx1559", check_tx1559);
}

TEST(abi)
{
	each(failed_, "abi", check_abi);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(tx1559), T(abi))
