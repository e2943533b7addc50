/* For known answers of tests only. */
#ifndef KMS_CRYPTO_TESTING_H
#define KMS_CRYPTO_TESTING_H

#include "kms/sealed.h"

/* kms_master_seal with a given key and IV. */
kms_status kms_master_seal_with(kms_sealed *sealed, const kms_secret *master32,
				const uint8_t requester_point97[97], const kms_p384 *ephemeral,
				const uint8_t iv12[12]);

#endif
