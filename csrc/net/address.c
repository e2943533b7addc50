/* Classes of IP addresses after IANA's special-purpose registries (RFC 6890 and its updates). */
#include "kms/address.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <string.h>

#include "base/ensure.h"
#include "net/testing.h"

typedef struct range {
	uint8_t prefix[16];
	uint8_t bits;
	uint8_t address_class;
} range;

/* The first match decides. */
static const range ipv4_ranges[] = {
	{ { 0 }, 8, KMS_ADDRESS_RESERVED },             /* this network, RFC 791 */
	{ { 10 }, 8, KMS_ADDRESS_PRIVATE },             /* RFC 1918 */
	{ { 100, 64 }, 10, KMS_ADDRESS_SHARED },        /* RFC 6598 */
	{ { 127 }, 8, KMS_ADDRESS_LOOPBACK },           /* RFC 1122 */
	{ { 169, 254 }, 16, KMS_ADDRESS_LINK_LOCAL },   /* RFC 3927 */
	{ { 172, 16 }, 12, KMS_ADDRESS_PRIVATE },       /* RFC 1918 */
	{ { 192, 0, 0 }, 24, KMS_ADDRESS_RESERVED },    /* protocol assignments, RFC 6890 */
	{ { 192, 0, 2 }, 24, KMS_ADDRESS_RESERVED },    /* documentation, RFC 5737 */
	{ { 192, 88, 99 }, 24, KMS_ADDRESS_RESERVED },  /* 6to4 relays, RFC 7526 */
	{ { 192, 168 }, 16, KMS_ADDRESS_PRIVATE },      /* RFC 1918 */
	{ { 198, 18 }, 15, KMS_ADDRESS_RESERVED },      /* benchmarks, RFC 2544 */
	{ { 198, 51, 100 }, 24, KMS_ADDRESS_RESERVED }, /* documentation, RFC 5737 */
	{ { 203, 0, 113 }, 24, KMS_ADDRESS_RESERVED },  /* documentation, RFC 5737 */
	{ { 224 }, 4, KMS_ADDRESS_MULTICAST },          /* RFC 5771 */
	{ { 240 }, 4, KMS_ADDRESS_RESERVED },           /* RFC 1112, with the broadcast address */
};

static const range ipv6_ranges[] = {
	{ { [15] = 1 }, 128, KMS_ADDRESS_LOOPBACK },              /* RFC 4291 */
	{ { 0xfc }, 7, KMS_ADDRESS_PRIVATE },                     /* RFC 4193 */
	{ { 0xfe, 0x80 }, 10, KMS_ADDRESS_LINK_LOCAL },           /* RFC 4291 */
	{ { 0xfe, 0xc0 }, 10, KMS_ADDRESS_PRIVATE },              /* site-local, RFC 3879 */
	{ { 0xff }, 8, KMS_ADDRESS_MULTICAST },                   /* RFC 4291 */
	{ { 0x20, 0x01 }, 23, KMS_ADDRESS_RESERVED },             /* Teredo, ORCHID, RFC 2928 */
	{ { 0x20, 0x01, 0x0d, 0xb8 }, 32, KMS_ADDRESS_RESERVED }, /* documentation, RFC 3849 */
	{ { 0x3f, 0xff }, 20, KMS_ADDRESS_RESERVED },             /* documentation, RFC 9637 */
	{ { 0x20 }, 3, KMS_ADDRESS_PUBLIC },                      /* global unicast, RFC 4291 */
};

/* IPv6 prefixes that embed an IPv4 address directly after them. */
static const range carriers[] = {
	{ { [10] = 0xff, [11] = 0xff }, 96, 0 }, /* mapped, RFC 4291 */
	{ { 0x00, 0x64, 0xff, 0x9b }, 96, 0 },   /* NAT64, RFC 6052 */
	{ { 0x20, 0x02 }, 16, 0 },               /* 6to4, RFC 3056 */
};

static bool matches(const range *r, const uint8_t *bytes)
{
	size_t whole = r->bits / 8;
	uint8_t mask = (uint8_t)(0xff00 >> (r->bits % 8));
	if (memcmp(r->prefix, bytes, whole) != 0) return false;
	return r->bits % 8 == 0 || ((r->prefix[whole] ^ bytes[whole]) & mask) == 0;
}

static kms_address_class classify_in(const range *ranges, size_t count, const uint8_t *bytes,
				     kms_address_class otherwise)
{
	for (size_t i = 0; i < count; i++)
		if (matches(&ranges[i], bytes)) return (kms_address_class)ranges[i].address_class;
	return otherwise;
}

static kms_address_class classify_ipv4(const uint8_t bytes4[4])
{
	return classify_in(ipv4_ranges, KMS_ARRAY_LEN(ipv4_ranges), bytes4, KMS_ADDRESS_PUBLIC);
}

kms_address_class kms_address_classify(kms_span address)
{
	const uint8_t *bytes = address.bytes;
	if (!bytes) return KMS_ADDRESS_RESERVED;
	if (address.len == 4) return classify_ipv4(bytes);
	if (address.len != 16) return KMS_ADDRESS_RESERVED;
	for (size_t i = 0; i < KMS_ARRAY_LEN(carriers); i++)
		if (matches(&carriers[i], bytes)) return classify_ipv4(bytes + carriers[i].bits / 8);
	return classify_in(ipv6_ranges, KMS_ARRAY_LEN(ipv6_ranges), bytes, KMS_ADDRESS_RESERVED);
}

const char *kms_address_class_name(kms_address_class address_class)
{
	static const char *const names[] = { "public", "loopback",  "private", "link-local",
					     "shared", "multicast", "reserved" };
	size_t index = (size_t)address_class;
	return index < KMS_ARRAY_LEN(names) ? names[index] : "reserved";
}

static kms_status check_literal(const uint8_t *bytes, size_t len)
{
	bool is_public = kms_address_classify(kms_span_of(bytes, len)) == KMS_ADDRESS_PUBLIC;
	return is_public ? KMS_OK : KMS_ERR_ADDRESS_REFUSED;
}

/* Checks a host without brackets and final dot. */
static kms_status check_bare_host(const char *host)
{
	uint8_t bytes[16];
	if (inet_pton(AF_INET, host, bytes) == 1) return check_literal(bytes, 4);
	if (inet_pton(AF_INET6, host, bytes) == 1) return check_literal(bytes, 16);
	/* No top-level domain begins with a digit: a resolver would read an address. */
	const char *last = strrchr(host, '.');
	ENSURE(last && last != host, KMS_ERR_ADDRESS_REFUSED);
	ENSURE(last[1] && !isdigit((unsigned char)last[1]), KMS_ERR_ADDRESS_REFUSED);
	ENSURE(!strpbrk(host, ":[]%"), KMS_ERR_ADDRESS_REFUSED);
	return KMS_OK;
}

kms_status kms_address_check_host(const char *host)
{
	char bare[256];
	ENSURE_REF(host);
	size_t len = strlen(host);
	if (len >= 2 && host[0] == '[' && host[len - 1] == ']') {
		host++;
		len -= 2;
	} else if (len > 0 && host[len - 1] == '.') {
		len--;
	}
	ENSURE(len > 0 && len < sizeof(bare), KMS_ERR_ADDRESS_REFUSED);
	memcpy(bare, host, len);
	bare[len] = '\0';
	return check_bare_host(bare);
}
