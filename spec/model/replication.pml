/*
 * Replication between members (docs/protocol.md sections 8 and 9): vector clocks, last writer wins, evictions,
 * a restart that loses a store, messages that are lost, repeated and overtaken. Exhaustive over small cases.
 *
 * Once messages flow again, all members must hold the same version of each key, and it must be the newest write
 * that a member with its store still held: no acknowledged write is lost, no delete comes back.
 *
 * FAULT_COUNTER, FAULT_TIE and FAULT_STUB plant a fault each; the checker must find it. Keys do not depend on each
 * other here, so that one is enough.
 */
#ifndef WRITES
#define WRITES 3 /* at most 3 */
#endif
#define NODES 3
#ifndef KEYS
#define KEYS 1
#endif
#define SLOTS 1 /* messages under way at a time */
#ifndef SENDS
#define SENDS 3
#endif

#define NOTHING 0
#define VALUE 1
#define TOMBSTONE 2
#define STUB 3 /* of an evicted value: its fingerprint stays */

/* `mark` stands for the ciphertext, or for its fingerprint: it decides between equal stamps. */
typedef record {
	byte state;
	byte stamp;
	byte mark;
	byte clock[NODES];
}

typedef store {
	record keys[KEYS];
}

typedef message {
	bool used;
	byte dest;
	byte about;
	record content;
}

typedef written {
	byte about;
	byte stamp;
	byte mark;
	byte node;
	bool excused; /* no other member held it when its node lost its store */
}

store nodes[NODES];
message slots[SLOTS];
written writes[3];
byte write_count, sends, restarts, evictions, other;
byte now = 1; /* the wall clock: no two writes at one node share a moment, those of two nodes may */
byte last[NODES];

#define held(n, k) nodes[n].keys[k]

/* Whether stamp and mark of a are larger than those of b. */
#define larger(a_stamp, a_mark, b_stamp, b_mark) \
	((a_stamp) > (b_stamp) || ((a_stamp) == (b_stamp) && (a_mark) > (b_mark)))

#define max(a, b) ((a) > (b) -> (a) : (b))

#define copy_record(to, from) \
	to.state = from.state; to.stamp = from.stamp; to.mark = from.mark; to.clock[0] = from.clock[0]; \
	to.clock[1] = from.clock[1]; to.clock[2] = from.clock[2]

#define forget_record(r) \
	r.state = 0; r.stamp = 0; r.mark = 0; r.clock[0] = 0; r.clock[1] = 0; r.clock[2] = 0

#define join_clocks(to, from) \
	to.clock[0] = max(to.clock[0], from.clock[0]); to.clock[1] = max(to.clock[1], from.clock[1]); \
	to.clock[2] = max(to.clock[2], from.clock[2])

#define covers(a, b) (a.clock[0] >= b.clock[0] && a.clock[1] >= b.clock[1] && a.clock[2] >= b.clock[2])

record given; /* what is merged */
byte at, key; /* the node that acts, and the key that it is about */

#define mine held(at, key)
#define same (mine.stamp == given.stamp && mine.mark == given.mark)
#define given_wins larger(given.stamp, given.mark, mine.stamp, mine.mark)

/* Merges a record that came from another member. */
inline merge()
{
	if
	:: given.state == NOTHING -> skip
	:: given.state != NOTHING && mine.state == NOTHING -> copy_record(mine, given)
	:: given.state != NOTHING && mine.state != NOTHING && same ->
		/* one version, whatever the clocks: a stub of it displaces no value */
		join_clocks(mine, given);
		if
#ifdef FAULT_STUB
		:: true -> mine.state = given.state
#else
		:: true -> skip
#endif
		fi
	:: given.state != NOTHING && mine.state != NOTHING && !same && covers(mine, given) && covers(given, mine) ->
		/* equal clocks, two versions: the larger wins under a clock of its own */
		if
		:: given_wins ->
			copy_record(mine, given);
			mine.clock[at] = mine.clock[at] + 1
		:: else -> skip
		fi
	:: given.state != NOTHING && mine.state != NOTHING && !same && covers(given, mine) && !covers(mine, given) ->
		copy_record(mine, given)
	:: given.state != NOTHING && mine.state != NOTHING && !same && covers(mine, given) && !covers(given, mine) -> skip
	:: else ->
		if
		:: given_wins ->
			join_clocks(given, mine);
			copy_record(mine, given)
		:: else -> skip
		fi
	fi
}

/* A write of an application at node n, which acknowledges it. */
inline write(kind)
{
	last[at] = now;
	held(at, key).stamp = max(now, held(at, key).stamp + 1);
#ifdef FAULT_COUNTER
	held(at, key).clock[at] = held(at, key).clock[at] + 1;
#else
	held(at, key).clock[at] = max(held(at, key).clock[at] + 1, now);
#endif
	held(at, key).state = kind;
	/* random, as IVs are: any order among equal stamps */
	if
	:: held(at, key).mark = 2 * write_count + 1
	:: held(at, key).mark = 2 * (WRITES - write_count)
	fi;
	writes[write_count].about = key;
	writes[write_count].stamp = held(at, key).stamp;
	writes[write_count].mark = held(at, key).mark;
	writes[write_count].node = at;
	write_count++
}

inline evict()
{
	held(at, key).state = STUB;
#ifdef FAULT_TIE
	held(at, key).mark = 0;
#endif
	evictions++
}

/* Whether node n holds write f, which the node of write w made after w. */
#define holds_later(n, f, w) \
	(f < write_count && f > w && writes[f].node == writes[w].node && writes[f].about == writes[w].about \
	 && held(n, writes[w].about).stamp == writes[f].stamp && held(n, writes[w].about).mark == writes[f].mark)

/* Whether node n holds write w or a newer one of its key. */
#define stands_for(n, w) \
	(held(n, writes[w].about).state != NOTHING \
	 && (!larger(writes[w].stamp, writes[w].mark, held(n, writes[w].about).stamp, held(n, writes[w].about).mark) \
	     || holds_later(n, 1, w) || holds_later(n, 2, w)))

inline forget_message()
{
	slots[0].used = false;
	slots[0].dest = 0;
	slots[0].about = 0;
	forget_record(slots[0].content)
}

/* A node loses its store, and takes the records of another one before it serves. */
inline restart()
{
	byte w, k;
	for (w : 0 .. WRITES - 1) {
		if
		:: w < write_count && !stands_for((at + 1) % NODES, w) && !stands_for((at + 2) % NODES, w) ->
			writes[w].excused = true
		:: else -> skip
		fi
	}
	for (k : 0 .. KEYS - 1) {
		copy_record(held(at, k), held(other, k))
	}
	/* a message that was under way to it finds nobody */
	if
	:: slots[0].used && slots[0].dest == at -> forget_message()
	:: else -> skip
	fi;
	restarts++;
	w = 0;
	k = 0
}

inline send()
{
	slots[0].used = true;
	slots[0].dest = other;
	slots[0].about = key;
	copy_record(slots[0].content, held(at, key));
	sends++
}

/* Everything that is still to be exchanged is exchanged: each member gives all others what it holds. */
inline settle()
{
	byte round, source;
	for (round : 0 .. 2) {
		for (source : 0 .. NODES - 1) {
			for (at : 0 .. NODES - 1) {
				for (key : 0 .. KEYS - 1) {
					if
					:: at != source ->
						copy_record(given, held(source, key));
						merge()
					:: else -> skip
					fi
				}
			}
		}
	}
}

#define mine_of(n) held(n, i).state

inline check()
{
	byte i, j;
	for (i : 0 .. KEYS - 1) {
		for (j : 1 .. NODES - 1) {
			assert((held(0, i).state == NOTHING) == (held(j, i).state == NOTHING));
			assert(held(0, i).stamp == held(j, i).stamp && held(0, i).mark == held(j, i).mark)
		}
	}
	for (i : 0 .. WRITES - 1) {
		assert(i >= write_count || writes[i].excused || stands_for(0, i))
	}
	/* one eviction cannot take the last value, unless no other member had it */
	for (i : 0 .. KEYS - 1) {
		assert(alone || restarts > 0 || mine_of(0) != STUB || mine_of(1) != STUB || mine_of(2) != STUB)
	}
}

bool alone; /* the value that was evicted had reached no other member */

active proctype cluster()
{
	do
	:: break
	:: atomic {
			select(at : 0 .. NODES - 1);
			select(key : 0 .. KEYS - 1);
			select(other : 1 .. NODES - 1);
			other = (at + other) % NODES;
			if
			:: write_count < WRITES && last[at] < now -> write(VALUE)
			:: write_count < WRITES && last[at] < now && mine.state == VALUE -> write(TOMBSTONE)
			:: now < WRITES + 1 && write_count > 0 && write_count < WRITES -> now++
			:: !slots[0].used && sends < SENDS && mine.state != NOTHING -> send()
			:: slots[0].used ->
				copy_record(given, slots[0].content);
				at = slots[0].dest;
				key = slots[0].about;
				merge()
			:: slots[0].used -> forget_message()
			:: restarts == 0 && write_count > 0 -> restart()
			:: evictions == 0 && mine.state == VALUE ->
				alone = !(held(other, key).state == VALUE && held(other, key).stamp == mine.stamp
					&& held(other, key).mark == mine.mark);
				evict()
			:: else -> skip
			fi;
			/* what is not needed any more makes no different states */
			forget_record(given);
			at = 0;
			key = 0;
			other = 0
		}
	od;
	atomic {
		settle();
		check()
	}
}
