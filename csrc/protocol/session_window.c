#include "protocol/session_window_internal.h"

#include "base/ensure.h"

#define WORD_BITS 64

_Static_assert(KMS_SESSION_WINDOW % WORD_BITS == 0, "the window is whole words");

static inline uint64_t bit_of(uint64_t seq)
{
	return UINT64_C(1) << seq % WORD_BITS;
}

static inline size_t word_of(uint64_t seq)
{
	return seq / WORD_BITS % SESSION_WINDOW_WORDS;
}

bool kms_session_window_is_new(const session_window *window, uint64_t seq)
{
	ENSURE(seq >= 1 && seq <= KMS_SESSION_MAX_SEQ, false);
	if (seq > window->highest) return true;
	ENSURE(window->highest - seq <= KMS_SESSION_WINDOW, false);
	return !(window->words[word_of(seq)] & bit_of(seq));
}

/* Clears the words between the highest number's and the new one's, which still have bits of earlier laps. */
static void advance(session_window *window, uint64_t seq)
{
	uint64_t words = seq / WORD_BITS - window->highest / WORD_BITS;
	if (words > SESSION_WINDOW_WORDS) words = SESSION_WINDOW_WORDS;
	for (uint64_t back = 0; back < words; back++)
		window->words[word_of(seq - back * WORD_BITS)] = 0;
	window->highest = seq;
}

bool kms_session_window_mark(session_window *window, uint64_t seq)
{
	ENSURE(kms_session_window_is_new(window, seq), false);
	if (seq > window->highest) advance(window, seq);
	window->words[word_of(seq)] |= bit_of(seq);
	return true;
}
