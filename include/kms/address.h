/*
 * The class of an IP address, so that a URL from somebody else cannot lead a connection into this
 * host or its networks (docs/protocol.md section 11).
 * Threads: any; no state.
 */
#ifndef KMS_ADDRESS_H
#define KMS_ADDRESS_H

#include "kms/view.h"

typedef enum kms_address_class {
	KMS_ADDRESS_PUBLIC = 0, /* the only class that an untrusted URL may lead to */
	KMS_ADDRESS_LOOPBACK,
	KMS_ADDRESS_PRIVATE,    /* RFC 1918, unique local, site-local */
	KMS_ADDRESS_LINK_LOCAL, /* among them cloud metadata services */
	KMS_ADDRESS_SHARED,     /* carrier-grade NAT, RFC 6598 */
	KMS_ADDRESS_MULTICAST,
	KMS_ADDRESS_RESERVED, /* the rest of IANA's special-purpose registries, and malformed addresses */
} kms_address_class;

/*
 * The class of an address in network byte order. An IPv6 address that embeds an IPv4 address
 * (mapped, 64:ff9b::/96, 2002::/16) has the class of the embedded one. Of the other IPv6
 * addresses only 2000::/3 is PUBLIC, without its special ranges.
 * In: address - 4 bytes (IPv4) or 16 (IPv6); any other length is RESERVED.
 */
kms_address_class kms_address_classify(kms_span address);

/*
 * Checks the host of a URL that a proxy will resolve: it must not be openly special. Refused are
 * literal addresses that are not PUBLIC (IPv6 with or without brackets), names of a single label
 * ("localhost"), other spellings of numbers ("127.1", "0x7f.0.0.1") and the empty text. A final dot is
 * ignored.
 * Returns: KMS_OK; ERR_ADDRESS_REFUSED.
 */
kms_status kms_address_check_host(const char *host);

#endif
