/* The configuration of a store in tests, without anything else. */
#ifndef KMS_SPEC_STORE_CONFIG_H
#define KMS_SPEC_STORE_CONFIG_H

#include "kms/store.h"

#define SKEW 15000            /* milliseconds */
#define RETENTION 86400000ull /* milliseconds */

/* A small one, of a node whose wallet begins with this byte. */
static inline kms_store_config kit_config(uint8_t self)
{
	return (kms_store_config){
		.self20 = { self },
		.max_key = 4096,
		.max_value = 1u << 20,
		.max_app_bytes = 10u << 20,
		.max_total_bytes = 512u << 20,
		.max_namespaces = 100,
		.max_tombstones = 1000,
		.tombstone_retention_ms = RETENTION,
		.max_clock_skew_ms = SKEW,
	};
}

#endif
