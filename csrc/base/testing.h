/* Fault injection, for tests only. */
#ifndef KMS_BASE_TESTING_H
#define KMS_BASE_TESTING_H

#include "kms/kms.h"

/*
 * Makes the n-th allocation from now fail (1: the next), heap or guarded, on any thread; 0 turns it
 * off. Allocations of OpenSSL count too.
 */
void kms_mem_fail_after(unsigned long n);

/* Allocations since the last kms_mem_fail_after; 0 before the first. */
unsigned long kms_mem_allocations(void);

#endif
