/*
 * A library whose destructor waits for ever, for LD_PRELOAD: the program must end nevertheless.
 */
#include <unistd.h>

__attribute__((destructor)) static void wait_for_ever(void)
{
	for (;;)
		pause();
}
