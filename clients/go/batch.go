package novakms

import (
	"context"
	"net/http"
	"time"

	"nova-kms/clients/go/internal/codec"
)

const (
	maxMessage = 512 << 10 // bytes of a message's JSON, unless one operation alone takes more
)

// batch is operations under way: their outcomes, and the positions of those that are still to be sent.
type batch struct {
	client     *Client
	operations []Operation
	outcomes   []outcome
	queue      []int
	patience   time.Duration
}

func newBatch(c *Client, operations []Operation) *batch {
	b := &batch{client: c, operations: operations, outcomes: make([]outcome, len(operations)), patience: c.patience}
	for i, operation := range operations {
		if operation == nil {
			b.outcomes[i].failure = invalid("an operation is nil")
		} else if wrong := operation.check(); wrong != nil {
			b.outcomes[i].failure = wrong
		} else {
			b.queue = append(b.queue, i)
		}
	}
	return b
}

// next runs one message. It fails where what is in the queue cannot be sent.
func (b *batch) next(ctx context.Context) *Error {
	if ctx.Err() != nil {
		return canceled(ctx, false)
	}
	room := 1
	if len(b.operations) > 1 {
		var failure *Error
		if room, failure = b.client.delivery.room(ctx); failure != nil {
			return b.waitOr(ctx, failure)
		}
	}
	positions, m := b.fill(room)
	defer clear(m.text)
	outcomes, failure := b.client.delivery.run(ctx, m)
	for i, position := range positions {
		if failure != nil {
			b.outcomes[position] = outcome{failure: failed(m.operations[i], failure)}
		} else {
			b.outcomes[position] = outcomes[i]
		}
	}
	// Behind a write that may have been done or not, nothing is sent.
	var again []int
	if failure == nil || !failure.Sent || !m.writes {
		var ended *Error
		if again, ended = b.toRepeat(ctx, positions, m.writes); ended != nil {
			return ended
		}
	}
	b.queue = append(again, b.queue...)
	if len(again) == 0 {
		return failure
	}
	return nil
}

// fill takes operations from the front of the queue into a message.
func (b *batch) fill(room int) (positions []int, m *message) {
	m = &message{}
	var texts [][]byte
	size := 0
	for len(b.queue) > 0 && len(positions) < room {
		operation := b.operations[b.queue[0]]
		members := operation.members()
		members["strict"] = true
		text := codec.Encode(members)
		if size += len(text) + 1; len(positions) > 0 && size > maxMessage {
			clear(text)
			break
		}
		positions, b.queue = append(positions, b.queue[0]), b.queue[1:]
		m.operations, texts = append(m.operations, operation), append(texts, text)
		m.writes = m.writes || operation.writes()
	}
	m.text = joined(texts)
	return positions, m
}

// joined makes a message of the JSON of its operations: the one, or a list of them. It wipes what it copies.
func joined(texts [][]byte) []byte {
	if len(texts) == 1 {
		return texts[0]
	}
	size := 1
	for _, text := range texts {
		size += len(text) + 1
	}
	list := make([]byte, 0, size)
	for i, text := range texts {
		list = append(append(list, "[,"[min(i, 1)]), text...)
		clear(text)
	}
	return append(list, ']')
}

// waitOr waits for a busy node, and returns the failure where patience does not reach that far.
func (b *batch) waitOr(ctx context.Context, failure *Error) *Error {
	if !failure.isBusy() {
		return failure
	}
	wait := max(failure.RetryAfter, time.Second)
	if wait > b.patience {
		return failure
	}
	b.patience -= wait
	if b.client.sleep(ctx, wait) != nil {
		return canceled(ctx, false)
	}
	return nil
}

// toRepeat says which of a message are to be sent again: reads whose answers had no room beside others, and what a node was too busy for, where
// there is patience. It fails where the context ends while it waits.
func (b *batch) toRepeat(ctx context.Context, positions []int, writes bool) ([]int, *Error) {
	more := false // results that took the room
	var longest *Error
	for _, position := range positions {
		o := b.outcomes[position]
		more = more || !writes && o.failure == nil
		if o.failure != nil && b.mayWaitFor(position) && (longest == nil || o.failure.RetryAfter > longest.RetryAfter) {
			longest = o.failure
		}
	}
	waited := false
	if longest != nil {
		failure := b.waitOr(ctx, longest)
		if failure != nil && failure.Kind == ErrCanceled {
			b.cancel(positions, failure)
			return nil, failure
		}
		waited = failure == nil
	}
	var again []int
	for _, position := range positions {
		failure := b.outcomes[position].failure
		if failure != nil && (waited && b.mayWaitFor(position) || more && failure.Kind == ErrRefused && failure.Status == http.StatusRequestEntityTooLarge) {
			again = append(again, position)
		}
	}
	return again, nil
}

// cancel is what came of operations for which it waited when the context ended.
func (b *batch) cancel(positions []int, failure *Error) {
	for _, position := range positions {
		if busy := b.outcomes[position].failure; busy != nil && b.mayWaitFor(position) {
			b.outcomes[position].failure = failure.with(busy.Sent)
		}
	}
}

// mayWaitFor says whether an operation that failed may be sent again since a node was too busy for it. A write that is refused with 503 may have
// been made, without enough copies.
func (b *batch) mayWaitFor(position int) bool {
	failure := b.outcomes[position].failure
	mayBeDone := failure.Sent && failure.Status == http.StatusServiceUnavailable && b.operations[position].writes()
	return failure.isBusy() && (!mayBeDone || b.client.delivery.retryWrites)
}
