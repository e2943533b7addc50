/* RLP and EIP-1559 transactions. */
#include "base/testing.h"
#include "codec/rlp.h"
#include "kms/codec.h"
#include "kms/tx.h"
#include "test.h"

static bool is_hex(const kms_buf *buf, const char *hex)
{
	uint8_t want[256];
	size_t len = strlen(hex) / 2;
	return kms_hex_decode(kms_out_of(want, len), kms_text_from(hex)) == KMS_OK && buf->len == len &&
	       memcmp(buf->data, want, len) == 0;
}

static void check_bytes(int *failed_, const void *bytes, size_t len, const char *hex)
{
	kms_buf out = kms_buf_make(KMS_BUF_PLAIN, 1000);
	CHECK_OK(kms_rlp_bytes(&out, kms_span_of(bytes, len)));
	CHECK(is_hex(&out, hex));
	kms_buf_free(&out);
}

static void check_number(int *failed_, uint64_t number, const char *hex)
{
	kms_buf out = kms_buf_make(KMS_BUF_PLAIN, 1000);
	CHECK_OK(kms_rlp_u64(&out, number));
	CHECK(is_hex(&out, hex));
	kms_buf_free(&out);
}

/* Examples of ethereum.org's page on RLP, and the edges of each form. */
TEST(rlp_known_answers)
{
	CALL(check_bytes, "dog", 3, "83646f67");
	CALL(check_bytes, "", 0, "80");
	CALL(check_bytes, "\0", 1, "00");
	CALL(check_bytes, "\x0f", 1, "0f");
	CALL(check_bytes, "\x7f", 1, "7f");
	CALL(check_bytes, "\x80", 1, "8180");
	CALL(check_bytes, "\x04\x00", 2, "820400");
	CALL(check_bytes, "Lorem ipsum dolor sit amet, consectetur adipisicing elit", 56,
	     "b8384c6f72656d20697073756d20646f6c6f722073697420616d65742c20636f"
	     "6e7365637465747572206164697069736963696e6720656c6974");
	CALL(check_bytes, "Lorem ipsum dolor sit amet, consectetur adipisicing eli", 55,
	     "b74c6f72656d20697073756d20646f6c6f722073697420616d65742c20636f"
	     "6e7365637465747572206164697069736963696e6720656c69");
	CALL(check_number, 0, "80");
	CALL(check_number, 15, "0f");
	CALL(check_number, 127, "7f");
	CALL(check_number, 128, "8180");
	CALL(check_number, 1024, "820400");
	CALL(check_number, UINT64_MAX, "88ffffffffffffffff");
}

TEST(rlp_headers_of_long_content)
{
	static uint8_t content[65536];
	static const struct {
		size_t len;
		const char *string, *list;
	} cases[] = {
		{ 55, "b7", "f7" },          { 56, "b838", "f838" },        { 255, "b8ff", "f8ff" },
		{ 256, "b90100", "f90100" }, { 65535, "b9ffff", "f9ffff" }, { 65536, "ba010000", "fa010000" },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t head[4];
		size_t head_len = strlen(cases[i].string) / 2;
		kms_buf out = kms_buf_make(KMS_BUF_PLAIN, 70000);
		CHECK_OK(kms_rlp_bytes(&out, kms_span_of(content, cases[i].len)));
		CHECK(out.len == head_len + cases[i].len);
		CHECK_OK(
		    kms_hex_decode(kms_out_of(head, head_len), kms_text_of(cases[i].string, 2 * head_len)));
		CHECK_MEM(out.data, head, head_len);
		kms_buf_clear(&out);
		CHECK_OK(kms_rlp_list(&out, cases[i].len));
		CHECK(is_hex(&out, cases[i].list));
		kms_buf_free(&out);
	}
}

static kms_status test_wallet(kms_wallet **wallet)
{
	kms_secret *key;
	static const char hex[] = "8f2a55949038a9610f50fb23b5883af3b4ecb3c3bb792cbcefbd1542c692be63";
	kms_status status = kms_secret_from_hex(&key, kms_text_of(hex, 64), 32);
	if (status != KMS_OK) return status;
	status = kms_wallet_new(wallet, key);
	kms_secret_unref(key);
	return status;
}

/* ethereumjs-monorepo, packages/tx/test/json/eip1559.json (source: Besu), entries 1, 2, 9, 10. */
TEST(published_transactions)
{
	static const struct {
		uint64_t nonce, value, gas, priority, fee;
		const char *raw;
	} cases[] = {
		{ 819, 43203529, 35552, 75853, 121212,
		  "02f870821e8e8203338301284d8301d97c828ae094000000000000000000000000000000000000aaaa8402933b"
		  "c980"
		  "c080a0d067f2167008c59219652f91cbf8788dbca5f771f6e91e2b7657e85b78b472e0a01d305af9fe81fdba43"
		  "f0dfc"
		  "d400ed24dcace0a7e30d4e85701dcaaf484cd079e" },
		{ 353, 61901619, 32593, 38850, 136295,
		  "02f86f821e8e8201618297c283021467827f5194000000000000000000000000000000000000aaaa8403b08b33"
		  "80c00"
		  "1a004205678f13fc1d7b10feea6513dfa76e24418b6e08097d95c6f93a3b64e536da01d45ad61bfece43862de2"
		  "cce7d"
		  "2575a8c1d08c26c87f3cb5f26d7b0be54a91b2" },
		{ 939, 2782905, 45047, 45216, 91648,
		  "02f86e821e8e8203ab82b0a08301660082aff794000000000000000000000000000000000000aaaa832a76b980"
		  "c001a"
		  "0a0e7d9b07c7ec68f24788a554f993b99d59a3f08439cc6c942f62ea0341f2aeba078122b9957c146f7c87811b"
		  "d58a7"
		  "e9916ca8c07dabcf875b97bbdef79cb9c197" },
		{ 119, 65456115, 62341, 24721, 107729,
		  "02f86d821e8e778260918301a4d182f38594000000000000000000000000000000000000aaaa8403e6c7f380c0"
		  "01a0e"
		  "38e239770801eb995498c821e55ac9c19ae09184bb27b34be105e02fe3b7615a067c64ca6bd6d9107e85fd581a"
		  "b2e70"
		  "a14b637eb36505bb40861ef9d6e800cab6" },
	};
	kms_wallet *wallet;
	CHECK_OK(test_wallet(&wallet));
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t hash[32], want[32];
		kms_tx tx = { 7822,           cases[i].nonce, cases[i].priority, cases[i].fee, cases[i].gas,
			      cases[i].value, { 0 },          { NULL, 0 } };
		tx.to20[18] = 0xaa, tx.to20[19] = 0xaa;
		kms_buf raw = kms_buf_make(KMS_BUF_PLAIN, 1000);
		CHECK_OK(kms_tx_sign(hash, &raw, &tx, wallet));
		CHECK(is_hex(&raw, cases[i].raw));
		kms_keccak256(want, kms_buf_span(&raw));
		CHECK_MEM(hash, want, 32);
		kms_buf_free(&raw);
	}
	kms_wallet_free(wallet);
}

TEST(bounds)
{
	static uint8_t data[KMS_TX_MAX_DATA + 1];
	static const uint8_t zero[32];
	uint8_t hash[32];
	kms_wallet *wallet;
	kms_tx tx = { 1,          UINT64_MAX, UINT64_MAX, UINT64_MAX,
		      UINT64_MAX, UINT64_MAX, { 1 },      { data, KMS_TX_MAX_DATA } };
	kms_buf raw = kms_buf_make(KMS_BUF_PLAIN, 1 << 20);
	CHECK_OK(test_wallet(&wallet));
	tx.chain_id = UINT64_MAX;
	CHECK_OK(kms_buf_append_text(&raw, "x"));
	CHECK_OK(kms_tx_sign(hash, &raw, &tx, wallet));
	CHECK(raw.data[0] == 'x' && raw.data[1] == 2 && raw.len > KMS_TX_MAX_DATA);
	kms_buf_clear(&raw);
	tx.data.len++;
	CHECK_STATUS(KMS_ERR_RANGE, kms_tx_sign(hash, &raw, &tx, wallet));
	CHECK_MEM(hash, zero, 32);
	tx.data.len = 4;
	tx.data.bytes = NULL;
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_tx_sign(hash, &raw, &tx, wallet));
	tx.data.bytes = data;
	tx.chain_id = 0;
	CHECK_STATUS(KMS_ERR_RANGE, kms_tx_sign(hash, &raw, &tx, wallet));
	tx.chain_id = 1;
	tx.gas_limit = 0;
	CHECK_STATUS(KMS_ERR_RANGE, kms_tx_sign(hash, &raw, &tx, wallet));
	tx.gas_limit = 1;
	tx.max_fee_per_gas--;
	CHECK_STATUS(KMS_ERR_RANGE, kms_tx_sign(hash, &raw, &tx, wallet));
	CHECK(raw.len == 0);
	tx.max_priority_fee_per_gas--;
	CHECK_OK(kms_tx_sign(hash, &raw, &tx, wallet));
	raw.max = raw.len; /* no room for another */
	CHECK_STATUS(KMS_ERR_TOO_LARGE, kms_tx_sign(hash, &raw, &tx, wallet));
	CHECK_MEM(hash, zero, 32);
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_tx_sign(hash, &raw, NULL, wallet));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_tx_sign(hash, &raw, &tx, NULL));
	kms_buf_free(&raw);
	kms_wallet_free(wallet);
}

TEST(refused_allocations)
{
	uint8_t hash[32];
	static const uint8_t zero[32], data[300] = { 7 };
	kms_wallet *wallet;
	kms_tx tx = { 1, 2, 3, 4, 5, 6, { 7 }, { data, sizeof(data) } };
	kms_status status = KMS_ERR_MEMORY;
	CHECK_OK(test_wallet(&wallet));
	for (unsigned long n = 1; status != KMS_OK; n++) {
		CHECK(n < 50);
		kms_buf raw = kms_buf_make(KMS_BUF_PLAIN, 1000);
		kms_mem_fail_after(n);
		status = kms_tx_sign(hash, &raw, &tx, wallet);
		kms_mem_fail_after(0);
		CHECK(status == KMS_OK || status == KMS_ERR_MEMORY);
		CHECK((status == KMS_OK) == (memcmp(hash, zero, 32) != 0));
		CHECK((status == KMS_OK) == (raw.len != 0));
		kms_buf_free(&raw);
	}
	kms_wallet_free(wallet);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(rlp_known_answers), T(rlp_headers_of_long_content),
	  T(published_transactions), T(bounds), T(refused_allocations))
