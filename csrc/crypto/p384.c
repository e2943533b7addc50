/*
 * P-384 with OpenSSL's EC_POINT functions. The group is made once and a key keeps its scalar, so
 * that an ECDH is one multiplication: the Montgomery ladder of OpenSSL's own ECDH, constant time
 * and blinded, without the fetches, parameter lists and second key check of EVP_PKEY_derive.
 * OpenSSL's heap is the guarded arena.
 */
#include <stdatomic.h>
#include <string.h>

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/ecerr.h>
#include <openssl/err.h>
#include <openssl/obj_mac.h>

#include "base/declassify.h"
#include "base/mem.h"
#include "base/ensure.h"
#include "crypto/crypto.h"
#include "kms/codec.h"
#include "kms/crypto.h"
#include "kms/p384.h"

#define SCALAR_BYTES 48

struct kms_p384 {
	BIGNUM *scalar; /* constant-time flag set; only read after creation */
	uint8_t public97[KMS_P384_POINT];
};

/* SEQUENCE { SEQUENCE { id-ecPublicKey, secp384r1 }, BIT STRING of 97 bytes (RFC 5480) }. */
static const uint8_t spki_prefix[KMS_P384_PREFIX] = {
	0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02,
	0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22, 0x03, 0x62, 0x00,
};

/* n, the order of the base point (FIPS 186-5, SP 800-186 section 3.2.1.4). */
static const uint8_t group_order[SCALAR_BYTES] = {
	0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xc7, 0x63, 0x4d, 0x81, 0xf4, 0x37, 0x2d, 0xdf,
	0x58, 0x1a, 0x0d, 0xb2, 0x48, 0xb0, 0xa7, 0x7a, 0xec, 0xec, 0x19, 0x6a, 0xcc, 0xc5, 0x29, 0x73,
};

KMS_DEFINE_RELEASE(point_release, EC_POINT, EC_POINT_clear_free)
KMS_DEFINE_RELEASE(number_context_release, BN_CTX, BN_CTX_free)

/* Made by the first caller and kept for the life of the process; NULL without memory. */
static const EC_GROUP *shared_group(void)
{
	static _Atomic(EC_GROUP *) shared;
	EC_GROUP *group = atomic_load(&shared);
	if (group) return group;
	EC_GROUP *made = EC_GROUP_new_by_curve_name(NID_secp384r1);
	if (!made || atomic_compare_exchange_strong(&shared, &group, made)) return made;
	EC_GROUP_free(made);
	return group;
}

/* 1 to n - 1, in time that does not depend on the scalar. */
static bool scalar_in_range(const uint8_t scalar48[SCALAR_BYTES])
{
	unsigned any = 0, borrow = 0;
	for (size_t i = SCALAR_BYTES; i-- > 0;) {
		any |= scalar48[i];
		borrow = ((unsigned)scalar48[i] - group_order[i] - borrow) >> 8 & 1;
	}
	unsigned good = (any + 0xff) >> 8 & borrow;
	KMS_DECLASSIFY(good);
	return good;
}

/* Whether OpenSSL's first error was about the point; its last one is the same without memory. */
static bool point_was_refused(void)
{
	unsigned long error = ERR_peek_error();
	int reason = ERR_GET_REASON(error);
	return ERR_GET_LIB(error) == ERR_LIB_EC &&
	       (reason == EC_R_POINT_IS_NOT_ON_CURVE || reason == EC_R_INVALID_ENCODING);
}

/* The point, shown to be on the curve; the encoding has no infinity at this length. */
static kms_status point_from_bytes(EC_POINT **point, const EC_GROUP *group, const uint8_t point97[97],
				   BN_CTX *numbers)
{
	ENSURE(point97[0] == POINT_CONVERSION_UNCOMPRESSED, KMS_ERR_PEER_KEY);
	DEFER(point_release) EC_POINT *made = EC_POINT_new(group);
	ENSURE(made, kms_openssl_failure());
	ERR_clear_error();
	if (EC_POINT_oct2point(group, made, point97, KMS_P384_POINT, numbers) != 1) {
		bool refused = point_was_refused();
		kms_status failure = kms_openssl_failure();
		return refused ? KMS_ERR_PEER_KEY : failure;
	}
	*point = made;
	made = NULL;
	return KMS_OK;
}

kms_status kms_p384_point_parse(uint8_t point97[97], kms_span key)
{
	ENSURE_REF(point97);
	memset(point97, 0, KMS_P384_POINT);
	ENSURE_REF(key.bytes);
	if (key.len == KMS_P384_DER) {
		ENSURE(memcmp(key.bytes, spki_prefix, KMS_P384_PREFIX) == 0, KMS_ERR_PEER_KEY);
		key = kms_span_of(key.bytes + KMS_P384_PREFIX, KMS_P384_POINT);
	}
	ENSURE(key.len == KMS_P384_POINT, KMS_ERR_PEER_KEY);

	const EC_GROUP *group = shared_group();
	DEFER(number_context_release) BN_CTX *numbers = BN_CTX_new();
	DEFER(point_release) EC_POINT *point = NULL;
	ENSURE(group && numbers, kms_openssl_failure());
	GUARD(point_from_bytes(&point, group, key.bytes, numbers));
	memcpy(point97, key.bytes, KMS_P384_POINT);
	return KMS_OK;
}

kms_status kms_p384_point_from_hex(uint8_t point97[97], kms_text hex)
{
	uint8_t bytes[KMS_P384_DER];
	ENSURE_REF(point97);
	memset(point97, 0, KMS_P384_POINT);
	ENSURE_REF(hex.text);
	hex = kms_hex_strip(hex);
	size_t size = hex.len / 2;
	ENSURE(size == KMS_P384_DER || size == KMS_P384_POINT, KMS_ERR_PEER_KEY);
	GUARD(kms_hex_decode(kms_out_of(bytes, size), hex));
	return kms_p384_point_parse(point97, kms_span_of(bytes, size));
}

void kms_p384_der(uint8_t der120[120], const uint8_t point97[97])
{
	memcpy(der120, spki_prefix, KMS_P384_PREFIX);
	memcpy(der120 + KMS_P384_PREFIX, point97, KMS_P384_POINT);
}

/* scalar * base point (`point` NULL) or scalar * point, as 97 bytes. */
static kms_status multiply(uint8_t out97[97], const EC_GROUP *group, const BIGNUM *scalar,
			   const EC_POINT *point, BN_CTX *numbers)
{
	DEFER(point_release) EC_POINT *product = EC_POINT_new(group);
	ENSURE(product, kms_openssl_failure());
	int good = point ? EC_POINT_mul(group, product, NULL, point, scalar, numbers)
			 : EC_POINT_mul(group, product, scalar, NULL, NULL, numbers);
	int infinite = EC_POINT_is_at_infinity(group, product);
	KMS_DECLASSIFY(infinite);
	ENSURE(good == 1, kms_openssl_failure());
	ENSURE(!infinite, KMS_ERR_CRYPTO);
	size_t len =
	    EC_POINT_point2oct(group, product, POINT_CONVERSION_UNCOMPRESSED, out97, KMS_P384_POINT, numbers);
	ENSURE(len == KMS_P384_POINT, kms_openssl_failure());
	return KMS_OK;
}

kms_status kms_p384_new(kms_p384 **key, const kms_secret *scalar48)
{
	ENSURE_REF(key);
	*key = NULL;
	ENSURE_REF(scalar48);
	ENSURE(kms_secret_len(scalar48) == SCALAR_BYTES, KMS_ERR_PRIVATE_KEY);
	const uint8_t *bytes = kms_secret_bytes(scalar48);
	ENSURE(scalar_in_range(bytes), KMS_ERR_PRIVATE_KEY);

	const EC_GROUP *group = shared_group();
	DEFER(number_context_release) BN_CTX *numbers = BN_CTX_new();
	ENSURE(group && numbers, kms_openssl_failure());
	DEFER(kms_p384_release) kms_p384 *made = kms_heap_alloc(1, sizeof(*made));
	ENSURE(made, KMS_ERR_MEMORY);
	made->scalar = BN_new();
	ENSURE(made->scalar, kms_openssl_failure());
	BN_set_flags(made->scalar, BN_FLG_CONSTTIME);
	ENSURE(BN_bin2bn(bytes, SCALAR_BYTES, made->scalar), kms_openssl_failure());
	GUARD(multiply(made->public97, group, made->scalar, NULL, numbers));
	*key = made;
	made = NULL;
	return KMS_OK;
}

/* Rejection sampling (FIPS 186-5 A.2.2); a second round has a chance of 2^-190. */
kms_status kms_p384_generate(kms_p384 **key)
{
	ENSURE_REF(key);
	*key = NULL;
	kms_status status = KMS_ERR_PRIVATE_KEY;
	for (int round = 0; round < 4 && status == KMS_ERR_PRIVATE_KEY; round++) {
		DEFER(kms_secret_release) kms_secret *scalar = NULL;
		GUARD(kms_secret_random(&scalar, SCALAR_BYTES));
		status = kms_p384_new(key, scalar);
	}
	return status;
}

void kms_p384_free(kms_p384 *key)
{
	if (!key) return;
	BN_clear_free(key->scalar);
	kms_heap_free(key);
}

const uint8_t *kms_p384_public(const kms_p384 *key)
{
	return key->public97;
}

kms_status kms_p384_ecdh(kms_secret **x48, const kms_p384 *key, const uint8_t point97[97])
{
	ENSURE_REF(x48);
	*x48 = NULL;
	ENSURE_REF(key);
	ENSURE_REF(point97);
	const EC_GROUP *group = shared_group();
	DEFER(number_context_release) BN_CTX *numbers = BN_CTX_new();
	DEFER(point_release) EC_POINT *peer = NULL;
	DEFER(kms_guarded_release) uint8_t *shared = kms_guarded_alloc(KMS_P384_POINT);
	ENSURE(group && numbers, kms_openssl_failure());
	ENSURE(shared, KMS_ERR_LOCKED_MEMORY);
	GUARD(point_from_bytes(&peer, group, point97, numbers));
	GUARD(multiply(shared, group, key->scalar, peer, numbers));
	return kms_secret_new(x48, kms_span_of(shared + 1, SCALAR_BYTES));
}
