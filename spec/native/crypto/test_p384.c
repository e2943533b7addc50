/*
 * P-384 keys and ECDH. Known answers: Wycheproof testvectors_v1/ecdh_secp384r1_ecpoint_test.json
 * (test case ids below), and the base point of SP 800-186 section 3.2.1.4.
 */
#include "base/guarded.h"
#include "base/testing.h"
#include "material.h"

#include <pthread.h>

#define BASE_POINT                                                                                           \
	"04aa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b9859f741e082542a385502f25dbf55296c3a545e3872760ab7" \
	"3617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147ce9da3113b5f0b8c00a60b1ce1d7e819d7a431d7c90ea0e5f"
#define ORDER \
	"ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973"
#define ORDER_LESS_1 \
	"ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52972"
#define ZEROS \
	"000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
#define ONE "000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000001"
#define P_LESS_1 \
	"fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffeffffffff0000000000000000fffffffe"
#define P "fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffeffffffff0000000000000000ffffffff"

#define EDGE_POINT                                                                                           \
	"04e9dfaaab808b3aac1ccca7cc6242a7ee583249afe8ee8f66b904cc8eec34ad334456e00f33a94de8b5169cf0199550c0" \
	"20156e9651734ff999c5f3ea62b83d0083a6093f234457251ecf72c41e4df7cea2420b5454a7f690034380bac981e92e"
#define EDGE_SECRET \
	"00a2b6442a37f8a3759d2cb91df5eca75b14f5a6766da8035cc1943b15a8e4ebb6025f373be334080f22ab821a3535a6a7"

typedef struct ecdh_case {
	int tc_id;
	const char *point, *scalar, *shared;
} ecdh_case;

static const ecdh_case valid_cases[] = {
	{ 1,
	  "04790a6e059ef9a5940163183d4a7809135d29791643fc43a2f17ee8bf677ab84f791b64a6be15969ffa012dd9185d8796"
	  "d9b954baa8a75e82df711b3b56eadff6b0f668c3b26b4b1aeb308a1fcc1c680d329a6705025f1c98a0b5e5bfcb163caa",
	  "766e61425b2da9f846c09fc3564b93a6f8603b7392c785165bf20da948c49fd1fb1dee4edd64356b9f21c588b75dfd81",
	  "6461defb95d996b24296f5a1832b34db05ed031114fbe7d98d098f93859866e4de1e229da71fef0c77fe49b24919013"
	  "5" },
	{ 3, /* x is zero: every byte a leading zero */
	  "04490e96d17f4c6ceccd45def408cea33e9704a5f1b01a3de2eaaa3409fd160d78d395d6b3b003d71fd1f590fad95bf1c9"
	  "d8665efc2070d059aa847125c2f707435955535c7c5df6d6c079ec806dce6b6849d337140db7ca50616f9456de1323c4",
	  EDGE_SECRET, ZEROS },
	{ 4, /* x is 2 */
	  "040161328909675213e32098d35a6b8308a8d500cca39dcee5e804e73bdb8deaf06fe417291fd9793b231ef5fe86945444"
	  "a97a01f3ae3a8310c4af49b592cb291ef70ee5bc7f5534d3c23dc9eefde2304842c7737ae937ccf9bd215c28103e9fe2",
	  EDGE_SECRET, "02" },
	{ 6, /* x is p - 1 */
	  "04d69850ccbacc4736ea200ff2f8488f26247945a2ab48dd3708f494b293d8cba83417f48974881c7fb03854089bbf66cc"
	  "1c773ec03cb8cd5f007ec3b03bdd05a409b352103f0decf25b41673ab8ca3d04334babee01219f15701f2bca22d40b37",
	  EDGE_SECRET, P_LESS_1 },
	{ 10, /* x is 2^64 + 1 */
	  "04eb14b4ded19bdf91fde4ea5e8c8629e9e57d95adffa9b113d7eab5629c1a92e853a618a6fddf93b453e3594d881cd975"
	  "1317512fe3f0c1c3d8447ec84ddf234819f9c5c2f8f43dd45b6cfc67b214fbc98d1312afd4fcb714eaf775e2fce6259d",
	  EDGE_SECRET, "010000000000000001" },
	{ 742, /* y = 3 appears while adding */
	  "04e40bff8c67b838eddccc73202d7d1f8d3819a00f08534131da3c9947b2d07011a01059d479d5d6e96abe27a7b98f7f0e"
	  "58779e85208b7d73afd7922b5bf8a52df0c2872a2b30d78cb43bb9924e61816a9e00ddf965e8396b8955d62105653ed2",
	  "00c1781d86cac2c052b7e4f48cef415c5c133052f4e504397e75e4d7cd0ca149da0b4988b8a6ded5ceae4b58069137618"
	  "7",
	  "8c105103aeb0ad95a681bcae97869be35f83986fb683c37f3760363d76963cb8ca2f94653720ec8185c8acf20ea2adf"
	  "0" },
	{ 760, EDGE_POINT, "03",
	  "455aea9924330bd6d2d6403478327900e172e93598e254cf6d8eb13f0a3d21be51a46107333844e61dfa3d80df6928e"
	  "9" },
	{ 761, EDGE_POINT,
	  "00ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	  "db1d8ef1117282870db8113aa4f58723c756ce598686eb8ea531aa4d39abb1b982b1e7bb2648a6c268d2d351204db8d"
	  "5" },
	{ 763, EDGE_POINT,
	  "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	  "898aae0ebf1cb49fb6b1234d60f59006325421049a8a320820e1ad6af6593cdc2229a08c500aa55ca05999d12829db9"
	  "c" },
	{ 764, EDGE_POINT,
	  "0080000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
	  "0",
	  "83f862f496ab8af12b82a8a0c047d836bdfa36281324b3a1eb2e9c1d46699d81cb125cbe4b93939fd84e1ae86d8a83c"
	  "b" },
	{ 765, EDGE_POINT, /* one digit below the order */
	  "00ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a779ecec196accc5297"
	  "3",
	  "9a26894887a0342ca559a74a4d4a8e1d6b2084f02e1c65b3097121a9a9af047d8810fb945dc25bbf02222b3b625f1e0"
	  "a" },
	{ 772, EDGE_POINT, /* the order less 2 */
	  "00ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc5297"
	  "1",
	  "024c5281487216058270cd1cfe259e948310e4adc263a9edaa4da0bc3f5f8ce8ffc88ae41b2c050bf6dd9c8c6685723"
	  "7" },
};

/* Points off the curve, and coordinates of p, which are no field elements. */
static const struct {
	int tc_id;
	const char *point;
} invalid_points[] = {
	{ 773, "04" ZEROS ZEROS },       { 774, "04" ZEROS ONE },
	{ 775, "04" ZEROS P_LESS_1 },    { 776, "04" ZEROS P },
	{ 777, "04" ONE ZEROS },         { 778, "04" ONE ONE },
	{ 779, "04" ONE P_LESS_1 },      { 780, "04" ONE P },
	{ 781, "04" P_LESS_1 ZEROS },    { 782, "04" P_LESS_1 ONE },
	{ 783, "04" P_LESS_1 P_LESS_1 }, { 784, "04" P_LESS_1 P },
	{ 785, "04" P ZEROS },           { 786, "04" P ONE },
	{ 787, "04" P P_LESS_1 },        { 788, "04" P P },
};

static void expected_x(uint8_t x48[48], const char *hex)
{
	memset(x48, 0, 48);
	hex_bytes(x48 + 48 - strlen(hex) / 2, strlen(hex) / 2, hex);
}

static void check_ecdh(int *failed_, const ecdh_case *c)
{
	uint8_t bytes[97], point[97], want[48];
	kms_secret *x;
	hex_bytes(bytes, sizeof(bytes), c->point);
	expected_x(want, c->shared);
	kms_p384 *key = hex_p384(c->scalar);
	CHECK_OK(kms_p384_point_parse(point, KMS_SPAN(bytes)));
	CHECK_MEM(point, bytes, sizeof(point));
	CHECK_OK(kms_p384_ecdh(&x, key, point));
	CHECK(kms_secret_len(x) == 48);
	CHECK_MEM(kms_secret_bytes(x), want, sizeof(want));
	kms_secret_unref(x);
	kms_p384_free(key);
}

TEST(ecdh_gives_the_published_secrets)
{
	for (size_t i = 0; i < sizeof(valid_cases) / sizeof(valid_cases[0]); i++) {
		check_ecdh(failed_, &valid_cases[i]);
		if (*failed_) fprintf(stderr, "Wycheproof tcId %d\n", valid_cases[i].tc_id);
		if (*failed_) return;
	}
}

TEST(points_off_the_curve_are_refused)
{
	static const uint8_t zeros[97];
	kms_p384 *key = hex_p384("00c6cafb74e2a50c82c7a63d13294bfea13d0bc504ba2b08a392c9081bf3815d9e44d969ed7"
				 "f05ffd1d8594355053c6147");
	for (size_t i = 0; i < sizeof(invalid_points) / sizeof(invalid_points[0]); i++) {
		uint8_t bytes[97], point[97], der[120];
		kms_secret *x = (kms_secret *)bytes;
		hex_bytes(bytes, sizeof(bytes), invalid_points[i].point);
		kms_p384_der(der, bytes);
		memset(point, 0xaa, sizeof(point));
		CHECK_STATUS(KMS_ERR_PEER_KEY, kms_p384_point_parse(point, KMS_SPAN(bytes)));
		CHECK_MEM(point, zeros, sizeof(point));
		CHECK_STATUS(KMS_ERR_PEER_KEY, kms_p384_point_parse(point, KMS_SPAN(der)));
		CHECK_STATUS(KMS_ERR_PEER_KEY, kms_p384_ecdh(&x, key, bytes));
		CHECK(!x);
	}
	kms_p384_free(key);
}

TEST(only_two_encodings_are_accepted)
{
	uint8_t point[97], der[121] = { 0 }, longer[121] = { 0 }, parsed[97];
	hex_bytes(point, sizeof(point), BASE_POINT);
	kms_p384_der(der, point);
	memcpy(longer, point, sizeof(point));
	CHECK_OK(kms_p384_point_parse(parsed, kms_span_of(point, 97)));
	CHECK_OK(kms_p384_point_parse(parsed, kms_span_of(der, 120)));
	CHECK_MEM(parsed, point, 97);
	/* Every other length: infinity (1), compressed (49), DER of it (72), trailing bytes (121). */
	for (size_t len = 0; len <= 121; len++) {
		if (len == 97 || len == 120) continue;
		CHECK_STATUS(KMS_ERR_PEER_KEY, kms_p384_point_parse(parsed, kms_span_of(der, len)));
		CHECK_STATUS(KMS_ERR_PEER_KEY, kms_p384_point_parse(parsed, kms_span_of(longer, len)));
	}
	/* Every byte of the prefix counts, and so does the form of the point. */
	for (size_t i = 0; i <= KMS_P384_PREFIX; i++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			der[i] ^= (uint8_t)(1u << bit);
			CHECK_STATUS(KMS_ERR_PEER_KEY, kms_p384_point_parse(parsed, kms_span_of(der, 120)));
			der[i] ^= (uint8_t)(1u << bit);
		}
	}
	for (unsigned form = 0; form < 256; form++) {
		point[0] = (uint8_t)form; /* 0x06 and 0x07 are hybrid forms */
		CHECK_STATUS(form == 4 ? KMS_OK : KMS_ERR_PEER_KEY,
			     kms_p384_point_parse(parsed, kms_span_of(point, 97)));
	}
}

TEST(another_curve_of_the_same_size_is_refused)
{
	/* brainpoolP384r1 (RFC 5639, base point): other OID, and off our curve. */
	uint8_t point[97], parsed[97];
	hex_bytes(point, sizeof(point),
		  "041d1c64f068cf45ffa2a63a81b7c13f6b8847a3e77ef14fe3db7fcafe0cbd10e8e826e03436d646aaef87b2e2"
		  "47d4af1e"
		  "8abe1d7520f9c2a45cb1eb8e95cfd55262b70b29feec5864e19c054ff99129280e464621779181114282034126"
		  "3c5315");
	CHECK_STATUS(KMS_ERR_PEER_KEY, kms_p384_point_parse(parsed, KMS_SPAN(point)));
}

TEST(public_points_belong_to_their_scalars)
{
	uint8_t base[97], negated[97];
	hex_bytes(base, sizeof(base), BASE_POINT);
	kms_p384 *one = hex_p384("01"), *last = hex_p384(ORDER_LESS_1);
	CHECK_MEM(kms_p384_public(one), base, 97);
	/* -G: the same x, another y. */
	memcpy(negated, kms_p384_public(last), 97);
	CHECK_MEM(negated, base, 49);
	CHECK(memcmp(negated + 49, base + 49, 48) != 0);
	kms_p384_free(one);
	kms_p384_free(last);
}

TEST(scalars_out_of_range_are_refused)
{
	static const char *const bad[] = {
		ZEROS,
		ORDER,
		"ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc5"
		"2974",
		"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
		"ffff",
		/* other lengths */
		"01",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
		"00000001",
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		kms_secret *scalar = hex_secret(bad[i]);
		kms_p384 *key = (kms_p384 *)scalar;
		CHECK_STATUS(KMS_ERR_PRIVATE_KEY, kms_p384_new(&key, scalar));
		CHECK(!key);
		kms_secret_unref(scalar);
	}
}

TEST(fresh_keys_differ_and_agree)
{
	kms_p384 *a, *b;
	kms_secret *ab, *ba;
	uint8_t parsed[97];
	CHECK_OK(kms_p384_generate(&a));
	CHECK_OK(kms_p384_generate(&b));
	CHECK(memcmp(kms_p384_public(a), kms_p384_public(b), 97) != 0);
	CHECK_OK(kms_p384_point_parse(parsed, kms_span_of(kms_p384_public(a), 97)));
	CHECK_OK(kms_p384_ecdh(&ab, a, kms_p384_public(b)));
	CHECK_OK(kms_p384_ecdh(&ba, b, kms_p384_public(a)));
	CHECK(kms_secret_equal(ab, ba));
	kms_secret_unref(ab);
	kms_secret_unref(ba);
	kms_p384_free(a);
	kms_p384_free(b);
}

TEST(points_are_read_from_hexadecimal)
{
	char text[2 + 2 * KMS_P384_DER + 2] = "0x";
	uint8_t der[KMS_P384_DER], parsed[97];
	kms_p384 *key = hex_p384("02");
	kms_p384_der(der, kms_p384_public(key));
	kms_hex_encode(text + 2, KMS_SPAN(der));
	text[2 + 2 * KMS_P384_DER] = text[3 + 2 * KMS_P384_DER] = '0';
	const size_t prefix = (size_t)2 * KMS_P384_PREFIX, whole = (size_t)2 * KMS_P384_DER;
	CHECK_OK(kms_p384_point_from_hex(parsed, kms_text_of(text, 2 + whole)));
	CHECK_MEM(parsed, kms_p384_public(key), 97);
	CHECK_OK(kms_p384_point_from_hex(parsed, kms_text_of(text + 2, whole)));
	CHECK_OK(kms_p384_point_from_hex(parsed, kms_text_of(text + 2 + prefix, whole - prefix)));
	CHECK_MEM(parsed, kms_p384_public(key), 97);
	CHECK_STATUS(KMS_ERR_PEER_KEY, kms_p384_point_from_hex(parsed, kms_text_of(text + 2, whole - 2)));
	CHECK_STATUS(KMS_ERR_PEER_KEY, kms_p384_point_from_hex(parsed, kms_text_of(text + 2, whole + 2)));
	CHECK_STATUS(KMS_ERR_HEX, kms_p384_point_from_hex(parsed, kms_text_of(text + 2, whole + 1)));
	CHECK_STATUS(KMS_ERR_PEER_KEY, kms_p384_point_from_hex(parsed, KMS_TEXT("")));
	text[100] = 'g';
	CHECK_STATUS(KMS_ERR_HEX, kms_p384_point_from_hex(parsed, kms_text_of(text + 2, whole)));
	text[100] = text[100] == '0' ? '1' : '0';
	CHECK_STATUS(KMS_ERR_PEER_KEY, kms_p384_point_from_hex(parsed, kms_text_of(text + 2, whole)));
	CHECK(parsed[0] == 0 && parsed[96] == 0);
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_p384_point_from_hex(NULL, kms_text_of(text, whole)));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_p384_point_from_hex(parsed, kms_text_of(NULL, whole)));
	kms_p384_free(key);
}

TEST(misuse_is_refused)
{
	kms_p384 *key = hex_p384("02");
	kms_p384 *none;
	kms_secret *x;
	uint8_t point[97];
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_p384_point_parse(NULL, kms_span_of(point, 97)));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_p384_point_parse(point, kms_span_of(NULL, 97)));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_p384_new(&none, NULL));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_p384_generate(NULL));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_p384_ecdh(&x, NULL, kms_p384_public(key)));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_p384_ecdh(&x, key, NULL));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_p384_ecdh(NULL, key, kms_p384_public(key)));
	kms_p384_free(NULL);
	kms_p384_free(key);
}

static bool is_memory_failure(kms_status status)
{
	return status == KMS_ERR_MEMORY || status == KMS_ERR_LOCKED_MEMORY;
}

/* Every allocation of a parse, a new key and an ECDH fails once. */
static void sweep_failures(int *failed_, const kms_secret *scalar, const uint8_t bytes[97])
{
	kms_status status = KMS_ERR_MEMORY;
	unsigned long n;
	bool ended = false;
	for (n = 1; n < 2000 && !ended; n++) {
		uint8_t point[97];
		kms_p384 *key = NULL;
		kms_secret *x = NULL;
		kms_mem_fail_after(n);
		status = kms_p384_point_parse(point, kms_span_of(bytes, sizeof(point)));
		if (status == KMS_OK) status = kms_p384_new(&key, scalar);
		if (status == KMS_OK) status = kms_p384_ecdh(&x, key, point);
		ended = sweep_ends(n);
		CHECK(status == KMS_OK || is_memory_failure(status));
		CHECK((status == KMS_OK) == (x != NULL));
		/* Else a later failure of this thread, of whatever cause, would pass for one of memory. */
		if (status != KMS_OK) CHECK(!kms_guarded_starved_openssl());
		kms_secret_unref(x);
		kms_p384_free(key);
	}
	CHECK(ended && n > 5 && status == KMS_OK);
}

TEST(failing_allocations_are_reported_as_such)
{
	uint8_t bytes[97];
	kms_secret *scalar = hex_secret(valid_cases[0].scalar);
	hex_bytes(bytes, sizeof(bytes), valid_cases[0].point);
	/* The first round also makes what OpenSSL keeps: the group and the texts of errors. */
	CALL(sweep_failures, scalar, bytes);
	size_t used = kms_guarded_used();
	CALL(sweep_failures, scalar, bytes);
	CHECK(kms_guarded_used() == used);
	kms_secret_unref(scalar);
}

typedef struct worker {
	pthread_t thread;
	const kms_p384 *key;
	const uint8_t *peer97;
	const kms_secret *want;
	int wrong;
} worker;

static void *derive_often(void *opaque)
{
	worker *w = opaque;
	for (int i = 0; i < 50; i++) {
		kms_secret *x = NULL;
		bool good = kms_p384_ecdh(&x, w->key, w->peer97) == KMS_OK && kms_secret_equal(x, w->want);
		w->wrong += !good;
		kms_secret_unref(x);
	}
	return NULL;
}

TEST(one_key_serves_several_threads)
{
	enum { THREADS = 4 };
	worker workers[THREADS];
	kms_p384 *a = hex_p384(valid_cases[0].scalar), *b = hex_p384("05");
	kms_secret *want;
	CHECK_OK(kms_p384_ecdh(&want, b, kms_p384_public(a)));
	for (size_t i = 0; i < THREADS; i++) {
		workers[i] = (worker){ .key = a, .peer97 = kms_p384_public(b), .want = want };
		CHECK(pthread_create(&workers[i].thread, NULL, derive_often, &workers[i]) == 0);
	}
	for (size_t i = 0; i < THREADS; i++)
		CHECK(pthread_join(workers[i].thread, NULL) == 0);
	for (size_t i = 0; i < THREADS; i++)
		CHECK(workers[i].wrong == 0);
	kms_secret_unref(want);
	kms_p384_free(a);
	kms_p384_free(b);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(ecdh_gives_the_published_secrets), T(points_off_the_curve_are_refused),
	  T(only_two_encodings_are_accepted), T(another_curve_of_the_same_size_is_refused),
	  T(public_points_belong_to_their_scalars), T(scalars_out_of_range_are_refused),
	  T(fresh_keys_differ_and_agree), T(points_are_read_from_hexadecimal), T(misuse_is_refused),
	  T(failing_allocations_are_reported_as_such), T(one_key_serves_several_threads))
