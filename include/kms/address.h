/*
 * What kind of place an IP address is, so that a name or URL that somebody else chose cannot
 * lead a connection into this host or its networks (docs/protocol.md section 11). Stateless.
 */
#ifndef KMS_ADDRESS_H
#define KMS_ADDRESS_H

#include "kms/kms.h"

typedef enum kms_address_class {
	KMS_ADDRESS_PUBLIC = 0, /* the only one that a foreign URL may lead to */
	KMS_ADDRESS_LOOPBACK,
	KMS_ADDRESS_PRIVATE,    /* RFC 1918, unique local, site-local */
	KMS_ADDRESS_LINK_LOCAL, /* cloud metadata services live here */
	KMS_ADDRESS_SHARED,     /* carrier-grade NAT, RFC 6598 */
	KMS_ADDRESS_MULTICAST,
	KMS_ADDRESS_RESERVED, /* all others of the IANA special-purpose registries, and no address */
} kms_address_class;

/*
 * Class of an address in network byte order: 4 bytes (IPv4) or 16 (IPv6); any other length is
 * RESERVED. An IPv6 address that stands for an IPv4 one (mapped, 64:ff9b::/96, 2002::/16)
 * is what that one is. Of the others only 2000::/3 is PUBLIC, less its special ranges.
 */
kms_address_class kms_address_classify(const uint8_t *bytes, size_t len);

/* "public", "loopback", ...: a static string. */
const char *kms_address_class_name(kms_address_class address_class);

/*
 * For hosts that somebody else resolves (a proxy): whether this text, the host of a URL, is at
 * least not openly special. Refused with ERR_ADDRESS_REFUSED: literal addresses that are not
 * PUBLIC (IPv6 with or without brackets), names of a single label ("localhost"), other
 * spellings of numbers ("127.1", "0x7f.0.0.1"), the empty text. A final dot changes nothing.
 */
kms_status kms_address_check_host(const char *host);

#endif
