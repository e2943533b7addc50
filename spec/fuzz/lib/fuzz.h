/*
 * What the fuzz targets share. A target is one file, spec/fuzz/fuzz_<decoder>.c, that defines the two
 * functions below. `make fuzz` links it with libFuzzer; replay.c gives it a main() of its own for `make
 * test`.
 */
#ifndef KMS_SPEC_FUZZ_H
#define KMS_SPEC_FUZZ_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kms/buf.h"
#include "kms/crypto.h"

#define FUZZ_MAX_INPUT 8192 /* bytes */

/*
 * Decodes one input and checks what must hold of the result (HOLDS). The result of a decoder never
 * depends on an earlier input.
 * Returns: 0, as libFuzzer prescribes.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Makes the first inputs of the corpus, valid ones above all, with fuzz_seed. */
void fuzz_seeds(void);

/* Kinds of input that the target tells apart. The seeds must hold a valid one of each, or the replay fails.
 */
extern const unsigned fuzz_kinds;

/* ---- for the targets ---- */

/* Ends the program, which libFuzzer and spec/run report, unless the condition holds. */
#define HOLDS(cond)                                                                              \
	do {                                                                                     \
		if (!(cond)) {                                                                   \
			fprintf(stderr, "%s:%d: HOLDS(%s) failed\n", __FILE__, __LINE__, #cond); \
			abort();                                                                 \
		}                                                                                \
	} while (0)

#define HOLDS_OK(call) HOLDS((call) == KMS_OK)

/* Adds an input to the corpus: `choice`, the first byte of targets with several decoders, and the rest. */
void fuzz_seed(kms_span input);
void fuzz_seed_choice(uint8_t choice, kms_span rest);
#define FUZZ_SEED(literal) fuzz_seed(KMS_BYTES(literal))

/* Notes that a decoder accepted an input of this kind, from 0. */
void fuzz_accept(unsigned kind);

/* A copy in a block of exactly `bytes.len`, so that AddressSanitizer sees an access beyond it. */
kms_buf fuzz_copy(kms_buf_kind kind, kms_span bytes);

/* Whether a view lies within the bytes; absent and empty ones do. */
bool fuzz_within(kms_span part, kms_span whole);

/* Guarded memory and crypto. Harmless when repeated. */
void fuzz_start(void);

/* ---- for replay.c ---- */

typedef void fuzz_sink(kms_span input);

/* Whether an input of every kind was accepted. */
bool fuzz_all_accepted(void);

/* Hands every seed of the target to `sink`. */
void fuzz_each_seed(fuzz_sink *sink);

#endif
