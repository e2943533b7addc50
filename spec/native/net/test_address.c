/* Classes of IP addresses, and hosts for a proxy (kms/address.h). */
#include <arpa/inet.h>

#include "base/ensure.h"
#include "net/testing.h"
#include "test.h"

typedef struct expectation {
	const char *text;
	kms_address_class address_class;
} expectation;

#define PUBLIC KMS_ADDRESS_PUBLIC
#define LOOPBACK KMS_ADDRESS_LOOPBACK
#define PRIVATE KMS_ADDRESS_PRIVATE
#define LINK_LOCAL KMS_ADDRESS_LINK_LOCAL
#define SHARED KMS_ADDRESS_SHARED
#define MULTICAST KMS_ADDRESS_MULTICAST
#define RESERVED KMS_ADDRESS_RESERVED

/* The first and last address of each range of the IANA registries, and their neighbours. */
static const expectation ipv4[] = {
	{ "0.0.0.0", RESERVED },
	{ "0.255.255.255", RESERVED },
	{ "1.0.0.0", PUBLIC },
	{ "9.255.255.255", PUBLIC },
	{ "10.0.0.0", PRIVATE },
	{ "10.255.255.255", PRIVATE },
	{ "11.0.0.0", PUBLIC },
	{ "100.63.255.255", PUBLIC },
	{ "100.64.0.0", SHARED },
	{ "100.127.255.255", SHARED },
	{ "100.128.0.0", PUBLIC },
	{ "126.255.255.255", PUBLIC },
	{ "127.0.0.0", LOOPBACK },
	{ "127.0.0.1", LOOPBACK },
	{ "127.255.255.255", LOOPBACK },
	{ "128.0.0.0", PUBLIC },
	{ "169.253.255.255", PUBLIC },
	{ "169.254.0.0", LINK_LOCAL },
	{ "169.254.169.254", LINK_LOCAL },
	{ "169.254.255.255", LINK_LOCAL },
	{ "169.255.0.0", PUBLIC },
	{ "172.15.255.255", PUBLIC },
	{ "172.16.0.0", PRIVATE },
	{ "172.31.255.255", PRIVATE },
	{ "172.32.0.0", PUBLIC },
	{ "191.255.255.255", PUBLIC },
	{ "192.0.0.0", RESERVED },
	{ "192.0.0.255", RESERVED },
	{ "192.0.1.0", PUBLIC },
	{ "192.0.1.255", PUBLIC },
	{ "192.0.2.0", RESERVED },
	{ "192.0.2.255", RESERVED },
	{ "192.0.3.0", PUBLIC },
	{ "192.88.98.255", PUBLIC },
	{ "192.88.99.0", RESERVED },
	{ "192.88.99.255", RESERVED },
	{ "192.88.100.0", PUBLIC },
	{ "192.167.255.255", PUBLIC },
	{ "192.168.0.0", PRIVATE },
	{ "192.168.255.255", PRIVATE },
	{ "192.169.0.0", PUBLIC },
	{ "198.17.255.255", PUBLIC },
	{ "198.18.0.0", RESERVED },
	{ "198.19.255.255", RESERVED },
	{ "198.20.0.0", PUBLIC },
	{ "198.51.99.255", PUBLIC },
	{ "198.51.100.0", RESERVED },
	{ "198.51.100.255", RESERVED },
	{ "198.51.101.0", PUBLIC },
	{ "203.0.112.255", PUBLIC },
	{ "203.0.113.0", RESERVED },
	{ "203.0.113.255", RESERVED },
	{ "203.0.114.0", PUBLIC },
	{ "223.255.255.255", PUBLIC },
	{ "224.0.0.0", MULTICAST },
	{ "239.255.255.255", MULTICAST },
	{ "240.0.0.0", RESERVED },
	{ "255.255.255.254", RESERVED },
	{ "255.255.255.255", RESERVED },
};

static const expectation ipv6[] = {
	{ "::", RESERVED },
	{ "::1", LOOPBACK },
	{ "::2", RESERVED },
	{ "::127.0.0.1", RESERVED },
	{ "::8.8.8.8", RESERVED },
	{ "64:ff9b:1::", RESERVED },
	{ "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", RESERVED },
	{ "100::", RESERVED },
	{ "100::ffff:ffff:ffff:ffff", RESERVED },
	{ "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", RESERVED },
	{ "2000::", PUBLIC },
	{ "2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff", PUBLIC },
	{ "2001::", RESERVED },
	{ "2001:0:4136:e378:8000:63bf:3fff:fdd2", RESERVED },
	{ "2001:2::", RESERVED },
	{ "2001:10::", RESERVED },
	{ "2001:20::", RESERVED },
	{ "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", RESERVED },
	{ "2001:200::", PUBLIC },
	{ "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", PUBLIC },
	{ "2001:db8::", RESERVED },
	{ "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", RESERVED },
	{ "2001:db9::", PUBLIC },
	{ "2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff", PUBLIC },
	{ "2003::", PUBLIC },
	{ "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff", PUBLIC },
	{ "3fff::", RESERVED },
	{ "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", RESERVED },
	{ "3fff:1000::", PUBLIC },
	{ "3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", PUBLIC },
	{ "4000::", RESERVED },
	{ "5f00::", RESERVED },
	{ "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", RESERVED },
	{ "fc00::", PRIVATE },
	{ "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", PRIVATE },
	{ "fe00::", RESERVED },
	{ "fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff", RESERVED },
	{ "fe80::", LINK_LOCAL },
	{ "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", LINK_LOCAL },
	{ "fec0::", PRIVATE },
	{ "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", PRIVATE },
	{ "ff00::", MULTICAST },
	{ "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", MULTICAST },
	/* Around the forms that carry an IPv4 address. */
	{ "::fffe:ffff:ffff", RESERVED },
	{ "::1:0:0:0", RESERVED },
	{ "64:ff9a:ffff:ffff:ffff:ffff:ffff:ffff", RESERVED },
	{ "64:ff9b::1:0:0", RESERVED },
	{ "2002:7eff:ffff:ffff:ffff:ffff:ffff:ffff", PUBLIC },
	{ "2002:7f00::", LOOPBACK },
	{ "2002:7fff:ffff:ffff:ffff:ffff:ffff:ffff", LOOPBACK },
	{ "2002:8000::", PUBLIC },
	{ "2002:c0a8:101::1", PRIVATE },
	{ "2002::", RESERVED },
	{ "2002:ffff:ffff::", RESERVED },
};

static void check_text(int *failed_, int family, const char *text, kms_address_class want)
{
	uint8_t bytes[16];
	CHECK(inet_pton(family, text, bytes) == 1);
	kms_address_class got = kms_address_classify(kms_span_of(bytes, family == AF_INET ? 4 : 16));
	if (got != want)
		fprintf(stderr, "%s is %s, not %s\n", text, kms_address_class_name(got),
			kms_address_class_name(want));
	CHECK(got == want);
}

TEST(ipv4_ranges_at_their_borders)
{
	for (size_t i = 0; i < KMS_ARRAY_LEN(ipv4); i++)
		CALL(check_text, AF_INET, ipv4[i].text, ipv4[i].address_class);
}

TEST(ipv6_ranges_at_their_borders)
{
	for (size_t i = 0; i < KMS_ARRAY_LEN(ipv6); i++)
		CALL(check_text, AF_INET6, ipv6[i].text, ipv6[i].address_class);
}

TEST(an_embedded_ipv4_address_decides_the_class)
{
	for (size_t i = 0; i < KMS_ARRAY_LEN(ipv4); i++) {
		uint8_t v4[4], mapped[16] = { 0 }, nat64[16] = { 0x00, 0x64, 0xff, 0x9b };
		uint8_t six_to_four[16] = { 0x20, 0x02, [15] = 1 };
		CHECK(inet_pton(AF_INET, ipv4[i].text, v4) == 1);
		mapped[10] = mapped[11] = 0xff;
		memcpy(mapped + 12, v4, 4);
		memcpy(nat64 + 12, v4, 4);
		memcpy(six_to_four + 2, v4, 4);
		CHECK(kms_address_classify(KMS_SPAN(mapped)) == ipv4[i].address_class);
		CHECK(kms_address_classify(KMS_SPAN(nat64)) == ipv4[i].address_class);
		CHECK(kms_address_classify(KMS_SPAN(six_to_four)) == ipv4[i].address_class);
	}
}

TEST(other_lengths_are_reserved)
{
	uint8_t bytes[17] = { 8, 8, 8, 8 };
	for (size_t len = 0; len <= sizeof(bytes); len++)
		if (len != 4 && len != 16) CHECK(kms_address_classify(kms_span_of(bytes, len)) == RESERVED);
	CHECK(kms_address_classify(kms_span_of(bytes, 4)) == PUBLIC);
	CHECK(kms_address_classify(kms_span_of(NULL, 4)) == RESERVED);
}

TEST(class_names)
{
	CHECK(strcmp(kms_address_class_name(PUBLIC), "public") == 0);
	CHECK(strcmp(kms_address_class_name(LINK_LOCAL), "link-local") == 0);
	CHECK(strcmp(kms_address_class_name(RESERVED), "reserved") == 0);
	CHECK(strcmp(kms_address_class_name((kms_address_class)7), "reserved") == 0);
}

TEST(hosts_for_a_proxy)
{
	static const char *const fine[] = {
		"node.example.org", "node.example.org.",    "8.8.8.8", "8.8.8.8.",
		"2606:4700::1111",  "[2606:4700::1111]",    "a.b",     "1.2.3.example",
		"[::ffff:8.8.8.8]", "xn--bcher-kva.example"
	};
	static const char *const refused[] = {
		"",
		".",
		"localhost",
		"localhost.",
		"metadata",
		"127.0.0.1",
		"127.0.0.1.",
		"10.1.2.3",
		"127.1",
		"0x7f.0.0.1",
		"2130706433",
		"0177.0.0.1",
		"1.2.3.4.5",
		"[::1]",
		"::1",
		"[fe80::1%eth0]",
		"fe80::1%eth0.x",
		"[::ffff:10.0.0.1]",
		"[::1",
		"::1]",
		"[]",
		"[",
		".example",
		"example..",
		"[8.8.8.8]x",
		"a.b:80",
	};
	char longest[257];
	for (size_t i = 0; i < KMS_ARRAY_LEN(fine); i++)
		CHECK_OK(kms_address_check_host(fine[i]));
	for (size_t i = 0; i < KMS_ARRAY_LEN(refused); i++) {
		if (kms_address_check_host(refused[i]) == KMS_OK) fprintf(stderr, "took %s\n", refused[i]);
		CHECK_STATUS(KMS_ERR_ADDRESS_REFUSED, kms_address_check_host(refused[i]));
	}
	memset(longest, 'a', sizeof(longest));
	longest[100] = '.';
	longest[255] = '\0';
	CHECK_OK(kms_address_check_host(longest));
	longest[255] = 'a';
	longest[256] = '\0';
	CHECK_STATUS(KMS_ERR_ADDRESS_REFUSED, kms_address_check_host(longest));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_address_check_host(NULL));
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(ipv4_ranges_at_their_borders), T(ipv6_ranges_at_their_borders),
	  T(an_embedded_ipv4_address_decides_the_class), T(other_lengths_are_reserved), T(class_names),
	  T(hosts_for_a_proxy))
