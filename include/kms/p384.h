/*
 * A P-384 key: the key of an identity that decrypts (docs/protocol.md section 1). Its private half
 * lives in guarded memory.
 * Threads: any; a key never changes after creation.
 */
#ifndef KMS_P384_H
#define KMS_P384_H

#include "kms/secret.h"
#include "kms/view.h"

#define KMS_P384_DER 120   /* SubjectPublicKeyInfo (RFC 5480) */
#define KMS_P384_POINT 97  /* 0x04 || x || y (SEC 1) */
#define KMS_P384_PREFIX 23 /* the part of the DER before the point */

/*
 * A peer's public key from its SubjectPublicKeyInfo or its point. The prefix is compared, and the
 * point must be on the curve and not infinity (SP 800-56A section 5.6.2.3.4; the cofactor is 1).
 * Returns: KMS_OK; ERR_PEER_KEY; ERR_ARGUMENT; ERR_LOCKED_MEMORY; ERR_CRYPTO.
 */
kms_status kms_p384_point_parse(uint8_t point97[97], kms_span key);

/*
 * The same from hexadecimal text of any case, 0x optional.
 * Returns: as kms_p384_point_parse; ERR_HEX.
 */
kms_status kms_p384_point_from_hex(uint8_t point97[97], kms_text hex);

/* The SubjectPublicKeyInfo of a point. */
void kms_p384_der(uint8_t der120[120], const uint8_t point97[97]);

typedef struct kms_p384 kms_p384;

/*
 * A key of a private scalar, big-endian, which it copies.
 * Returns: KMS_OK; ERR_PRIVATE_KEY when the scalar is not 48 bytes long or outside 1 to n - 1;
 * ERR_ARGUMENT; ERR_MEMORY; ERR_LOCKED_MEMORY; ERR_CRYPTO.
 * Out: key - owned by the caller, free with kms_p384_free; NULL on failure.
 */
kms_status kms_p384_new(kms_p384 **key, const kms_secret *scalar48);

/*
 * A fresh key.
 * Returns, Out: as kms_p384_new; ERR_SYSTEM.
 */
kms_status kms_p384_generate(kms_p384 **key);
void kms_p384_free(kms_p384 *key);
KMS_DEFINE_RELEASE(kms_p384_release, kms_p384, kms_p384_free)

/* Its public point, 97 bytes: borrowed, valid as long as the key. */
const uint8_t *kms_p384_public(const kms_p384 *key);

/*
 * ECDH (SP 800-56A section 5.7.1.2): the x-coordinate of the shared point, big-endian.
 * Returns: KMS_OK; ERR_PEER_KEY when the point is not on the curve; ERR_ARGUMENT;
 * ERR_LOCKED_MEMORY; ERR_CRYPTO.
 * Out: x48 - one reference, released with kms_secret_unref; NULL on failure.
 */
kms_status kms_p384_ecdh(kms_secret **x48, const kms_p384 *key, const uint8_t point97[97]);

#endif
