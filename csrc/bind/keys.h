/* Keys as other topics take them. */
#ifndef BIND_KEYS_H
#define BIND_KEYS_H

#include "bind/bind.h"
#include "kms/p384.h"
#include "kms/wallet.h"

extern const bind_type bind_wallet_type;   /* kms_wallet */
extern const bind_type bind_p384_type;     /* kms_p384 */
extern const bind_type bind_channels_type; /* kms_channels */

#endif
