/*
 * A P-384 key: the key of an identity that decrypts (docs/protocol.md section 1). Its private half lives in
 * guarded memory. A key never changes after creation and may be used from several threads at once.
 */
#ifndef KMS_P384_H
#define KMS_P384_H

#include "kms/secret.h"

#define KMS_P384_DER 120   /* SubjectPublicKeyInfo */
#define KMS_P384_POINT 97  /* 0x04 || x || y (SEC1) */
#define KMS_P384_PREFIX 23 /* the part of the DER before the point */

/*
 * A peer's public key: exactly the 120-byte SPKI of a P-384 key or its 97-byte point. Checked
 * against the fixed prefix, and the point to be on the curve and not infinity
 * (SP 800-56A 5.6.2.3.4; the cofactor is 1). Else ERR_PEER_KEY.
 */
kms_status kms_p384_point_parse(uint8_t point97[97], const uint8_t *bytes, size_t len);
/* The same from hexadecimal text of any case, 0x optional; ERR_PEER_KEY, ERR_HEX. */
kms_status kms_p384_point_from_hex(uint8_t point97[97], const char *text, size_t len);
/* SPKI of a point. */
void kms_p384_der(uint8_t der120[120], const uint8_t point97[97]);

typedef struct kms_p384 kms_p384;

/* From a 48-byte scalar, big-endian, 1 to n - 1 (ERR_PRIVATE_KEY). */
kms_status kms_p384_new(kms_p384 **key, const kms_secret *scalar48);
/* A fresh key, as for one sealed exchange. */
kms_status kms_p384_generate(kms_p384 **key);
void kms_p384_free(kms_p384 *key);
/* Its public point; borrowed, lives as long as the key. */
const uint8_t *kms_p384_public(const kms_p384 *key);

/*
 * ECDH (SP 800-56A, cofactor 1): x-coordinate, 48 bytes big-endian.
 * In: point97 - already accepted by kms_p384_point_parse (checked again by OpenSSL).
 */
kms_status kms_p384_ecdh(kms_secret **x48, const kms_p384 *key, const uint8_t point97[97]);

#endif
